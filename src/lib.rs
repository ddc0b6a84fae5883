//! musterd: one daemon per node. It samples the host and its processes, supervises agents and
//! collects what they report, and serves all of it as one scrape.
//!
//! The rooms, in reading order; each opens with its purpose and what it must not know.
//!
//! What all share:
//! - [`metric`]: what a family is, and the batch that one pass fills.
//! - [`units`]: how the configuration writes lengths of time and sizes.
//! - [`names`]: what an agent may be called.
//! - [`accounts`]: users and groups by name.
//! - [`cgroup`]: which unit of systemd's a process belongs to.
//! - [`quota`]: how many lines of a kind the log takes.
//! - [`clock`]: the one clock of ledgers, agents and the daemon.
//!
//! From the kernel to an answer:
//! - [`host`]: the collectors, one file each, and the one list of them.
//! - [`process`]: groups of processes, and agents' process trees.
//! - [`exposition`]: a batch as Prometheus text or OpenMetrics.
//! - [`sampler`]: the thread that runs the sources against a deadline and renders.
//! - [`http`]: connections, routes, and scrapes that share a pass.
//!
//! From an agent's memory to the same batch:
//! - [`agent`]: the socket, the ledgers, and the one owner of what is known about agents.
//! - [`store`]: totals that are kept from one run to the next.
//!
//! Agents that the daemon runs:
//! - [`supervisor`]: what is done, as one pure table, and the processes that it is done to.
//! - [`open_files`]: how many files the daemon and its agents may have open.
//! - [`pidfd`]: waiting for the end of any process.
//! - [`exec`]: how a service of systemd's becomes an agent.
//! - [`supervised`]: the supervisor's reports in the words of the registry of agents.
//!
//! What holds it together:
//! - [`instruments`]: what the daemon measures about itself.
//! - [`node`]: what this node answers when it is asked.
//! - [`config`]: files over the shipped defaults, everything checked before anything is bound.
//! - [`logging`], [`notify`]: the journal, and systemd.
//! - [`daemon`]: the only wiring: how all of it begins, reloads and ends.
//! - [`cli`]: the command line.
//! - [`stderr`]: what commands say there.
//! - [`report`]: requests of programs that have no client.
//! - [`status`]: a daemon's agents, as a table.
//! - [`doctor`]: whether an installation is as it should be.
//! - [`import`]: the configuration that does what another exporter's flags did.
//! - [`demo`]: a daemon with three example agents.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod agent;
pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod exec;
pub mod exposition;
pub mod host;
pub mod http;
pub mod import;
pub mod instruments;
pub mod logging;
pub mod metric;
pub mod names;
pub mod node;
pub mod notify;
pub mod open_files;
pub mod pidfd;
mod proc_stat;
pub mod process;
pub mod quota;
pub mod report;
pub mod sampler;
pub mod sole;
pub mod status;
pub mod stderr;
pub mod store;
pub mod supervised;
pub mod supervisor;
pub mod units;
