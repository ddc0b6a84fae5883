"""Agents: all of them on the chosen nodes; which one needs somebody, since when, and why."""

from layout import AGENTS, JOB, NODES, dashboard, datasource, row
from links import to_agent, to_node
from looks import OUTCOMES, STATE_WORDS, above, below
from panels import column, series, stat, table, timeline
from queries import FAILED, JUDGED, added, state

EACH = "by (job, instance, agent)"
EXITS = added("agent_exits_total{@agents}", "10m")
DETAIL = to_agent("${__field.labels.instance}", "${__field.labels.agent}")

ANYTHING_WRONG = row(
    "Is anything wrong?",
    stat(
        "In trouble",
        "Agents that are unhealthy, stuck or lost.",
        'sum(agent_health_status{@agents,state=~"unhealthy|stuck|lost"}) or vector(0)',
        steps=above(red=1),
        width=3,
    ),
    stat(
        "Degraded",
        "Agents that work, but fail or dawdle more than they should.",
        'sum(agent_health_status{@agents,state="degraded"}) or vector(0)',
        steps=above(1),
        width=3,
    ),
    stat("Running", "Agents with a process that runs.", "sum(agent_up{@agents})", width=3),
    stat(
        "Requests",
        "Requests of all agents that ended.",
        "sum(rate(agent_requests_total{@agents}[$__rate_interval]))",
        "reqps",
        decimals=1,
        width=3,
    ),
    stat(
        "Failed",
        "Share of the requests of the last 5 minutes that failed, took too long or died with their agent. "
        "Cancelled ones are left out.",
        f"""(sum(rate(agent_requests_total{{@agents,{FAILED}}}[5m])) or vector(0))
         / (sum(rate(agent_requests_total{{@agents,{JUDGED}}}[5m])) > 0)""",
        "percentunit",
        above(0.05, 0.2),
        decimals=1,
        width=3,
    ),
    stat(
        "Slowest p95",
        "The 95th percentile of durations of the last 5 minutes, of the agent where it is highest.",
        'max(agent_request_duration_quantile_seconds{@agents,quantile="0.95"})',
        "s",
        decimals=1,
        width=3,
    ),
    stat(
        "Oldest request",
        "How long the oldest request of all that are in flight has been so.",
        "max(agent_oldest_request_age_seconds{@agents})",
        "s",
        above(60, 300),
        decimals=1,
        width=3,
    ),
    stat(
        "Restarts in 1 h",
        "How often agents' processes were started again within the last hour.",
        "sum(increase(agent_restarts_total{@agents}[1h]))",
        steps=above(3, 20),
        decimals=0,
        width=3,
    ),
)

WHERE = row(
    "Where?",
    table(
        "Agents",
        "One line for each agent, the worst first. A click on its name opens it.",
        {"job": "Job", "instance": "Node", "agent": "Agent"},
        [
            column("State", state("@agents", "job, instance, agent"), mappings=STATE_WORDS),
            column(
                "Requests",
                f"sum {EACH} (rate(agent_requests_total{{@agents}}[$__rate_interval]))",
                "reqps",
                decimals=1,
            ),
            column(
                "Succeeding",
                f"max {EACH} (agent_success_rate{{@agents}})",
                "percentunit",
                below(0.5, 0.9),
                decimals=1,
            ),
            column(
                "p95",
                f'max {EACH} (agent_request_duration_quantile_seconds{{@agents,quantile="0.95"}})',
                "s",
                decimals=1,
            ),
            column("In flight", f"sum {EACH} (agent_requests_in_flight{{@agents}})"),
            column(
                "Oldest",
                f"max {EACH} (agent_oldest_request_age_seconds{{@agents}})",
                "s",
                above(60, 300),
                decimals=1,
            ),
            column(
                "Restarts in 1 h",
                f"sum {EACH} (increase(agent_restarts_total{{@agents}}[1h]))",
                steps=above(3, 20),
                decimals=0,
            ),
            column(
                "CPU",
                f"sum {EACH} (rate(agent_process_cpu_seconds_total{{@agents}}[$__rate_interval]))",
                decimals=2,
            ),
            column(
                "Memory", f"sum {EACH} (agent_process_resident_memory_bytes{{@agents}})", "bytes", decimals=0
            ),
            column("Up for", f"max {EACH} (agent_uptime_seconds{{@agents}})", "s", decimals=0),
        ],
        links={"agent": [to_agent()], "instance": [to_node()]},
        sort="State",
        height=11,
    ),
)

