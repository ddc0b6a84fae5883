"""The lower rows of the dashboard of a node: storage, network and the system itself."""

from layout import row
from looks import above, below
from panels import column, series, table
from queries import ON_DISK

# Not the ways between processes of the machine itself.
OUTSIDE = 'device!~"lo|veth.*|docker.*|br-.*|virbr.*|cali.*|ifb.*|dummy.*"'
DISKS = 'device!~"dm-.*|md.*|sr.*"'  # what these stand on is there itself

USED = f"1 - node_filesystem_avail_bytes{{@node,{ON_DISK}}} / (node_filesystem_size_bytes{{@node,{ON_DISK}}} > 0)"
MOUNT = "max by (mountpoint, device, fstype)"
RATE = "[$__rate_interval]"


def per_second(family, matchers=""):
    """The rate of a counter of this node."""
    return f"rate({family}{{@node{',' + matchers if matchers else ''}}}{RATE})"


STORAGE = row(
    "Storage: full, slow or broken?",
    table(
        "File systems",
        "Full at this pace: from the last 6 hours, in a straight line; empty if it does not fill.",
        {"mountpoint": "Mounted on", "device": "Device", "fstype": "Type"},
        [
            column("In use", f"{MOUNT} ({USED})", "percentunit", above(0.8, 0.9), bar=True),
            column("Available", f"{MOUNT} (node_filesystem_avail_bytes{{@node,{ON_DISK}}})", "bytes"),
            column(
                "Inodes in use",
                f"{MOUNT} (1 - node_filesystem_files_free{{@node,{ON_DISK}}}"
                f" / (node_filesystem_files{{@node,{ON_DISK}}} > 0))",
                "percentunit",
                above(0.8, 0.9),
                decimals=0,
            ),
            column(
                "Full in",
                f"{MOUNT} (node_filesystem_avail_bytes{{@node,{ON_DISK}}}"
                f" / (-deriv(node_filesystem_avail_bytes{{@node,{ON_DISK}}}[6h]) > 0))",
                "s",
                below(86400, 3 * 86400),
                decimals=1,
            ),
            column("Read-only", f"{MOUNT} (node_filesystem_readonly{{@node,{ON_DISK}}})", steps=above(1)),
            column(
                "Does not answer",
                f"{MOUNT} (node_filesystem_device_error{{@node,{ON_DISK}}})",
                steps=above(red=1),
            ),
        ],
        sort="In use",
        height=7,
    ),
    series(
        "Bytes read and written",
        "By disk; reads below zero.",
        {
            "{{device}} written": per_second("node_disk_written_bytes_total", DISKS),
            "{{device}} read": per_second("node_disk_read_bytes_total", DISKS),
        },
        "Bps",
        mirrored=".* read",
    ),
    series(
        "Time a request takes",
        "Average time from request to answer, waiting included; reads below zero.",
        {
            "{{device}} write": f"{per_second('node_disk_write_time_seconds_total', DISKS)} / {per_second('node_disk_writes_completed_total', DISKS)}",
            "{{device}} read": f"{per_second('node_disk_read_time_seconds_total', DISKS)} / {per_second('node_disk_reads_completed_total', DISKS)}",
        },
        "s",
        mirrored=".* read",
    ),
    series(
        "Disk busy",
        "Share of the time in which a disk had requests. A disk that does many at once can do more at 100 %.",
        {"{{device}}": per_second("node_disk_io_time_seconds_total", DISKS)},
        "percentunit",
        high=1,
    ),
    series(
        "Space in use",
        "Share in use of each file system.",
        {"{{mountpoint}}": USED},
        "percentunit",
        high=1,
        steps=above(0.8, 0.9),
    ),
)

NETWORK = row(
    "Network: full or lossy?",
    series(
        "Traffic",
        "By device to the outside; received below zero.",
        {
            "{{device}} sent": per_second("node_network_transmit_bytes_total", OUTSIDE) + " * 8",
            "{{device}} received": per_second("node_network_receive_bytes_total", OUTSIDE) + " * 8",
        },
        "bps",
        mirrored=".* received",
    ),
    series(
        "Errors and drops",
        "Packets by device to the outside; received below zero.",
        {
            "{{device}} sent, error": per_second("node_network_transmit_errs_total", OUTSIDE),
            "{{device}} sent, dropped": per_second("node_network_transmit_drop_total", OUTSIDE),
            "{{device}} received, error": per_second("node_network_receive_errs_total", OUTSIDE),
            "{{device}} received, dropped": per_second("node_network_receive_drop_total", OUTSIDE),
        },
        "pps",
        mirrored=".* received.*",
    ),
    series(
        "TCP",
        "Segments sent again and connections that a full queue turned away: a sign of a lossy way or a slow server.",
        {
            "sent again": per_second("node_netstat_Tcp_RetransSegs"),
            "turned away": per_second("node_netstat_TcpExt_ListenDrops"),
            "timeouts": per_second("node_netstat_TcpExt_TCPTimeouts"),
        },
        "pps",
    ),
    series(
        "Connections",
        "TCP connections that are established, or wait to be forgotten.",
        {"established": "node_netstat_Tcp_CurrEstab{@node}", "in time-wait": "node_sockstat_TCP_tw{@node}"},
    ),
)

SYSTEM = row(
    "The system itself",
    series(
        "Temperature",
        "Of each sensor that the machine has.",
        {"{{chip}} {{sensor}}": "node_hwmon_temp_celsius{@node}"},
        "celsius",
        low=None,
        nothing="The machine tells of no sensors",
    ),
    series(
        "Clock",
        "Offset of the clock from its reference, and the largest error it may have; "
        "without a reference the kernel lets that grow to 16 s.",
        {"offset": "node_timex_offset_seconds{@node}", "largest error": "node_timex_maxerror_seconds{@node}"},
        "s",
        low=None,
    ),
    series(
        "Files, processes and connections",
        "How much of what the kernel would give out is in use.",
        {
            "open files": "node_filefd_allocated{@node} / node_filefd_maximum{@node}",
            "processes": "node_processes_pids{@node} / node_processes_max_processes{@node}",
            "tracked connections": "node_nf_conntrack_entries{@node} / node_nf_conntrack_entries_limit{@node}",
            "worst process, open files": "max(namedprocess_namegroup_worst_fd_ratio{@node})",
        },
        "percentunit",
        low=0,
    ),
    series(
        "Switches and forks",
        "Context switches and interrupts; forks below zero.",
        {
            "context switches": per_second("node_context_switches_total"),
            "interrupts": per_second("node_intr_total"),
            "forks": per_second("node_forks_total"),
        },
        "ops",
        mirrored="forks",
    ),
)

BETWEEN = row(
    "Between two scrapes (collector peaks, off by default)",
    series(
        "Most busy moments",
        "The largest share of processor time in use, and of time that tasks waited, at any look of the last minute.",
        {
            "CPU in use": "musterd_peak_cpu_busy_ratio_max{@node}",
            "waiting for {{resource}}": "musterd_peak_pressure_ratio_max{@node}",
        },
        "percentunit",
        high=1,
    ),
    series(
        "Fastest moments",
        "The largest rates of the last minute, of all disks and of all network devices together.",
        {
            "disk {{operation}}": "musterd_peak_disk_bytes_per_second_max{@node}",
            "network {{direction}}": "musterd_peak_network_bytes_per_second_max{@node}",
        },
        "Bps",
    ),
    collapsed=True,
)
