"""Fleet: is anything wrong on any node, where, since when, and why."""

from layout import JOB, NODES, dashboard, datasource, row
from links import to_agent, to_agents, to_node, to_self
from looks import ORANGE, PURPLE, RED, STATE_WORDS, UP_WORDS, YELLOW, above, below
from panels import column, series, stat, table, timeline
from queries import COLLECTORS_FAILING, FAILED, JUDGED, ON_DISK, state

BY = "by (job, instance)"

CPU = f'1 - avg {BY} (rate(node_cpu_seconds_total{{@nodes,mode="idle"}}[$__rate_interval]))'
MEMORY = "1 - node_memory_MemAvailable_bytes{@nodes} / node_memory_MemTotal_bytes{@nodes}"
DISK = f"""max {BY} (1 - node_filesystem_avail_bytes{{@nodes,{ON_DISK}}}
    / (node_filesystem_size_bytes{{@nodes,{ON_DISK}}} > 0))"""
IN_TROUBLE = 'agent_health_status{@nodes,state=~"unhealthy|stuck|lost"}'
AGENT = "by (job, instance, agent)"
ALERT = "by (severity, alertname, instance, agent)"
TROUBLED = f"({state('@nodes', 'job, instance, agent')} >= 4)"  # unhealthy, stuck, lost

ANYTHING_WRONG = row(
    "Is anything wrong?",
    stat(
        "Nodes down",
        "Nodes that Prometheus could not scrape.",
        "count(up{@nodes} == 0) or vector(0)",
        steps=above(red=1),
        width=3,
    ),
    stat(
        "Alerts firing",
        "Alerts of this Prometheus that are firing now, of any job.",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
        steps=above(red=1),
        width=3,
    ),
    stat(
        "Agents in trouble",
        "Agents that are unhealthy, stuck or lost.",
        f"sum({IN_TROUBLE}) or vector(0)",
        steps=above(red=1),
        link=to_agents("$__all"),
        width=3,
    ),
    stat(
        "Agents degraded",
        "Agents that work, but fail or dawdle more than they should.",
        'sum(agent_health_status{@nodes,state="degraded"}) or vector(0)',
        steps=above(1),
        link=to_agents("$__all"),
        width=3,
    ),
    stat(
        "Requests failed",
        "Share of all agents' requests of the last 5 minutes that failed, took too long or died "
        "with their agent. Cancelled ones are left out.",
        f"""(sum(rate(agent_requests_total{{@nodes,{FAILED}}}[5m])) or vector(0))
         / (sum(rate(agent_requests_total{{@nodes,{JUDGED}}}[5m])) > 0)""",
        "percentunit",
        above(0.05, 0.2),
        decimals=1,
        width=3,
    ),
    stat(
        "Fullest disk",
        "Share of the space of the fullest file system of any node that is in use.",
        f"max({DISK})",
        "percentunit",
        above(0.8, 0.9),
        decimals=0,
        width=3,
    ),
    stat(
        "Collectors failing",
        "Collectors that gave samples within the last day and give none now, on all nodes.",
        f"count({COLLECTORS_FAILING}) or vector(0)",
        steps=above(1),
        width=3,
    ),
    stat("Nodes", "Nodes that are scraped.", "count(up{@nodes} == 1) or vector(0)", width=3),
)

