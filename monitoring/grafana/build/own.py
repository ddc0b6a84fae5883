"""musterd itself: does it measure, does it leave anything out, what does it cost."""

from layout import JOB, NODES, dashboard, datasource, row
from links import to_node, to_self
from looks import GREEN, GREY, RED, UP_WORDS, above, words
from panels import column, heatmap, logs, series, stat, table, timeline
from queries import COLLECTORS_FAILING, added, busiest

RATE = "[$__rate_interval]"
REFUSED = "musterd_refused_total{@nodes}"
FAULTS = "musterd_ledger_faults_total{@nodes}"
HERE = to_self("${__field.labels.instance}")

ANYTHING_WRONG = row(
    "Does it measure?",
    stat(
        "Down",
        "Nodes that Prometheus could not scrape.",
        "count(up{@nodes} == 0) or vector(0)",
        steps=above(red=1),
        width=3,
    ),
    stat(
        "Slowest scrape",
        "The longest that any node took to answer the last scrape.",
        "max(scrape_duration_seconds{@nodes})",
        "s",
        above(1, 5),
        decimals=1,
        width=3,
    ),
    stat(
        "Collectors failing",
        "Collectors that gave samples within the last day and give none now.",
        f"count({COLLECTORS_FAILING}) or vector(0)",
        steps=above(1),
        width=3,
    ),
    stat(
        "Refused in 1 h",
        "Things from outside that were refused: connections, hellos, ledgers, scrapes.",
        f"sum({added(REFUSED, '1h')}) or vector(0)",
        steps=above(1),
        decimals=0,
        width=3,
    ),
    stat(
        "Ledger faults in 1 h",
        "Things in agents' ledgers that could not be used.",
        f"sum({added(FAULTS, '1h')}) or vector(0)",
        steps=above(1),
        decimals=0,
        width=3,
    ),
    stat(
        "Reloads failed",
        "Times a changed configuration was not taken, within the last day. The old one stays in use.",
        'sum(increase(musterd_config_reloads_total{@nodes,result="failure"}[1d]))',
        steps=above(1),
        decimals=0,
        width=3,
    ),
    stat(
        "Restarts in 1 h",
        "How often the daemon was started anew within the last hour, on all nodes.",
        "sum(changes(process_start_time_seconds{@nodes}[1h]))",
        steps=above(1, 5),
        decimals=0,
        width=3,
    ),
    stat(
        "Versions",
        "Different versions of musterd among the nodes.",
        "count(count by (version) (musterd_build_info{@nodes}))",
        steps=above(2),
        width=3,
    ),
)

WHERE = row(
    "Where?",
    table(
        "Daemons",
        "One line for each daemon that answers.",
        {"job": "Job", "instance": "Node", "version": "Version"},
        [
            column(
                title,
                f"({expression}) * on (job, instance) group_left (version) musterd_build_info{{@nodes}}",
                *more,
                decimals=decimals,
            )
            for title, expression, decimals, *more in (
                ("Scrape took", "scrape_duration_seconds{@nodes}", 1, "s", above(1, 5)),
                ("Samples", "scrape_samples_scraped{@nodes}", None),
                (
                    "CPU",
                    f"rate(process_cpu_seconds_total{{@nodes}}{RATE})",
                    2,
                    "percentunit",
                    above(0.05, 0.2),
                ),
                ("Memory", "process_resident_memory_bytes{@nodes}", 1, "bytes"),
                (
                    "Open files",
                    "process_open_fds{@nodes} / process_max_fds{@nodes}",
                    1,
                    "percentunit",
                    above(0.7, 0.9),
                ),
                ("Up for", "time() - process_start_time_seconds{@nodes}", 0, "s"),
                (
                    "Configuration read",
                    "1000 * musterd_config_last_reload_success_timestamp_seconds{@nodes}",
                    None,
                    "dateTimeAsIso",
                ),
            )
        ],
        links={"instance": [to_self(), to_node()]},
        height=7,
    ),
    table(
        "Collectors failing",
        "Collectors that gave samples within the last day and give none now.",
        {"job": "Job", "instance": "Node", "collector": "Collector"},
        [column("Gives samples", COLLECTORS_FAILING, mappings=words([("no", RED), ("yes", GREEN)]))],
        nothing="None fails",
        links={"instance": [to_node()]},
        width=24,
        height=6,
    ),
)

