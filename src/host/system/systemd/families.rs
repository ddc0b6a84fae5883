//! The families of units: node_exporter's, and those that systemd_exporter has besides.
//!
//! Must not know where their values come from.

use crate::metric::Family;

/// Where a family stands in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Accepted,
    ActiveEnter,
    ActiveExit,
    BootMonotonic,
    BootTime,
    Connections,
    EgressBytes,
    EgressPackets,
    InactiveEnter,
    InactiveExit,
    Info,
    IngressBytes,
    IngressPackets,
    LastTrigger,
    NodeAccepted,
    NodeConnections,
    NodeLastTrigger,
    NodeRefused,
    NodeRestarts,
    NodeRunning,
    NodeStartTime,
    NodeState,
    NodeTasks,
    NodeTasksMax,
    NodeUnits,
    NodeVersion,
    NodeVirtualization,
    Refused,
    Restarts,
    StartTime,
    State,
    Tasks,
    TasksMax,
}

/// All of them, in the order of [`Place`].
#[rustfmt::skip]
pub(super) const FAMILIES: [Family; 33] = [
    Family::counter("systemd_socket_accepted_connections_total", &["name"], "Connections that the socket has accepted."),
    Family::gauge("systemd_unit_active_enter_time_seconds", &["name", "type"], "When the unit last became active, as Unix time."),
    Family::gauge("systemd_unit_active_exit_time_seconds", &["name", "type"], "When the unit last ceased to be active, as Unix time."),
    Family::gauge("systemd_boot_monotonic_seconds", &["stage"], "When the stage of the start was reached, by the monotonic clock."),
    Family::gauge("systemd_boot_time_seconds", &["stage"], "When the stage of the start was reached, as Unix time."),
    Family::gauge("systemd_socket_current_connections", &["name"], "Connections of the socket that are open."),
    Family::counter("systemd_service_ip_egress_bytes", &["name"], "Bytes that the service has sent over IP."),
    Family::counter("systemd_service_ip_egress_packets_total", &["name"], "Packets that the service has sent over IP."),
    Family::gauge("systemd_unit_inactive_enter_time_seconds", &["name", "type"], "When the unit last became inactive, as Unix time."),
    Family::gauge("systemd_unit_inactive_exit_time_seconds", &["name", "type"], "When the unit last ceased to be inactive, as Unix time."),
    Family::gauge("systemd_unit_info", &["name", "type", "mount_type", "service_type"], "What kind of service or of mount the unit is; always 1."),
    Family::counter("systemd_service_ip_ingress_bytes", &["name"], "Bytes that the service has received over IP."),
    Family::counter("systemd_service_ip_ingress_packets_total", &["name"], "Packets that the service has received over IP."),
    Family::gauge("systemd_timer_last_trigger_seconds", &["name"], "When the timer last elapsed, as Unix time."),
    Family::counter("node_systemd_socket_accepted_connections_total", &["name"], "Connections that the socket has accepted."),
    Family::gauge("node_systemd_socket_current_connections", &["name"], "Connections of the socket that are open."),
    Family::gauge("node_systemd_timer_last_trigger_seconds", &["name"], "When the timer last elapsed, as Unix time."),
    Family::gauge("node_systemd_socket_refused_connections_total", &["name"], "Connections that the socket has refused."),
    Family::counter("node_systemd_service_restart_total", &["name"], "How often systemd has restarted the service by itself."),
    Family::gauge("node_systemd_system_running", &[], "Whether the system is up, and no unit has failed (systemctl is-system-running)."),
    Family::gauge("node_systemd_unit_start_time_seconds", &["name"], "When the unit became active, as Unix time; 0 if it is not."),
    Family::gauge("node_systemd_unit_state", &["name", "state", "type"], "Whether the unit is in the state."),
    Family::gauge("node_systemd_unit_tasks_current", &["name"], "Tasks of the service."),
    Family::gauge("node_systemd_unit_tasks_max", &["name"], "How many tasks the service may have."),
    Family::gauge("node_systemd_units", &["state"], "Units in the state."),
    Family::gauge("node_systemd_version", &["version"], "The version of systemd: its number, and all of it as the label."),
    Family::gauge("node_systemd_virtualization_info", &["virtualization_type"], "What virtual machine or container this is, as systemd has found; always 1."),
    Family::gauge("systemd_socket_refused_connections_total", &["name"], "Connections that the socket has refused."),
    Family::counter("systemd_service_restart_total", &["name"], "How often systemd has restarted the service by itself."),
    Family::gauge("systemd_unit_start_time_seconds", &["name", "type"], "When the service became active, as Unix time; 0 if it is not."),
    Family::gauge("systemd_unit_state", &["name", "type", "state"], "Whether the unit is in the state."),
    Family::gauge("systemd_unit_tasks_current", &["name"], "Tasks of the service."),
    Family::gauge("systemd_unit_tasks_max", &["name", "type"], "How many tasks the service may have."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_families() {
        let name = |place: Place| FAMILIES[place as usize].name;
        assert_eq!(name(Place::Accepted), "systemd_socket_accepted_connections_total");
        assert_eq!(name(Place::Info), "systemd_unit_info");
        assert_eq!(name(Place::NodeAccepted), "node_systemd_socket_accepted_connections_total");
        assert_eq!(name(Place::NodeState), "node_systemd_unit_state");
        assert_eq!(name(Place::NodeVirtualization), "node_systemd_virtualization_info");
        assert_eq!(name(Place::TasksMax), "systemd_unit_tasks_max");
        assert_eq!(Place::TasksMax as usize + 1, FAMILIES.len());
    }
}
