//! Agents as a table, those in trouble first.
//!
//! Must not know where they come from.

use super::Agent;
use std::fmt::Write as _;

const HEADINGS: [&str; 8] =
    ["AGENT", "STATE", "UPTIME", "REQUESTS", "SUCCESS", "P95", "IN FLIGHT", "REASON"];
/// The columns that hold numbers are set to the right.
const IS_NUMBER: [bool; 8] = [false, false, true, true, true, true, true, false];
/// From bad to good.
const STATES: [&str; 7] =
    ["lost", "stuck", "unhealthy", "degraded", "starting", "healthy", "stopped"];

/// A line for each agent, and one above them.
pub(super) fn render(agents: &[Agent]) -> String {
    if agents.is_empty() {
        return "no agent is known\n".to_owned();
    }
    let mut agents: Vec<&Agent> = agents.iter().collect();
    agents.sort_by_key(|agent| (rank(&agent.state), &agent.name));
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(agents.into_iter().map(row));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| {
            let lengths = rows.iter().filter_map(|row| row.get(column));
            lengths.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), is_number) in row.iter().zip(&widths).zip(IS_NUMBER) {
            // Writing to a string cannot fail.
            let _ = if is_number {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn rank(state: &str) -> usize {
    STATES.iter().position(|known| *known == state).unwrap_or(STATES.len())
}

fn row(agent: &Agent) -> [String; 8] {
    let none = || "-".to_owned();
    let requests: u64 = agent.requests.values().fold(0, |sum, count| sum.saturating_add(*count));
    let p95 = agent.duration_quantiles_seconds.get("0.95");
    [
        agent.name.clone(),
        agent.state.clone(),
        agent.uptime_seconds.map_or_else(none, uptime),
        requests.to_string(),
        agent.success_rate.map_or_else(none, |rate| format!("{:.1} %", 100.0 * rate)),
        p95.map_or_else(none, |seconds| duration(*seconds)),
        agent.requests_in_flight.to_string(),
        // From outside: a terminal is to show it, not to obey it.
        agent.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    ]
}

/// The two largest units.
fn uptime(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
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

    #[test]
    fn those_in_trouble_come_first() {
        let agent = |name: &str, state: &str| Agent {
            name: name.to_owned(),
            state: state.to_owned(),
            ..Agent::default()
        };
        let scribe = Agent {
            reason: "no\x1b[2Jword".to_owned(),
            uptime_seconds: Some(93_784.0),
            requests: [("success".to_owned(), 20), ("error".to_owned(), 1)].into(),
            success_rate: Some(0.9524),
            duration_quantiles_seconds: [("0.95".to_owned(), 0.0123)].into(),
            ..agent("scribe", "stuck")
        };
        let shown = render(&[agent("b", "healthy"), agent("a", "healthy"), scribe]);
        assert_eq!(
            shown,
            "AGENT   STATE     UPTIME  REQUESTS  SUCCESS      P95  IN FLIGHT  REASON\n\
             scribe  stuck    1 d 2 h        21   95.2 %  12.3 ms          0  no [2Jword\n\
             a       healthy        -         0        -        -          0\n\
             b       healthy        -         0        -        -          0\n"
        );
        assert_eq!(render(&[]), "no agent is known\n");
    }

    #[test]
    fn times_are_short() {
        let shown = [7.9, 61.0, 3_661.0, 90_000.0].map(uptime);
        assert_eq!(shown, ["7 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        assert_eq!([5e-5, 0.25, 12.0].map(duration), ["50 µs", "250.0 ms", "12.00 s"]);
    }
}
