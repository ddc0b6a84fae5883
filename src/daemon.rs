//! The only wiring: what is opened, which task talks to which, and in which order all of it
//! begins, reloads and ends.
//!
//! Must not know how any of it works.

use crate::agent::connections::Connections;
use crate::agent::context::{self, Context};
use crate::agent::label::process_name;
use crate::agent::lines::folder::Folder;
use crate::agent::listener;
use crate::agent::registry::{Key, Registry};
use crate::config::{self, Config};
use crate::host::{self, vitals::Vitals};
use crate::http::{self, Scraper, Site};
use crate::instruments::Instruments;
use crate::node::{self, Node};
use crate::process::Processes;
use crate::sampler::Sampler;
use crate::sole::Sole;
use crate::store::Store;
use crate::supervisor::Supervisor;
use crate::supervisor::report::{Report, Reports};
use crate::{clock, logging, notify, open_files, supervised};
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, oneshot};

/// How often windows move on and health is judged while nobody asks.
const TICK: Duration = Duration::from_secs(5);

/// How long the last write of what is kept may take.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to end. `path` is read again on SIGHUP.
///
/// # Errors
/// What could not be opened at the start, or which part has ended when it should not have.
pub fn run(config: Config, path: Option<PathBuf>) -> Result<(), String> {
    let handed = notify::handed_over();
    let log = logging::start(config.log);
    if let Err(error) = open_files::raise() {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let daemon = async {
        let (daemon, doors) = Daemon::open(config, path, log, handed).await?;
        daemon.serve(doors).await
    };
    // A task of its own: to wake the runtime's first future takes a system call, to wake a task none.
    let ended = runtime.block_on(async { tokio::task::spawn_local(daemon).await });
    let ended = ended.unwrap_or_else(|fault| Err(format!("the daemon itself has failed: {fault}")));
    // Not waited for: a program on a dead mount that is being started.
    runtime.shutdown_background();
    ended
}

struct Daemon {
    config: Config,
    path: Option<PathBuf>,
    log: logging::Handle,
    registry: Rc<RefCell<Registry>>,
    instruments: Instruments,
    node: Rc<Node>,
    site: Rc<Site>,
    scan: Scan,
    supervisor: Supervisor,
    reports: UnboundedReceiver<Report>,
    store: Store,
    /// Ledgers of programs that send lines.
    lines: Folder,
    /// Woken when an agent has come or gone.
    changed: Rc<Notify>,
    /// Woken when what is kept of agents has been written.
    written: Arc<Notify>,
    /// Its folders, for as long as it runs.
    _sole: Sole,
}

/// What is listened on.
struct Doors {
    web: Vec<TcpListener>,
    agents: UnixListener,
    /// The socket's file, where it is ours to remove.
    made: Option<PathBuf>,
    /// Ledgers that systemd has kept, and their processes.
    returned: Vec<(Key, Option<OwnedFd>)>,
}

impl Daemon {
    /// Opens everything, so that nothing is served unless all of it can be.
    async fn open(
        config: Config,
        path: Option<PathBuf>,
        log: logging::Handle,
        handed: notify::Handed,
    ) -> Result<(Self, Doors), String> {
        let web = http::bind(&config.http.listen).await.map_err(|error| error.to_string())?;
        // Before a socket is made that one who is refused would leave behind.
        let sole = Sole::take(&[&config.run_dir, &config.state_dir])?;
        let (agents, made) = match handed.socket {
            Some(listener) => {
                warn_of_another_socket(&listener, &config.agents.socket);
                (listener::adopt(listener)?, None)
            }
            None => (listener::bind(&config.agents)?, Some(config.agents.socket.clone())),
        };
        let instruments = Instruments::new(prometheus::Registry::new())
            .map_err(|error| format!("cannot make the daemon's own instruments: {error}"))?;
        let mut registry = Registry::new(config.agents.clone());
        let written = Arc::new(Notify::new());
        let store = Store::new(&config.state_dir, &config.run_dir, Arc::clone(&written));
        store.restore(&mut registry);
        let mut returned = take_back(handed.stored, &mut registry);
        let lines = Folder::new(&config.run_dir);
        returned.extend(take_back_lines(&lines, &mut registry));
        let registry = Rc::new(RefCell::new(registry));
        let vitals = Vitals::new(&Arc::new(config.root.clone()));
        let node = Node::new(registry.clone(), instruments.clone(), vitals, config.health);
        let node = Rc::new(node);
        let scan = make_scan(&config);
        let scraper = Scraper::new(
            start_sampler(&config, &scan)?,
            node.clone(),
            instruments.clone(),
            config.deadline,
            config.http.max_scrapes,
        );
        let site = Site { node: node.clone(), scraper, instruments: instruments.clone() };
        let (sender, reports) = Reports::channel();
        let carrier = config.agents.supervision.runner.carrier();
        let supervisor = Supervisor::new(&config.run_dir, &config.agents.socket, carrier, sender);
        node.set_supervision(supervisor.statuses());
        let daemon = Self {
            config,
            path,
            log,
            registry,
            instruments,
            node,
            site: Rc::new(site),
            scan,
            supervisor,
            reports,
            store,
            lines,
            changed: Rc::new(Notify::new()),
            written,
            _sole: sole,
        };
        Ok((daemon, Doors { web, agents, made, returned }))
    }

    /// Serves until a signal says that it is enough.
    async fn serve(mut self, doors: Doors) -> Result<(), String> {
        let mut signals = Signals::listen()?;
        let (stop_web, web_stopped) = oneshot::channel::<()>();
        let mut web = tokio::task::spawn_local({
            let (options, site) = (self.config.http.clone(), self.site.clone());
            let stopped = async { drop(web_stopped.await) };
            async move { http::serve(doors.web, &options, site, stopped).await }
        });
        let context = Context {
            registry: self.registry.clone(),
            instruments: self.instruments.clone(),
            changed: self.changed.clone(),
            connections: Connections::new(self.config.agents.max_connections),
            hello_timeout: self.config.agents.hello_timeout,
            log_quota: context::refusal_quota(),
            lines: self.lines.clone(),
        };
        for (key, process) in doors.returned {
            tokio::task::spawn_local(listener::await_return(key, process, context.clone()));
        }
        let mut agents = tokio::task::spawn_local(listener::serve(doors.agents, context));

        supervised::announce(&self.config.definitions, &mut self.registry.borrow_mut());
        self.supervisor.apply(self.config.definitions.clone());
        self.node.set_ready();
        notify::ready();
        // What was needed to start is needed no more: a good part of the program.
        musterd_kernel::give_back_memory();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            http = ?self.config.http.listen,
            socket = %self.config.agents.socket.display(),
            "musterd serves"
        );
        let ended = loop {
            tokio::select! {
                what = self.next_event(&mut signals) => match what {
                    Event::Tick => self.tick(),
                    Event::Written => self.save(),
                    Event::Report(report) => self.note(&report),
                    Event::Reload => self.reload(),
                    Event::Stop(signal) => {
                        tracing::info!(signal, "musterd ends");
                        break Ok(());
                    }
                },
                _ = &mut web => break Err("the HTTP server has ended by itself".to_owned()),
                _ = &mut agents => break Err("the agent listener has ended by itself".to_owned()),
            }
        };
        self.node.set_stopping();
        notify::stopping();
        let Self { supervisor, reports, registry, mut store, lines, .. } = self;
        let mut is_hurried = false;
        if ended.is_ok() {
            notify::extend(supervisor.longest_stop() + LAST_SAVE);
            let hurry = async {
                signals.interrupt.recv().await;
                tracing::warn!("SIGINT again: agents are killed, answers are cut off");
                is_hurried = true;
            };
            stop_agents(supervisor, reports, &registry, hurry).await;
        } else {
            // A fault of the daemon's own ends no agent: the next daemon takes them on.
            supervisor.detach().await;
        }
        agents.abort();
        if let Some(socket) = doors.made {
            // One that stays is replaced at the next start.
            let _ = std::fs::remove_file(socket);
        }
        drop(stop_web);
        if ended.is_ok() && !is_hurried {
            tokio::select! {
                // Ends within the drain time-out of the server's own options.
                _ = web => {}
                _ = signals.interrupt.recv() => tracing::warn!("SIGINT again: answers are cut off"),
            }
        }
        let mut registry = registry.borrow_mut();
        registry.refresh(clock::monotonic());
        store.finish(&mut registry, LAST_SAVE);
        forget_written(&mut store, &lines);
        ended
    }

    async fn next_event(&mut self, signals: &mut Signals) -> Event {
        let (changed, written) = (self.changed.clone(), Arc::clone(&self.written));
        let until_tick = signals.until_tick();
        tokio::select! {
            signal = signals.next() => signal,
            Some(report) = self.reports.recv() => Event::Report(report),
            () = changed.notified() => Event::Tick,
            () = written.notified() => Event::Written,
            () = tokio::time::sleep(until_tick) => {
                signals.ticked();
                Event::Tick
            }
        }
    }

    /// Moves windows on, judges everyone, keeps what has to be kept, and shows life: the runtime
    /// thread does all of it, so that one that hangs is restarted by the watchdog.
    fn tick(&mut self) {
        let mut registry = self.registry.borrow_mut();
        node::log_changes(&registry.refresh(clock::monotonic()));
        drop(registry);
        self.save();
        listener::tell_of_hanging_files();
        notify::watchdog();
        notify::status(&self.node.status_line());
    }

    /// Keeps what has to be kept, and lets go of what is kept.
    fn save(&mut self) {
        self.store.save(&mut self.registry.borrow_mut());
        forget_written(&mut self.store, &self.lines);
    }

    fn note(&mut self, report: &Report) {
        supervised::note(report, &mut self.registry.borrow_mut());
        self.tick();
    }

    /// Reads the configuration anew. What is wrong with it is said, and the old one stays.
    fn reload(&mut self) {
        notify::reloading();
        let result = match &self.path {
            Some(path) => config::load(Some(path)).map_err(|error| error.to_string()),
            None => Err("there is no file to read: started without one".to_owned()),
        };
        let result = result.and_then(|config| self.apply(config));
        self.instruments.reload(result.is_ok());
        match result {
            Ok(()) => tracing::info!("configuration read anew"),
            Err(error) => {
                let path = self.path.as_deref().unwrap_or(Path::new("")).display();
                tracing::error!(%path, "configuration not taken, the old one stays: {error}");
            }
        }
        notify::ready();
    }

    fn apply(&mut self, mut config: Config) -> Result<(), String> {
        host::keep_builders(&self.config.collectors, &mut config.collectors);
        // A new scan starts its counters anew; so it is left alone unless its own settings change.
        let rescan = config.scanning != self.config.scanning;
        let scan = if rescan { make_scan(&config) } else { Arc::clone(&self.scan) };
        if config.sampling != self.config.sampling {
            let sampler = start_sampler(&config, &scan)?;
            self.site.scraper.reconfigure(sampler, config.deadline);
            self.scan = scan;
        }
        for key in fixed_keys_that_differ(&self.config, &config) {
            tracing::warn!("a change of {key} takes a restart");
        }
        self.log.set(config.log);
        self.node.set_thresholds(config.health);
        let mut registry = self.registry.borrow_mut();
        registry.set_options(config.agents.clone());
        for gone in &self.config.definitions {
            registry.unsupervise(&gone.name);
        }
        supervised::announce(&config.definitions, &mut registry);
        drop(registry);
        self.supervisor.apply(config.definitions.clone());
        self.config = config;
        Ok(())
    }
}