SINCE_WHEN = row(
    "Since when?",
    timeline(
        "States",
        "The state of each agent over time.",
        state("@agents", "job, instance, agent"),
        "{{agent}} on {{instance}}",
        STATE_WORDS,
        link=DETAIL,
        height=10,
    ),
)

WHY = row(
    "Why?",
    series(
        "Requests by how they ended",
        "Of all agents together.",
        {"{{status}}": "sum by (status) (rate(agent_requests_total{@agents}[$__rate_interval]))"},
        "reqps",
        stack=True,
        colors=OUTCOMES,
    ),
    series(
        "Requests that did not succeed",
        "By agent; cancelled ones are left out.",
        {
            "{{agent}} on {{instance}}": f"sum {EACH} (rate(agent_requests_total{{@agents,{FAILED}}}[$__rate_interval])) > 0"
        },
        "reqps",
        nothing="No request failed",
        link=DETAIL,
    ),
    series(
        "Kinds of fault",
        "Requests that failed or took too long, by the kind of fault that the agent gives.",
        {"{{category}}": "sum by (category) (rate(agent_errors_total{@agents}[$__rate_interval])) > 0"},
        "reqps",
        nothing="No request failed",
    ),
    series(
        "95th percentile of durations",
        "Of the requests of the last 5 minutes, by agent.",
        {"{{agent}} on {{instance}}": 'agent_request_duration_quantile_seconds{@agents,quantile="0.95"}'},
        "s",
        link=DETAIL,
    ),
    series(
        "Requests in flight",
        "Requests that have begun and not ended, by agent.",
        {"{{agent}} on {{instance}}": "agent_requests_in_flight{@agents}"},
        link=DETAIL,
    ),
    series(
        "Ends of processes",
        "How often agents' processes ended within the last 10 minutes, by agent and how.",
        {"{{agent}}: {{reason}}": f"sum by (agent, reason) ({EXITS}) > 0"},
        nothing="No process ended",
    ),
)

COST = row(
    "What do they cost?",
    series(
        "Tokens by model",
        "Tokens that models were sent (input) and have answered with (output), of all agents.",
        {"{{model}} {{type}}": "sum by (model, type) (rate(agent_tokens_total{@agents}[$__rate_interval]))"},
        "si:tok/s",
        nothing="No agent reports tokens",
        width=8,
    ),
    series(
        "CPU by agent",
        "What the process tree of each agent takes, in processors.",
        {
            "{{agent}} on {{instance}}": f"sum {EACH} (rate(agent_process_cpu_seconds_total{{@agents}}[$__rate_interval]))"
        },
        link=DETAIL,
        width=8,
    ),
    series(
        "Memory by agent",
        "What the process tree of each agent holds in RAM.",
        {"{{agent}} on {{instance}}": f"sum {EACH} (agent_process_resident_memory_bytes{{@agents}})"},
        "bytes",
        link=DETAIL,
        width=8,
    ),
)

USERS = row(
    "What do users think of it?",
    series(
        "Average rating",
        "Of the last hour, from 1 to 5, for agents that report feedback_rating.",
        {
            "{{agent}}": """sum by (agent) (increase(feedback_rating_sum{@agents}[1h]))
                / (sum by (agent) (increase(feedback_rating_count{@agents}[1h])) > 0)"""
        },
        nothing="No agent reports ratings",
        low=1,
        high=5,
    ),
    series(
        "Ratings in 1 h",
        "How many there were: a few say little.",
        {"{{agent}}": "sum by (agent) (increase(feedback_rating_count{@agents}[1h]))"},
        nothing="No agent reports ratings",
    ),
)

DASHBOARD = dashboard(
    "musterd-agents",
    "musterd: agents",
    "All agents: which one needs somebody, since when, and why.",
    [datasource(), JOB, NODES, AGENTS],
    ANYTHING_WRONG,
    WHERE,
    SINCE_WHEN,
    WHY,
    COST,
    USERS,
)