WHERE = row(
    "Where?",
    table(
        "Nodes",
        "One line for each node. A click on its name opens it.",
        {"job": "Job", "instance": "Node"},
        [
            column("Up", f"max {BY} (up{{@nodes}})", mappings=UP_WORDS, width=70),
            column("CPU", CPU, "percentunit", above(0.8, 0.95), bar=True),
            column(
                "Memory",
                MEMORY.replace("1 -", f"1 - max {BY} (") + ")",
                "percentunit",
                above(0.8, 0.95),
                bar=True,
            ),
            column("Fullest disk", DISK, "percentunit", above(0.8, 0.9), bar=True),
            column(
                "Waiting for CPU",
                f"max {BY} (rate(node_pressure_cpu_waiting_seconds_total{{@nodes}}[$__rate_interval]))",
                "percentunit",
                above(0.5, 0.9),
                decimals=1,
            ),
            column(
                "Waiting for I/O",
                f"max {BY} (rate(node_pressure_io_waiting_seconds_total{{@nodes}}[$__rate_interval]))",
                "percentunit",
                above(0.2, 0.5),
                decimals=1,
            ),
            column("Agents", f"sum {BY} (agent_up{{@nodes}})"),
            column("In trouble", f"sum {BY} ({IN_TROUBLE})", steps=above(red=1)),
            column(
                "Succeeding",
                f"""sum {BY} (rate(agent_requests_total{{@nodes,status="success"}}[5m]))
                     / (sum {BY} (rate(agent_requests_total{{@nodes,{JUDGED}}}[5m])) > 0)""",
                "percentunit",
                below(0.8, 0.95),
                decimals=1,
            ),
            column("Up for", f"max {BY} (time() - node_boot_time_seconds{{@nodes}})", "s", decimals=1),
        ],
        links={"instance": [to_node(), to_agents(), to_self()]},
        sort="In trouble",
        height=9,
    ),
    table(
        "Agents in trouble",
        "Agents that are unhealthy, stuck or lost.",
        {"job": "Job", "instance": "Node", "agent": "Agent"},
        [
            column("State", f"{TROUBLED}", mappings=STATE_WORDS),
            column(
                "Succeeding",
                f"max {AGENT} (agent_success_rate{{@nodes}}) and {TROUBLED}",
                "percentunit",
                below(0.5, 0.9),
                decimals=1,
            ),
            column(
                "Oldest request",
                f"max {AGENT} (agent_oldest_request_age_seconds{{@nodes}}) and {TROUBLED}",
                "s",
                above(60, 300),
                decimals=1,
            ),
        ],
        nothing="No agent is in trouble",
        links={"agent": [to_agent()], "instance": [to_node()]},
        sort="State",
        width=12,
        height=8,
    ),
    table(
        "Alerts firing",
        "Alerts of this Prometheus, of any job, and for how long their condition has held.",
        {"severity": "Severity", "alertname": "Alert", "instance": "Node", "agent": "Agent"},
        [
            column(
                "For",
                f"""time() - min {ALERT} (ALERTS_FOR_STATE) and max {ALERT} (ALERTS{{alertstate="firing"}})""",
                "s",
                decimals=0,
            )
        ],
        nothing="No alert is firing",
        links={"instance": [to_node()]},
        sort="For",
        width=12,
        height=8,
    ),
)

SINCE_WHEN = row(
    "Since when?",
    timeline(
        "Nodes up",
        "Whether Prometheus could scrape each node.",
        "up{@nodes}",
        "{{instance}}",
        UP_WORDS,
        link=to_node("${__field.labels.instance}"),
        width=12,
    ),
    series(
        "Agents not well",
        "How many agents were in each of the bad states, on all nodes.",
        {"{{state}}": 'sum by (state) (agent_health_status{@nodes,state=~"degraded|unhealthy|stuck|lost"})'},
        stack=True,
        colors={"degraded": YELLOW, "unhealthy": ORANGE, "stuck": PURPLE, "lost": RED},
    ),
)

WHY = row(
    "Why?",
    series(
        "CPU in use",
        "Share of the time of all processors of each node that was not idle.",
        {"{{instance}}": CPU},
        "percentunit",
        high=1,
        link=to_node("${__field.labels.instance}"),
    ),
    series(
        "Memory in use",
        "Share of the memory that new programs could not have.",
        {"{{instance}}": MEMORY},
        "percentunit",
        high=1,
        link=to_node("${__field.labels.instance}"),
    ),
    series(
        "Fullest file system",
        "Share in use of the fullest file system of each node.",
        {"{{instance}}": DISK},
        "percentunit",
        high=1,
        link=to_node("${__field.labels.instance}"),
    ),
    series(
        "Waiting for I/O",
        "Share of the time in which some task of the node waited for I/O.",
        {"{{instance}}": "rate(node_pressure_io_waiting_seconds_total{@nodes}[$__rate_interval])"},
        "percentunit",
        link=to_node("${__field.labels.instance}"),
    ),
    series(
        "Requests failed",
        "Requests of all agents of each node that failed, took too long or died with their agent.",
        {"{{instance}}": f"sum {BY} (rate(agent_requests_total{{@nodes,{FAILED}}}[$__rate_interval]))"},
        "reqps",
        link=to_agents("${__field.labels.instance}"),
    ),
    series(
        "Agents started anew",
        "How often agents' processes were started again within the last 10 minutes.",
        {"{{instance}}": f"sum {BY} (increase(agent_restarts_total{{@nodes}}[10m]))"},
        link=to_agents("${__field.labels.instance}"),
    ),
)

DASHBOARD = dashboard(
    "musterd-fleet",
    "musterd: fleet",
    "All nodes and their agents: is anything wrong, where, since when, why.",
    [datasource(), JOB, NODES],
    ANYTHING_WRONG,
    WHERE,
    SINCE_WHEN,
    WHY,
)