/// Lets go of ledgers whose counts are written down, and has systemd do so.
fn forget_written(store: &mut Store, lines: &Folder) {
    for name in store.take_written() {
        forget_ledger(&name);
        lines.remove(&name);
    }
}

/// Has systemd let go of a ledger and of its process.
fn forget_ledger(name: &str) {
    notify::forget(name);
    notify::forget(&process_name(name));
}

/// Takes back the ledgers that the daemon before has written for programs that send lines.
fn take_back_lines(lines: &Folder, registry: &mut Registry) -> Vec<(Key, Option<OwnedFd>)> {
    let (ledgers, unusable) = lines.found();
    for error in unusable {
        tracing::error!("a ledger of lines cannot be used: {error}");
    }
    let mut returned = Vec::new();
    for own in ledgers {
        let name = own.label.ledger_name();
        match registry.take_back_lines(own, clock::monotonic()) {
            Ok(back) => returned.extend(back),
            Err(error) => tracing::error!(name, error, "a ledger of lines cannot be used"),
        }
    }
    returned
}

/// Takes back the ledgers that systemd has kept: those of agents that live, and that have died since.
fn take_back(
    stored: Vec<(String, OwnedFd)>,
    registry: &mut Registry,
) -> Vec<(Key, Option<OwnedFd>)> {
    let (ledgers, others): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|(name, _)| name.starts_with("ledger-"));
    let mut processes: HashMap<_, _> = others.into_iter().collect();
    if !ledgers.is_empty() {
        tracing::info!(ledgers = ledgers.len(), "ledgers come back that systemd has kept");
    }
    let mut returned = Vec::new();
    for (name, file) in ledgers {
        match registry.take_back(&file, clock::monotonic()) {
            Ok(Some(key)) => returned.push((key, processes.remove(&process_name(&name)))),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(name, error, "a ledger that systemd has kept cannot be used");
                forget_ledger(&name);
            }
        }
    }
    returned
}

