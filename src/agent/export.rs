//! The families of agents, from the registry to a batch and to the JSON of `/api/v1/agents`.
//!
//! Must not change anything: the registry is refreshed before.

use super::health::{Presence, State};
use super::known;
use super::registry::{Agent, Registry};
use super::totals::STATUSES;
use crate::metric::{Batch, Family};
use serde_json::{Value, json};
use std::time::Duration;

const UP: Family =
    Family::gauge("agent_up", &["agent"], "Whether a process of the agent is running.");
const UPTIME: Family =
    Family::gauge("agent_uptime_seconds", &["agent"], "How long the agent has been running.");
const INFO: Family = Family::gauge(
    "agent_info",
    &["agent", "version", "framework", "client"],
    "What the agent last said of itself; always 1.",
);
const REQUESTS: Family = Family::counter(
    "agent_requests_total",
    &["agent", "status"],
    "Requests that have ended, by how; aborted are those that ended with their agent.",
);
const SUCCESS_RATE: Family = Family::gauge(
    "agent_success_rate",
    &["agent"],
    "Share of the requests of the last 5 minutes that succeeded, cancelled ones left out.",
);
const IN_FLIGHT: Family = Family::gauge(
    "agent_requests_in_flight",
    &["agent"],
    "Requests that have begun and not ended.",
);
const OLDEST: Family = Family::gauge(
    "agent_oldest_request_age_seconds",
    &["agent"],
    "Age of the oldest request in flight; 0 when there is none.",
);
const DURATION: Family =
    Family::histogram("agent_request_duration_seconds", &["agent"], "How long requests took.");
const QUANTILES: Family = Family::gauge(
    "agent_request_duration_quantile_seconds",
    &["agent", "quantile"],
    "How long requests of the last 5 minutes took, by quantile; off by at most 4.3 % where \
     [agents] duration_schema is 3, 1.1 % where it is 5.",
);
const HEALTH: Family = Family::gauge(
    "agent_health_status",
    &["agent", "state"],
    "The agent's state: 1 for the one it is in, 0 for the others.",
);
const RESTARTS: Family = Family::counter(
    "agent_restarts_total",
    &["agent"],
    "Times the agent's process was started anew after it had ended.",
);
const EXITS: Family = Family::counter(
    "agent_exits_total",
    &["agent", "reason"],
    "Times the agent's process has ended, by how.",
);
const LEDGER_FAULTS: Family = Family::counter(
    "musterd_ledger_faults_total",
    &["reason"],
    "What was wrong with ledgers, by reason: records malformed, of names unknown, invalid or in conflict, \
     duplicate, over the limit or without room, label values too long, ledgers not resumed, and (nothing wrong) metrics redeclared.",
);

/// All families of this room.
pub const FAMILIES: &[Family] = &[
    UP,
    UPTIME,
    INFO,
    REQUESTS,
    SUCCESS_RATE,
    IN_FLIGHT,
    OLDEST,
    DURATION,
    QUANTILES,
    known::ERRORS,
    known::TOKENS,
    known::LLM_DURATION,
    known::FIRST_TOKEN,
    known::TOOL_DURATION,
    HEALTH,
    RESTARTS,
    EXITS,
    LEDGER_FAULTS,
];

/// The quantiles that are exported, and how their labels spell them.
const EXPORTED_QUANTILES: [(f64, &str); 5] =
    [(0.5, "0.5"), (0.9, "0.9"), (0.95, "0.95"), (0.99, "0.99"), (0.999, "0.999")];

