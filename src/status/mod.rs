//! `musterd status`: asks a daemon for its agents, and shows them.
//!
//! In reading order: `ask` (the question and the answer), `table` (the agents as text), `screen` (where
//! that is written).
//!
//! Must not know how agents are judged.

mod ask;
mod screen;
mod table;

use ask::{Agent, Agents};
use screen::Screen;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How often a table that is watched is written anew.
const INTERVAL: Duration = Duration::from_secs(2);

/// What to show, and how.
#[derive(Debug)]
pub struct Options {
    /// The address and port of the daemon's HTTP side.
    pub server: String,
    /// Shows the daemon's own answer in the place of a table.
    pub json: bool,
    /// Goes on until it is ended.
    pub watch: bool,
}

/// Shows all agents. Whether none of them is in trouble.
///
/// # Errors
/// The daemon does not answer, or not as it should. While it is watched, that is shown in place of
/// the agents, and it is asked again.
pub fn run(options: &Options) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let ask = || runtime.block_on(ask::agents(&options.server));
    let mut screen = Screen::of_stdout();
    if !options.watch {
        let agents = ask()?;
        // Whoever reads may have had enough; the exit status says the same.
        let _ = screen.write(&show(options, &agents, &screen));
        return Ok(agents.are_well());
    }
    let mut last: Option<(Instant, Agents)> = None;
    loop {
        let fault = match ask() {
            Ok(agents) => {
                last = Some((Instant::now(), agents));
                None
            }
            Err(fault) => Some(fault),
        };
        if watch(options, &mut screen, last.as_ref(), fault.as_deref()).is_err() {
            return Ok(last.is_none_or(|(_, agents)| agents.are_well()));
        }
        std::thread::sleep(INTERVAL);
    }
}

fn show(options: &Options, agents: &Agents, screen: &Screen) -> String {
    if options.json { agents.json() } else { table::render(&agents.agents, screen.width()) }
}

/// One look: on a terminal a heading and what the daemon has last said, else an answer after another.
fn watch(
    options: &Options,
    screen: &mut Screen,
    last: Option<&(Instant, Agents)>,
    fault: Option<&str>,
) -> std::io::Result<()> {
    if options.json || !screen.is_terminal() {
        return match (fault, last) {
            (Some(fault), _) => writeln!(std::io::stderr(), "musterd: {fault}"),
            (None, Some((_, agents))) => {
                screen.append(&show(options, agents, screen), options.json)
            }
            (None, None) => Ok(()),
        };
    }
    let width = screen.width().unwrap_or(usize::MAX);
    let trouble =
        |fault: &str| table::wrap(&format!("{fault}; asking again"), 0, width).join("\n") + "\n";
    let mut text = match (fault, last) {
        (None, Some((_, agents))) => heading(&options.server, agents),
        (None, None) => String::new(),
        (Some(fault), None) => trouble(fault),
        (Some(fault), Some((when, _))) => {
            let seconds = when.elapsed().as_secs();
            format!("{}What it said {seconds} s ago:\n\n", trouble(fault))
        }
    };
    if let Some((_, agents)) = last {
        text += &table::render(&agents.agents, screen.width());
    }
    screen.replace(&text)
}

fn heading(server: &str, agents: &Agents) -> String {
    let (all, bad) =
        (agents.agents.len(), agents.agents.iter().filter(|a| a.is_in_trouble()).count());
    format!("{server}: {all} agents, {bad} in trouble\n\n")
}

impl Agents {
    fn are_well(&self) -> bool {
        !self.agents.iter().any(Agent::is_in_trouble)
    }
}
