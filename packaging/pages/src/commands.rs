//! Pages of the commands, and shell completions, from the command line's own definition.

use crate::page;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::Roff;
use musterd::cli::Cli;

const FILES: &[(&str, &str)] = &[
    ("/etc/musterd/musterd.toml", "The configuration: every key with its default and a comment."),
    ("/etc/musterd/conf.d/*.toml", "Read after it, in the order of their names."),
    (
        "/run/musterd/agent.sock",
        "The socket that agents report to. Members of the group musterd may.",
    ),
    ("/var/lib/musterd", "What is kept: agents' totals."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("MUSTERD_SOCKET", "The daemon's socket, for agents and for musterd report."),
    ("MUSTERD_AGENT", "An agent's name. The daemon sets both for agents that it runs."),
];

/// A page for the program and for each of its commands: file name and text.
///
/// # Errors
/// What cannot be written as text.
pub(crate) fn pages(date: &str) -> Result<Vec<(String, String)>, String> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, date, &mut pages)?;
    if let Some((_, text)) = pages.first_mut() {
        let mut end = Roff::new();
        page::terms(&mut end, "FILES", FILES);
        page::terms(&mut end, "ENVIRONMENT", ENVIRONMENT);
        page::see_also(&mut end, &["musterd.toml(5)", "musterd-ledger(7)"]);
        text.push_str(&end.to_roff());
    }
    Ok(pages)
}

fn add(command: &Command, date: &str, pages: &mut Vec<(String, String)>) -> Result<(), String> {
    let man = Man::new(command.clone()).date(date).source(page::SOURCE).manual(page::MANUAL);
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    // The library's heading for what a command's help ends with, and its way to a new paragraph.
    let text = text.replace(".SH EXTRA\n", ".SH NOTES\n").replace(".br\n\n.br\n", ".sp\n");
    pages.push((man.get_filename(), text));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        add(inner, date, pages)?;
    }
    Ok(())
}

/// Completions: file name and text, named as each shell looks for them.
pub(crate) fn completions() -> Vec<(String, String)> {
    let shells =
        [(Shell::Bash, "musterd.bash"), (Shell::Zsh, "_musterd"), (Shell::Fish, "musterd.fish")];
    let text = |shell| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "musterd", &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    shells.into_iter().map(|(shell, name)| (name.to_owned(), text(shell))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking
    use super::*;

    #[test]
    fn each_command_has_a_page_and_is_completed() {
        let pages = pages("2026-01-31").unwrap();
        let completions = completions();
        let program = Cli::command();
        let (name, overview) = pages.first().unwrap();
        assert_eq!(name, "musterd.1");
        for command in program.get_subcommands() {
            let name = command.get_name();
            let file = format!("musterd-{name}.1");
            let page = &pages.iter().find(|(page, _)| *page == file).unwrap().1;
            assert!(page.starts_with(".ie") && page.contains("2026-01-31"), "{page}");
            assert!(
                overview.contains(&format!("musterd\\-{}(1)", name.replace('-', "\\-"))),
                "{name}"
            );
            for (shell, text) in &completions {
                assert!(text.contains(name), "{shell} lacks {name}");
            }
        }
        assert!(pages.iter().any(|(name, _)| name == "musterd-import-node-exporter.1"));
        assert!(overview.contains("MUSTERD_SOCKET"));
    }

    #[test]
    fn options_that_are_hidden_stay_so() {
        let pages = pages("2026-01-31").unwrap();
        let demo = &pages.iter().find(|(name, _)| name == "musterd-demo.1").unwrap().1;
        assert!(demo.contains("\\-\\-listen") && !demo.contains("\\-\\-agent"), "{demo}");
    }
}