/// Emits all agents.
pub fn fill(registry: &Registry, now: Duration, batch: &mut Batch) {
    let mut each = |family: &Family, emit: &dyn Fn(&mut Batch, &str, &Agent)| {
        batch.begin(family);
        for (name, agent) in registry.agents() {
            emit(batch, name, agent);
        }
    };
    each(&UP, &|batch, name, agent| {
        let up = matches!(agent.presence(now), Presence::Running(_));
        batch.sample(&[("agent", name)], f64::from(u8::from(up)));
    });
    each(&UPTIME, &|batch, name, agent| {
        if let Presence::Running(uptime) = agent.presence(now) {
            batch.sample(&[("agent", name)], uptime.as_secs_f64());
        }
    });
    each(&INFO, &|batch, name, agent| {
        if let Some(hello) = &agent.hello {
            let labels = [
                ("agent", name),
                ("version", &hello.version),
                ("framework", &hello.framework),
                ("client", &hello.client),
            ];
            batch.sample(&labels, 1.0);
        }
    });
    each(&REQUESTS, &|batch, name, agent| {
        if !agent.is_whole(now) {
            return;
        }
        for (status, count) in STATUSES.iter().zip(agent.current.requests) {
            batch.sample(&[("agent", name), ("status", status)], number(count));
        }
    });
    each(&SUCCESS_RATE, &|batch, name, agent| {
        if let Some(rate) = agent.window.success_rate() {
            batch.sample(&[("agent", name)], rate);
        }
    });
    each(&IN_FLIGHT, &|batch, name, agent| {
        batch.sample(&[("agent", name)], number(agent.activity.in_flight));
    });
    each(&OLDEST, &|batch, name, agent| {
        let age = agent.oldest_request(now).unwrap_or_default();
        batch.sample(&[("agent", name)], age.as_secs_f64());
    });
    each(&DURATION, &|batch, name, agent| {
        if agent.is_whole(now)
            && let Some(durations) = &agent.current.durations
        {
            batch.histogram(&[("agent", name)], &durations.as_histogram());
        }
    });
    each(&QUANTILES, &|batch, name, agent| {
        for (label, seconds) in quantiles(agent) {
            batch.sample(&[("agent", name), ("quantile", label)], seconds);
        }
    });
    each(&HEALTH, &|batch, name, agent| {
        let Some(current) = agent.state() else { return };
        for (state, word) in State::ALL {
            let is = f64::from(u8::from(state == current));
            batch.sample(&[("agent", name), ("state", word)], is);
        }
    });
    each(&RESTARTS, &|batch, name, agent| {
        if agent.is_supervised || agent.restarts > 0 {
            batch.sample(&[("agent", name)], number(agent.restarts));
        }
    });
    each(&EXITS, &|batch, name, agent| {
        for (reason, count) in &agent.exits {
            batch.sample(&[("agent", name), ("reason", reason)], number(*count));
        }
    });
    batch.begin(&LEDGER_FAULTS);
    for (reason, count) in registry.faults() {
        batch.sample(&[("reason", reason)], number(*count));
    }
    // What musterd knows and what agents have declared, all agents' series of a family together.
    let group = registry.catalog().begin(batch);
    for (_, agent) in registry.agents().filter(|(_, agent)| agent.is_whole(now)) {
        agent.series.fill(batch, group);
    }
}

/// The quantiles that are exported of an agent's durations, in seconds, as far as there are any.
fn quantiles(agent: &Agent) -> impl Iterator<Item = (&'static str, f64)> {
    let values = agent.window.quantiles(EXPORTED_QUANTILES.map(|(quantile, _)| quantile));
    EXPORTED_QUANTILES
        .into_iter()
        .zip(values)
        .filter_map(|((_, label), value)| Some((label, value?)))
}

/// One agent as `/api/v1/agents` shows it.
#[must_use]
pub fn describe(registry: &Registry, name: &str, agent: &Agent, now: Duration) -> Value {
    let judgement = agent.judgement();
    let uptime = match agent.presence(now) {
        Presence::Running(uptime) => Some(uptime.as_secs_f64()),
        _ => None,
    };
    let hello = agent.hello.as_ref();
    // Absent rather than too low, as in a scrape.
    let is_whole = agent.is_whole(now);
    let requests: serde_json::Map<_, _> = STATUSES
        .iter()
        .zip(agent.current.requests)
        .filter(|_| is_whole)
        .map(|(status, count)| ((*status).to_owned(), count.into()))
        .collect();
    let errors: serde_json::Map<_, _> = agent
        .series
        .counts(known::ERRORS.name, registry.catalog())
        .filter(|_| is_whole)
        .map(|(category, count)| (category.to_owned(), count.into()))
        .collect();
    let quantiles: serde_json::Map<_, _> =
        quantiles(agent).map(|(label, seconds)| (label.to_owned(), seconds.into())).collect();
    let ledgers: Vec<_> = agent
        .live
        .iter()
        .map(|live| {
            let faults: serde_json::Map<_, _> = live
                .ledger
                .faults()
                .by_reason()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.to_owned(), count.into()))
                .collect();
            json!({
                "pid": live.pid,
                "connected": live.connected,
                "size": live.ledger.size(),
                "series": live.ledger.series_count(),
                "faults": faults,
            })
        })
        .collect();
    json!({
        "name": name,
        "state": judgement.map_or("starting", |judged| judged.state.word()),
        "state_seconds": judgement.map(|judged| now.saturating_sub(judged.since).as_secs_f64()),
        "reason": judgement.map_or("", |judged| &judged.reason),
        "up": uptime.is_some(),
        "uptime_seconds": uptime,
        "uid": agent.uid,
        "version": hello.map(|hello| &hello.version),
        "framework": hello.map(|hello| &hello.framework),
        "client": hello.map(|hello| &hello.client),
        "supervised": agent.is_supervised,
        "restarts": agent.restarts,
        "exits": agent.exits,
        "requests": requests,
        "errors": errors,
        "series": agent.series.len(),
        "refused": agent.series.complaints(),
        "success_rate": agent.window.success_rate(),
        "duration_quantiles_seconds": quantiles,
        "duration_quantiles_error": agent.window.relative_error(),
        "requests_in_flight": agent.activity.in_flight,
        "oldest_request_age_seconds": agent.oldest_request(now).map(|age| age.as_secs_f64()),
        "ledgers": ledgers,
    })
}

/// Counts are exact up to 2^53, as in Prometheus itself.
fn number(count: u64) -> f64 {
    count as f64
}
