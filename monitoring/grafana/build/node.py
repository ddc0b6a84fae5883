"""Node: one machine, from its vital signs down to the processes that use it up."""

from layout import JOB, NODE, dashboard, datasource, row
from links import to_agent, to_agents, to_self
from looks import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, UP_WORDS, YELLOW, above
from node_devices import BETWEEN, NETWORK, OUTSIDE, RATE, STORAGE, SYSTEM, USED, per_second
from panels import series, stat
from queries import busiest


def busiest_by(label, rates):
    """The ten with this label whose rates are highest; in `rates`, WINDOW stands for the window of time."""
    now, whole = (
        f"sum by ({label}) ({rates.replace('WINDOW', window)})" for window in (RATE, "[$__range] @ end()")
    )
    return busiest(now, whole, label)


ANYTHING_WRONG = row(
    "Is anything wrong?",
    stat(
        "Node",
        "Whether Prometheus can scrape musterd on this node.",
        "up{@node}",
        mappings=UP_WORDS,
        link=to_self("$instance"),
        width=3,
    ),
    stat(
        "CPU in use",
        "Share of the time of all processors that was not idle.",
        f"1 - avg({per_second('node_cpu_seconds_total', 'mode=' + chr(34) + 'idle' + chr(34))})",
        "percentunit",
        above(0.8, 0.95),
        decimals=0,
        width=3,
    ),
    stat(
        "Memory in use",
        "Share of the memory that new programs could not have.",
        "1 - node_memory_MemAvailable_bytes{@node} / node_memory_MemTotal_bytes{@node}",
        "percentunit",
        above(0.8, 0.95),
        decimals=0,
        width=3,
    ),
    stat(
        "Fullest disk",
        "Share in use of the fullest file system.",
        f"max({USED})",
        "percentunit",
        above(0.8, 0.9),
        decimals=0,
        width=3,
    ),
    stat(
        "Waiting for I/O",
        "Share of the time in which some task waited for I/O.",
        per_second("node_pressure_io_waiting_seconds_total"),
        "percentunit",
        above(0.2, 0.5),
        decimals=1,
        width=3,
    ),
    stat(
        "Network errors",
        "Packets with errors or dropped, in and out, of all devices to the outside.",
        f"""sum({per_second("node_network_receive_errs_total", OUTSIDE)} + {per_second("node_network_transmit_errs_total", OUTSIDE)}
         + {per_second("node_network_receive_drop_total", OUTSIDE)} + {per_second("node_network_transmit_drop_total", OUTSIDE)})""",
        "pps",
        above(1, 100),
        decimals=1,
        width=3,
    ),
    stat(
        "Agents in trouble",
        "Agents that are unhealthy, stuck or lost.",
        'sum(agent_health_status{@node,state=~"unhealthy|stuck|lost"}) or vector(0)',
        steps=above(red=1),
        link=to_agents("$instance"),
        width=3,
    ),
    stat(
        "Units failed",
        "Units of systemd that have failed; needs the collector systemd, which is off by default.",
        'sum(node_systemd_units{@node,state="failed"})',
        steps=above(red=1),
        width=3,
    ),
)