/// Agents are told one path, and systemd listens at another.
fn warn_of_another_socket(listener: &std::os::unix::net::UnixListener, told: &Path) {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    if let Some(path) = path.filter(|path| *path != told) {
        let (path, told) = (path.display(), told.display());
        tracing::warn!(
            "systemd listens at {path}, and agents are told {told}: give [agents] socket and ListenStream= of \
             musterd.socket the same path"
        );
    }
}

/// Stops the agents that were started here, while taking in how each of them ends; kills them after `hurry`.
async fn stop_agents(
    supervisor: Supervisor,
    mut reports: UnboundedReceiver<Report>,
    registry: &RefCell<Registry>,
    hurry: impl Future<Output = ()>,
) {
    let note_all = async {
        while let Some(report) = reports.recv().await {
            supervised::note(&report, &mut registry.borrow_mut());
        }
    };
    tokio::join!(supervisor.shutdown(hurry), note_all);
}

/// What is opened once, and so is not changed by a reload.
fn fixed_keys_that_differ(old: &Config, new: &Config) -> Vec<&'static str> {
    let (agents, other) = (&old.agents, &new.agents);
    [
        ("[http]", old.http != new.http),
        ("[paths] run", old.run_dir != new.run_dir),
        ("[paths] state", old.state_dir != new.state_dir),
        ("[agents] socket", agents.socket != other.socket),
        ("[agents] socket_mode", agents.socket_mode != other.socket_mode),
        ("[agents] socket_group", agents.socket_group != other.socket_group),
        ("[agents.supervision] runner", agents.supervision.runner != other.supervision.runner),
        ("[agents] max_connections", agents.max_connections != other.max_connections),
        ("[agents] hello_timeout", agents.hello_timeout != other.hello_timeout),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

/// What the daemon's own loop is woken by.
enum Event {
    Tick,
    /// What is kept of agents has been written.
    Written,
    Report(Report),
    Reload,
    Stop(&'static str),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    interval: Duration,
    next_tick: Instant,
}

impl Signals {
    fn listen() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
        let interval = notify::watchdog_interval().map_or(TICK, |interval| interval.min(TICK));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            interval,
            next_tick: Instant::now(),
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Event::Stop("SIGINT"),
            _ = self.hang_up.recv() => Event::Reload,
        }
    }

    fn until_tick(&self) -> Duration {
        self.next_tick.saturating_duration_since(Instant::now())
    }

    fn ticked(&mut self) {
        self.next_tick = Instant::now() + self.interval;
    }
}

/// The scan of processes, which knows them from pass to pass.
type Scan = Arc<Mutex<Processes>>;

fn make_scan(config: &Config) -> Scan {
    let root = Arc::new(config.root.clone());
    Arc::new(Mutex::new(Processes::new(&root, config.processes.clone())))
}

fn start_sampler(config: &Config, scan: &Scan) -> Result<Sampler, String> {
    let root = Arc::new(config.root.clone());
    let collectors = config
        .collectors
        .iter()
        .filter(|plan| plan.enabled)
        .map(|plan| (plan.name, (plan.builder)(&root)))
        .collect();
    Sampler::start(collectors, Some(Box::new(Arc::clone(scan))), &root)
        .map_err(|error| format!("cannot start the sampler thread: {error}"))
}
