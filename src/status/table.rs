//! Agents as a table, those in trouble first.
//!
//! Must not know where they come from, nor where they are shown.

use super::ask::Agent;

/// A column, and what stands in it.
struct Column {
    heading: &'static str,
    /// Numbers are set to the right.
    is_number: bool,
    cell: fn(&Agent) -> String,
}

const fn text(heading: &'static str, cell: fn(&Agent) -> String) -> Column {
    Column { heading, is_number: false, cell }
}

const fn number(heading: &'static str, cell: fn(&Agent) -> String) -> Column {
    Column { heading, is_number: true, cell }
}

const AGENT: Column = text("AGENT", |agent| plain(&agent.name));
const UPTIME: Column = number("UPTIME", |agent| or_none(agent.uptime_seconds, long));
const REASON: Column = text("REASON", |agent| plain(&agent.reason));
/// Those that are always shown, behind the name.
const COLUMNS: [Column; 6] = [
    text("STATE", |agent| plain(&agent.state)),
    number("FOR", |agent| or_none(agent.state_seconds, long)),
    number("REQUESTS", |agent| {
        let sum = agent.requests.values().copied().reduce(u64::saturating_add);
        sum.map_or_else(|| "-".to_owned(), |sum| sum.to_string())
    }),
    number("SUCCESS", |agent| or_none(agent.success_rate, |rate| format!("{:.1} %", 100.0 * rate))),
    number("P95", |agent| or_none(agent.duration_quantiles_seconds.get("0.95").copied(), duration)),
    number("IN FLIGHT", |agent| agent.requests_in_flight.to_string()),
];
/// From bad to good.
const STATES: [&str; 7] =
    ["lost", "stuck", "unhealthy", "degraded", "starting", "healthy", "stopped"];
/// States that need no explanation where there is little room.
const QUIET: [&str; 2] = ["healthy", "stopped"];
const GAP: &str = "  ";
const INDENT: usize = 4;
/// As much of a name is shown on the narrowest terminal.
const NAME_LEAST: usize = 12;

/// A line for each agent, and one above them. Where the reasons do not fit beside them, those of
/// agents that are not well stand below them.
pub(super) fn render(agents: &[Agent], width: Option<usize>) -> String {
    if agents.is_empty() {
        return "no agent is known\n".to_owned();
    }
    let mut agents: Vec<&Agent> = agents.iter().collect();
    agents.sort_by_key(|agent| (rank(&agent.state), &agent.name));
    let [state, since, others @ ..] = &COLUMNS;
    let all = [&AGENT, state, since, &UPTIME].into_iter().chain(others).chain([&REASON]);
    let wide = lay_out(all, &agents, usize::MAX);
    let Some(width) = width.filter(|width| wide.iter().any(|line| line.chars().count() > *width))
    else {
        return join(wide);
    };
    let few = || [&AGENT].into_iter().chain(&COLUMNS);
    let without_name = lay_out(few().skip(1), &agents, 0).iter().map(|l| l.chars().count()).max();
    let room = width.saturating_sub(without_name.unwrap_or_default() + GAP.len());
    let mut narrow = lay_out(few(), &agents, room.max(NAME_LEAST)).into_iter();
    let mut lines: Vec<String> = narrow.by_ref().take(1).collect();
    for (agent, line) in agents.into_iter().zip(narrow) {
        lines.push(line);
        if !QUIET.contains(&agent.state.as_str()) {
            lines.extend(wrap(&(REASON.cell)(agent), INDENT, width));
        }
    }
    join(lines)
}