SINCE_WHEN = row(
    "Since when?",
    series(
        "CPU",
        "What the processors spend their time on, all of them together.",
        {
            "{{mode}}": f"sum by (mode) ({per_second('node_cpu_seconds_total', 'mode!=' + chr(34) + 'idle' + chr(34))})"
            " / scalar(count(count by (cpu) (node_cpu_seconds_total{@node})))"
        },
        "percentunit",
        stack=True,
        high=1,
        colors={
            "user": BLUE,
            "system": ORANGE,
            "iowait": RED,
            "steal": PURPLE,
            "nice": GREEN,
            "softirq": YELLOW,
            "irq": GREY,
        },
    ),
    series(
        "Memory",
        "What the memory is used for. What is cached can be had when it is needed.",
        {
            "programs": "node_memory_MemTotal_bytes{@node} - node_memory_MemFree_bytes{@node} - node_memory_Buffers_bytes{@node}"
            " - node_memory_Cached_bytes{@node} - node_memory_SReclaimable_bytes{@node}",
            "shared": "node_memory_Shmem_bytes{@node}",
            "cache": "node_memory_Cached_bytes{@node} - node_memory_Shmem_bytes{@node} + node_memory_Buffers_bytes{@node}"
            " + node_memory_SReclaimable_bytes{@node}",
            "free": "node_memory_MemFree_bytes{@node}",
        },
        "bytes",
        stack=True,
        colors={"programs": ORANGE, "shared": PURPLE, "cache": BLUE, "free": GREEN},
    ),
    series(
        "Waiting",
        "Share of the time in which some task waited for the resource, and in which all of them did.",
        {
            "CPU": per_second("node_pressure_cpu_waiting_seconds_total"),
            "I/O": per_second("node_pressure_io_waiting_seconds_total"),
            "I/O, all tasks": per_second("node_pressure_io_stalled_seconds_total"),
            "memory": per_second("node_pressure_memory_waiting_seconds_total"),
            "memory, all tasks": per_second("node_pressure_memory_stalled_seconds_total"),
        },
        "percentunit",
        high=1,
    ),
    series(
        "Load",
        "Tasks that run, could run or wait for a disk; beside them, how many processors there are.",
        {
            "1 minute": "node_load1{@node}",
            "5 minutes": "node_load5{@node}",
            "15 minutes": "node_load15{@node}",
            "processors": "count(count by (cpu) (node_cpu_seconds_total{@node}))",
        },
        colors={"processors": RED},
    ),
)

WHO = row(
    "Who uses it?",
    series(
        "CPU by process group",
        "The ten groups of processes that use most, in processors.",
        {
            "{{groupname}}": busiest_by(
                "groupname", "rate(namedprocess_namegroup_cpu_seconds_total{@node}WINDOW)"
            )
        },
    ),
    series(
        "Memory by process group",
        "The ten groups of processes that hold most in RAM. Pages that processes share are counted in each.",
        {
            "{{groupname}}": busiest(
                'namedprocess_namegroup_memory_bytes{@node,memtype="resident"}',
                'avg_over_time(namedprocess_namegroup_memory_bytes{@node,memtype="resident"}[$__range] @ end())',
                "groupname",
            )
        },
        "bytes",
    ),
    series(
        "Storage by process group",
        "The ten groups that have most read from and written to storage.",
        {
            "{{groupname}}": busiest_by(
                "groupname",
                "rate(namedprocess_namegroup_read_bytes_total{@node}WINDOW)"
                " + rate(namedprocess_namegroup_write_bytes_total{@node}WINDOW)",
            )
        },
        "Bps",
    ),
    series(
        "Waiting by process group",
        "Threads of the ten groups that waited most for a disk or another device, and cannot be interrupted meanwhile: "
        "a line that never falls to 0 is a device that does not answer.",
        {
            "{{groupname}}": busiest(
                'namedprocess_namegroup_states{@node,state="Waiting"}',
                'avg_over_time(namedprocess_namegroup_states{@node,state="Waiting"}[$__range] @ end())',
                "groupname",
            )
        },
    ),
    series(
        "Threads by process group",
        "The ten groups that have most threads.",
        {
            "{{groupname}}": busiest(
                "namedprocess_namegroup_num_threads{@node}",
                "avg_over_time(namedprocess_namegroup_num_threads{@node}[$__range] @ end())",
                "groupname",
            )
        },
    ),
    series(
        "CPU by agent",
        "What the process trees of the ten agents that use most take, in processors.",
        {"{{agent}}": busiest_by("agent", "rate(agent_process_cpu_seconds_total{@node}WINDOW)")},
        link=to_agent("$instance", "${__field.labels.agent}"),
    ),
)

DASHBOARD = dashboard(
    "musterd-node",
    "musterd: node",
    "One node: processors, memory, storage, network, and who uses them.",
    [datasource(), JOB, NODE],
    ANYTHING_WRONG,
    SINCE_WHEN,
    WHO,
    STORAGE,
    NETWORK,
    SYSTEM,
    BETWEEN,
)