SINCE_WHEN = row(
    "Since when?",
    timeline(
        "Answers to scrapes",
        "Whether Prometheus could scrape each node.",
        "up{@nodes}",
        "{{instance}}",
        UP_WORDS,
        link=HERE,
        width=12,
    ),
    timeline(
        "Collectors that come and go",
        "Collectors that gave samples at some times within the last hour and not at others.",
        """max by (instance, collector) (node_scrape_collector_success{@nodes})
             and (max_over_time(node_scrape_collector_success{@nodes}[1h]) != min_over_time(node_scrape_collector_success{@nodes}[1h]))""",
        "{{collector}} on {{instance}}",
        words([("no samples", GREY), ("samples", GREEN)]),
        nothing="None",
        width=12,
    ),
    series(
        "Time a scrape takes",
        "As Prometheus sees it, by node.",
        {"{{instance}}": "scrape_duration_seconds{@nodes}"},
        "s",
        link=HERE,
    ),
    heatmap(
        "Time a pass takes",
        "One pass over all sources, rendering included, on all nodes.",
        f"sum by (le) (increase(musterd_scrape_pass_duration_seconds_bucket{{@nodes}}{RATE}))",
    ),
)

WHY = row(
    "Why?",
    series(
        "Slowest collectors",
        "The ten collectors that take longest in all the time shown, on the node where each is slowest.",
        {
            "{{collector}}": busiest(
                "max by (collector) (node_scrape_collector_duration_seconds{@nodes})",
                "max by (collector) (avg_over_time(node_scrape_collector_duration_seconds{@nodes}[$__range] @ end()))",
                "collector",
            )
        },
        "s",
    ),
    series(
        "Requests",
        "HTTP requests answered, by endpoint and code.",
        {
            "{{endpoint}} {{code}}": f"sum by (endpoint, code) (rate(musterd_http_requests_total{{@nodes}}{RATE}))"
        },
        "reqps",
    ),
    series(
        "Refused",
        "Things from outside that were refused, by what they were and why.",
        {"{{what}}: {{reason}}": f"sum by (what, reason) ({added(REFUSED, '10m')})"},
        nothing="Nothing was refused",
    ),
    series(
        "Left out",
        "Faults of agents' ledgers, processes without a place, and readings of processes that lack a part, within 10 minutes.",
        {
            "ledger: {{reason}}": f"sum by (reason) ({added(FAULTS, '10m')})",
            "process limit: {{limit}}": "sum by (limit) (increase(musterd_process_overflow_total{@nodes}[10m]))",
            "processes not read": "sum(increase(namedprocess_scrape_procread_errors{@nodes}[10m]))",
            "processes read in part": "sum(increase(namedprocess_scrape_partial_errors{@nodes}[10m]))",
        },
    ),
)

COST = row(
    "What does it cost?",
    series(
        "CPU",
        "Share of one processor that the daemon uses.",
        {"{{instance}}": f"rate(process_cpu_seconds_total{{@nodes}}{RATE})"},
        "percentunit",
        link=HERE,
        width=8,
    ),
    series(
        "Memory",
        "Memory of the daemon that is held in RAM.",
        {"{{instance}}": "process_resident_memory_bytes{@nodes}"},
        "bytes",
        link=HERE,
        width=8,
    ),
    series(
        "Samples",
        "How many samples each scrape has.",
        {"{{instance}}": "scrape_samples_scraped{@nodes}"},
        link=HERE,
        width=8,
    ),
    series(
        "Connections and files",
        "HTTP connections and files that the daemon has open.",
        {
            "{{instance}} connections": "musterd_http_connections{@nodes}",
            "{{instance}} files": "process_open_fds{@nodes}",
        },
        link=HERE,
        width=24,
        height=7,
    ),
)

OUTPUT = row(
    "What does it say?",
    logs(
        "Warnings and errors",
        "The daemon's own lines of the journal, from Loki.",
        '{instance=~"$instance", unit="musterd.service", level=~"warning|error|critical"}',
    ),
)

DASHBOARD = dashboard(
    "musterd-self",
    "musterd: itself",
    "The daemons: do they measure, do they leave anything out, what do they cost.",
    [datasource(), JOB, NODES, datasource("logs", "loki", "Logs")],
    ANYTHING_WRONG,
    WHERE,
    SINCE_WHEN,
    WHY,
    COST,
    OUTPUT,
)
