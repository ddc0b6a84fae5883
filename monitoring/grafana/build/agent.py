"""Agent detail: one agent, from its state to its requests, its models and tools, and its processes."""

from layout import AGENT, JOB, NODE, dashboard, datasource, row
from links import to_node
from looks import OUTCOMES, STATE_WORDS, above, below
from panels import heatmap, logs, series, stat, timeline
from queries import added, state

RATE = "[$__rate_interval]"
EXITS = added("agent_exits_total{@agent}", "10m")
NO_MODELS = "It reports no calls of models"


def quantile(share, family, by):
    """A quantile of a histogram of this agent."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({family}_bucket{{@agent}}{RATE})))"


ANYTHING_WRONG = row(
    "How is it?",
    stat(
        "State",
        "The state that musterd sees the agent in, by its policy of health.",
        state("@agent", "agent"),
        mappings=STATE_WORDS,
        width=3,
    ),
    stat(
        "Succeeding",
        "Share of the requests of the last 5 minutes that succeeded, cancelled ones left out.",
        "agent_success_rate{@agent}",
        "percentunit",
        below(0.5, 0.9),
        decimals=1,
        width=3,
    ),
    stat(
        "Requests",
        "Requests that ended.",
        f"sum(rate(agent_requests_total{{@agent}}{RATE}))",
        "reqps",
        decimals=1,
        width=3,
    ),
    stat(
        "p95",
        "95th percentile of durations of the last 5 minutes.",
        'agent_request_duration_quantile_seconds{@agent,quantile="0.95"}',
        "s",
        decimals=1,
        width=3,
    ),
    stat("In flight", "Requests that have begun and not ended.", "agent_requests_in_flight{@agent}", width=3),
    stat(
        "Oldest request",
        "How long the oldest of them has been so.",
        "agent_oldest_request_age_seconds{@agent}",
        "s",
        above(60, 300),
        decimals=1,
        width=3,
    ),
    stat(
        "Restarts in 1 h",
        "How often musterd started its process again within the last hour; nothing if others run it.",
        "increase(agent_restarts_total{@agent}[1h])",
        steps=above(3, 20),
        decimals=0,
        width=3,
    ),
    stat(
        "Version",
        "What the agent says it is.",
        "agent_info{@agent}",
        legend="{{version}} ({{framework}})",
        link=to_node("$instance"),
        width=3,
    ),
)

SINCE_WHEN = row(
    "Since when?",
    timeline(
        "State", "The agent's state over time.", state("@agent", "agent"), "{{agent}}", STATE_WORDS, height=4
    ),
    series(
        "Requests by how they ended",
        "Aborted ones were in flight when the agent died.",
        {"{{status}}": f"sum by (status) (rate(agent_requests_total{{@agent}}{RATE}))"},
        "reqps",
        stack=True,
        colors=OUTCOMES,
    ),
    heatmap(
        "How long requests took",
        "The darker, the more requests took so long.",
        f"sum by (le) (increase(agent_request_duration_seconds_bucket{{@agent}}{RATE}))",
    ),
)

WHY = row(
    "Why?",
    series(
        "Kinds of fault",
        "Requests that failed or took too long, by the kind of fault that the agent gives.",
        {"{{category}}": f"sum by (category) (rate(agent_errors_total{{@agent}}{RATE})) > 0"},
        "reqps",
        nothing="No request failed",
    ),
    series(
        "Durations",
        "Quantiles of the requests of the last 5 minutes.",
        {"{{quantile}}": "agent_request_duration_quantile_seconds{@agent}"},
        "s",
    ),
    series(
        "Oldest request in flight",
        "An agent whose oldest request grows and grows makes no progress.",
        {"age": "agent_oldest_request_age_seconds{@agent}"},
        "s",
    ),
    series(
        "Starts and ends",
        "How often its process was started again, and how it had ended, within the last 10 minutes.",
        {
            "started again": "increase(agent_restarts_total{@agent}[10m])",
            "ended: {{reason}}": f"sum by (reason) ({EXITS})",
        },
        nothing="It has not ended, or others run it",
    ),
)

OUTPUT = row(
    "What does it say?",
    logs(
        "Output and events",
        "What the agent wrote and what musterd says of it, from Loki.",
        '{instance="$instance", agent="$agent"}',
    ),
)

MODELS = row(
    "Is it its models or its tools?",
    series(
        "Calls of models, 95th percentile",
        "How long calls took, by model.",
        {"{{model}}": quantile(0.95, "agent_llm_request_duration_seconds", "model")},
        "s",
        nothing=NO_MODELS,
    ),
    series(
        "Time to the first token, 95th percentile",
        "How long it took until models began to answer.",
        {"{{model}}": quantile(0.95, "agent_time_to_first_token_seconds", "model")},
        "s",
        nothing=NO_MODELS,
    ),
    series(
        "Calls that did not succeed",
        "Calls of models and of tools, by how they ended.",
        {
            "{{model}}: {{outcome}}": f'sum by (model, outcome) (rate(agent_llm_request_duration_seconds_count{{@agent,outcome!="success"}}{RATE}))',
            "{{tool}}: {{outcome}}": f'sum by (tool, outcome) (rate(agent_tool_duration_seconds_count{{@agent,outcome!="success"}}{RATE}))',
        },
        "ops",
        nothing="None failed, or it reports none",
    ),
    series(
        "Calls of tools, 95th percentile",
        "How long calls took, by tool.",
        {"{{tool}}": quantile(0.95, "agent_tool_duration_seconds", "tool")},
        "s",
        nothing="It reports no calls of tools",
    ),
    series(
        "Tokens",
        "Tokens that models were sent (input) and have answered with (output).",
        {"{{model}} {{type}}": f"sum by (model, type) (rate(agent_tokens_total{{@agent}}{RATE}))"},
        "si:tok/s",
        nothing="It reports no tokens",
        width=24,
        height=7,
    ),
)

PROCESSES = row(
    "What do its processes use?",
    series(
        "CPU",
        "Processors that the process tree uses.",
        {"{{mode}}": f"sum by (mode) (rate(agent_process_cpu_seconds_total{{@agent}}{RATE}))"},
        stack=True,
        width=8,
    ),
    series(
        "Memory",
        "Held in RAM by the process tree.",
        {"resident": "agent_process_resident_memory_bytes{@agent}"},
        "bytes",
        width=8,
    ),
    series(
        "Storage",
        "Bytes that the process tree has had read and written; reads below zero.",
        {
            "written": f"rate(agent_process_written_bytes_total{{@agent}}{RATE})",
            "read": f"rate(agent_process_read_bytes_total{{@agent}}{RATE})",
        },
        "Bps",
        mirrored="read",
        width=8,
    ),
    series(
        "Processes, threads and files",
        "Of the whole process tree.",
        {
            "processes": "agent_processes{@agent}",
            "threads": "agent_process_threads{@agent}",
            "open files": "agent_process_open_fds{@agent}",
        },
        width=12,
    ),
    series("Running for", "A saw shows restarts.", {"uptime": "agent_uptime_seconds{@agent}"}, "s", width=12),
)

DASHBOARD = dashboard(
    "musterd-agent",
    "musterd: agent detail",
    "One agent: how it is, since when, why, and what it uses.",
    [datasource(), JOB, NODE, AGENT, datasource("logs", "loki", "Logs")],
    ANYTHING_WRONG,
    SINCE_WHEN,
    WHY,
    OUTPUT,
    MODELS,
    PROCESSES,
    time="now-1h",
)