fn join(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The lines of a table, that of the headings first. Names longer than `name_limit` are shortened.
fn lay_out<'a>(
    columns: impl Iterator<Item = &'a Column>,
    agents: &[&Agent],
    name_limit: usize,
) -> Vec<String> {
    let mut lines = vec![String::new(); agents.len() + 1];
    for (place, column) in columns.enumerate() {
        let cells = agents.iter().map(|agent| (column.cell)(agent));
        let mut cells: Vec<String> =
            std::iter::once(column.heading.to_owned()).chain(cells).collect();
        if column.heading == AGENT.heading {
            cells = cells.iter().map(|cell| shorten(cell, name_limit)).collect();
        }
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default();
        for (line, cell) in lines.iter_mut().zip(cells) {
            *line += if place > 0 { GAP } else { "" };
            *line += &if column.is_number {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            };
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// Without the middle of a name that is too long: what tells names apart is at either end.
fn shorten(name: &str, limit: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= limit {
        return name.to_owned();
    }
    let kept = limit.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let ends = letters.iter().take(head).chain(&['…']);
    ends.chain(letters.iter().skip(letters.len() - tail)).collect()
}

/// The words of a text in as many lines as they take, indented.
pub(super) fn wrap(text: &str, indent: usize, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let is_room = |line: &&mut String| line.chars().count() + 1 + word.chars().count() <= width;
        match lines.last_mut().filter(is_room) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines
}

fn rank(state: &str) -> usize {
    STATES.iter().position(|known| *known == state).unwrap_or(STATES.len())
}

fn or_none(value: Option<f64>, text: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// A text from outside: a terminal is to show it, not to obey it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A length of time by its two largest units.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates.
fn long(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, state: &str) -> Agent {
        Agent { name: name.to_owned(), state: state.to_owned(), ..Agent::default() }
    }

    fn agents() -> Vec<Agent> {
        let scribe = Agent {
            reason: "no\x1b[2Jword; a request in flight for 400 s, over 300 s".to_owned(),
            state_seconds: Some(75.0),
            uptime_seconds: Some(93_784.0),
            requests: [("success".to_owned(), 20), ("error".to_owned(), 1)].into(),
            success_rate: Some(0.9524),
            duration_quantiles_seconds: [("0.95".to_owned(), 0.0123)].into(),
            ..agent("scribe-of-the-long-name-1", "stuck")
        };
        vec![agent("b", "healthy"), agent("a", "healthy"), scribe]
    }

    #[test]
    fn those_in_trouble_come_first() {
        assert_eq!(
            render(&agents(), None),
            "AGENT                      STATE       FOR  UPTIME  REQUESTS  SUCCESS      P95  \
             IN FLIGHT  REASON\n\
             scribe-of-the-long-name-1  stuck    1m 15s   1d 2h        21   95.2 %  12.3 ms  \
             \x20       0  no [2Jword; a request in flight for 400 s, over 300 s\n\
             a                          healthy       -       -         -        -        -  \
             \x20       0\n\
             b                          healthy       -       -         -        -        -  \
             \x20       0\n"
        );
        assert_eq!(render(&[], None), "no agent is known\n");
    }

    #[test]
    fn on_a_narrow_terminal_reasons_stand_below() {
        let shown = render(&agents(), Some(74));
        assert_eq!(
            shown,
            "AGENT               STATE       FOR  REQUESTS  SUCCESS      P95  IN FLIGHT\n\
             scribe-of…g-name-1  stuck    1m 15s        21   95.2 %  12.3 ms          0\n\
             \x20   no [2Jword; a request in flight for 400 s, over 300 s\n\
             a                   healthy       -         -        -        -          0\n\
             b                   healthy       -         -        -        -          0\n"
        );
        for width in [74, 75, 100, 200] {
            let shown = render(&agents(), Some(width));
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{width}:\n{shown}");
        }
        assert_eq!(wrap("one two three", 4, 11), ["    one two", "    three"]);
    }

    #[test]
    fn times_are_short() {
        let shown = [7.9, 61.0, 3_661.0, 90_000.0].map(long);
        assert_eq!(shown, ["7s", "1m 1s", "1h 1m", "1d 1h"]);
        assert_eq!([5e-5, 0.25, 12.0].map(duration), ["50 µs", "250.0 ms", "12.00 s"]);
    }
}
