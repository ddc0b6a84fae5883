//! Lives of processes as scripted scans, against the table and the accounts alone.

use super::account::{Account, Accounts, Reading, States};
use super::group::Groups;
use super::name::Example;
use super::stat::{Stat, State};
use super::table::{Place, Rest, Table, Top};

/// A process at one scan: pid, parent, start, command, processor ticks; the rest follows.
#[derive(Clone, Copy)]
struct P(u32, u32, u64, &'static str, u64);

impl P {
    fn stat(self) -> Stat {
        let Self(_, parent, start_ticks, _, ticks) = self;
        Stat {
            state: State::Sleeping,
            parent,
            forked: false,
            faults: [ticks * 2, ticks],
            cpu_ticks: [ticks, ticks / 10],
            threads: 2,
            start_ticks,
            virtual_bytes: 4096,
            resident_pages: 3,
        }
    }

    fn reading(self) -> Reading {
        let ticks = self.4;
        Reading {
            states: States::of(State::Sleeping),
            stat: self.stat(),
            swapped_bytes: Some(0),
            switches: Some([ticks, ticks]),
            io: Some([ticks * 100, ticks * 1000]),
            open_fds: Some(5),
            fd_limit: Some(20),
            proportional: Some([ticks, 0]),
        }
    }
}

/// All the state there is.
struct World {
    table: Table,
    groups: Groups,
    agents: Accounts,
    rest: Rest,
}

impl World {
    fn new(max_groups: usize) -> Self {
        let groups = Groups::new(Vec::new(), max_groups);
        let rest = Rest { children: false, others: true };
        Self { table: Table::default(), groups, agents: Accounts::default(), rest }
    }

    /// With a rule that gathers the processes of a command.
    fn ruled(comm: &str, rest: Rest) -> Self {
        let rule = toml::from_str(&format!("name = 'ruled'\ncomm = ['{comm}']")).unwrap();
        Self { groups: Groups::new(vec![rule], 10), rest, ..Self::new(10) }
    }

    fn scan(&mut self, now: u64, processes: &[P]) {
        self.scan_with(now, processes, &[], P::reading);
    }

    fn scan_agents(&mut self, now: u64, agents: &[(&str, u32, Option<u64>)], processes: &[P]) {
        self.scan_with(now, processes, agents, P::reading);
    }

    fn scan_with(
        &mut self,
        now: u64,
        processes: &[P],
        agents: &[(&str, u32, Option<u64>)],
        read: impl Fn(P) -> Reading,
    ) {
        self.table.begin();
        let tops: Vec<_> = agents
            .iter()
            .map(|&(name, pid, start_ticks)| {
                let account = self.agents.find_or_open(name, 10).unwrap();
                Top { account, pid, start_ticks }
            })
            .collect();
        for &process in processes {
            let reading = read(process);
            let known = self.table.meet(process.0, process.3.as_bytes(), reading.stat);
            if known.place == Place::Unknown {
                let found = self.groups.by_rule(&Example { comm: process.3, arguments: "" });
                known.place = found.map_or(Place::NotByRule, Place::ByRule);
            }
            known.reading = Some(reading);
        }
        let pids: Vec<_> = processes.iter().map(|process| process.0).collect();
        self.table.trace(&tops, &pids);
        self.table.settle(&pids, self.rest, &mut self.groups);
        self.table.count_agents(&mut self.agents);
        self.table.count_groups(&mut self.groups.accounts, now);
        self.table.end();
    }

    fn group(&self, name: &str) -> &Account {
        named(&self.groups.accounts, name)
    }

    /// Members and user mode ticks of a group.
    fn seen(&self, name: &str) -> (u64, u64) {
        brief(self.group(name))
    }

    /// Members and user mode ticks of an agent.
    fn agent(&self, name: &str) -> (u64, u64) {
        brief(named(&self.agents, name))
    }
}

fn named<'a>(accounts: &'a Accounts, name: &str) -> &'a Account {
    accounts.list().iter().find(|account| account.name == name).unwrap()
}

fn brief(account: &Account) -> (u64, u64) {
    (account.held.processes, account.used.cpu_ticks[0])
}

#[test]
fn all_values_of_members_are_summed() {
    let mut world = World::new(10);
    world.scan(100, &[P(10, 1, 5, "a", 30), P(11, 1, 4, "a", 50), P(12, 1, 9, "b", 1)]);
    let Account { used, held, .. } = world.group("a");
    assert_eq!(used.cpu_ticks, [80, 8]);
    assert_eq!(used.faults, [160, 80]);
    assert_eq!(used.switches, Some([80, 80]));
    assert_eq!(used.io, Some([8000, 80_000]));
    assert_eq!((held.processes, held.threads, held.states.sleeping), (2, 4, 2));
    assert_eq!((held.resident_pages, held.virtual_bytes), (6, 8192));
    assert_eq!((held.open_fds, held.worst_fd_ratio), (Some(10), Some(0.25)));
    assert_eq!((held.swapped_bytes, held.oldest_start), (Some(0), Some(4)));
}

#[test]
fn what_a_member_has_used_stays_when_it_exits() {
    let mut world = World::new(10);
    world.scan(100, &[P(10, 1, 5, "a", 30), P(11, 1, 6, "a", 50)]);
    world.scan(200, &[P(11, 1, 6, "a", 55)]);
    assert_eq!(world.seen("a"), (1, 85));
    world.scan(300, &[]);
    assert_eq!(world.seen("a"), (0, 85));
    assert_eq!(world.group("a").held.oldest_start, None);
    world.scan(400, &[P(12, 1, 350, "a", 7)]);
    assert_eq!(world.seen("a"), (1, 92));
}

#[test]
fn one_that_could_have_been_counted_before_counts_from_now_on() {
    let mut world = World::new(10);
    world.scan(100, &[P(10, 1, 5, "a", 30)]);
    let (skipped, new) = (P(11, 1, 6, "a", 1_000_000), P(12, 1, 100, "a", 2));
    world.scan(200, &[P(10, 1, 5, "a", 30), skipped, new]);
    assert_eq!(world.seen("a"), (3, 32));
    world.scan(300, &[P(11, 1, 6, "a", 1_000_003)]);
    assert_eq!(world.seen("a"), (1, 35));
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut world = World::new(10);
    world.scan(100, &[P(10, 1, 5, "a", 30)]);
    world.scan(200, &[P(10, 1, 150, "a", 20)]);
    assert_eq!(world.seen("a"), (1, 50));
    world.scan(300, &[P(10, 1, 250, "b", 4)]);
    assert_eq!((world.seen("a"), world.seen("b")), ((0, 50), (1, 4)));
}

#[test]
fn one_that_runs_another_program_takes_only_the_difference_along() {
    let mut world = World::new(10);
    world.scan(100, &[P(10, 1, 5, "sh", 30)]);
    world.scan(200, &[P(10, 1, 5, "make", 37)]);
    assert_eq!((world.seen("sh"), world.seen("make")), ((0, 30), (1, 7)));
    world.scan(300, &[P(10, 1, 5, "sh", 38)]);
    assert_eq!((world.seen("sh"), world.seen("make")), ((1, 31), (0, 7)));
}

#[test]
fn a_forked_process_is_grouped_again_when_it_runs_its_own_program() {
    let mut table = Table::default();
    let stat = P(10, 1, 5, "python3", 0).stat();
    table.begin();
    table.meet(10, b"python3", Stat { forked: true, ..stat }).place = Place::ByRule(3);
    table.begin();
    let place = table.meet(10, b"python3", Stat { forked: true, ..stat }).place;
    assert_eq!(place, Place::ByRule(3));
    table.begin();
    assert_eq!(table.meet(10, b"python3", stat).place, Place::Unknown);
}

#[test]
fn descendants_are_in_the_group_of_who_began_them() {
    let mut world = World::ruled("make", Rest { children: true, others: true });
    // The compiler has a lower pid than its parent, as pids wrap around.
    let tree = [P(5, 30, 9, "cc", 4), P(20, 1, 5, "make", 1), P(30, 20, 7, "sh", 2)];
    let others = [P(1, 0, 0, "init", 8), P(40, 1, 9, "sh", 16)];
    world.scan(100, &[tree.as_slice(), &others].concat());
    assert_eq!(
        (world.seen("ruled"), world.seen("sh"), world.seen("init")),
        ((3, 7), (1, 16), (1, 8))
    );
    // They stay there when it has gone, whatever they run then.
    world.scan(200, &[P(5, 30, 9, "cc", 5), P(30, 1, 7, "vi", 3)]);
    assert_eq!(world.seen("ruled"), (2, 9));
}

#[test]
fn what_no_rule_takes_can_be_in_no_group() {
    let processes = [P(20, 1, 5, "make", 1), P(30, 20, 7, "sh", 2), P(40, 1, 9, "vi", 4)];
    for (children, seen) in [(true, (2, 3)), (false, (1, 1))] {
        let mut world = World::ruled("make", Rest { children, others: false });
        world.scan(100, &processes);
        assert_eq!(world.groups.accounts.list().len(), 1);
        assert_eq!(world.seen("ruled"), seen);
    }
}

#[test]
fn a_ring_of_parents_is_in_no_rules_group() {
    let mut world = World::ruled("make", Rest { children: true, others: true });
    world.scan(100, &[P(10, 11, 5, "a", 1), P(11, 10, 5, "b", 2), P(12, 13, 5, "c", 4)]);
    assert_eq!((world.seen("a"), world.seen("b"), world.seen("c")), ((1, 1), (1, 2), (1, 4)));
}

#[test]
fn groups_beyond_the_limit_are_one() {
    let mut world = World::new(1);
    let processes = [P(10, 1, 5, "a", 1), P(11, 1, 5, "b", 2), P(12, 1, 5, "c", 4)];
    world.scan(100, &processes);
    world.scan(200, &processes);
    assert_eq!((world.seen("a"), world.seen("other")), ((1, 1), (2, 6)));
    assert_eq!(world.groups.overflowed, 2);
}

#[test]
fn what_cannot_be_read_is_absent_and_does_not_jump_when_it_can() {
    let mut world = World::new(10);
    let hidden = |process: P| Reading { io: None, open_fds: None, ..process.reading() };
    world.scan_with(100, &[P(10, 1, 5, "a", 30)], &[], hidden);
    let group = world.group("a");
    assert_eq!((group.used.io, group.held.open_fds, group.held.worst_fd_ratio), (None, None, None));
    world.scan(200, &[P(10, 1, 5, "a", 31)]);
    assert_eq!(world.group("a").used.io, Some([0, 0]));
    world.scan(300, &[P(10, 1, 5, "a", 33)]);
    assert_eq!(world.group("a").used.io, Some([200, 2000]));
    world.scan_with(400, &[P(10, 1, 5, "a", 40)], &[], hidden);
    assert_eq!(world.group("a").used.io, Some([200, 2000]));
    world.scan(500, &[P(10, 1, 5, "a", 43)]);
    assert_eq!(world.group("a").used.io, Some([1200, 12_000]));
}

#[test]
fn a_counter_of_the_kernel_that_falls_takes_nothing_away() {
    let mut world = World::new(10);
    for ticks in [30, 10, 12] {
        world.scan(100, &[P(10, 1, 5, "a", ticks)]);
    }
    assert_eq!(world.seen("a"), (1, 32));
}

#[test]
fn a_tree_is_all_descendants_whatever_their_order() {
    let mut world = World::new(10);
    // The grandchild has a lower pid than its parent, as pids wrap around.
    let tree = [P(5, 30, 9, "c", 4), P(20, 1, 5, "top", 1), P(30, 20, 7, "b", 2)];
    let strangers = [P(1, 0, 0, "init", 100), P(40, 1, 3, "x", 100)];
    world.scan_agents(100, &[("a", 20, Some(5))], &[tree.as_slice(), &strangers].concat());
    assert_eq!(world.agent("a"), (3, 7));
}

#[test]
fn members_stay_members_when_they_are_re_parented() {
    let mut world = World::new(10);
    let agents = [("a", 20, None)];
    world.scan_agents(100, &agents, &[P(20, 1, 5, "top", 1), P(30, 20, 7, "b", 2)]);
    // The top is gone; its child has been given to init, and has a child of its own.
    world.scan_agents(200, &[], &[P(30, 1, 7, "b", 3), P(31, 30, 150, "c", 10)]);
    assert_eq!(world.agent("a"), (2, 14));
    world.scan_agents(300, &[], &[]);
    assert_eq!(world.agent("a"), (0, 14));
}

#[test]
fn an_agents_counters_go_on_after_its_restart() {
    let mut world = World::new(10);
    world.scan_agents(100, &[("a", 20, Some(5))], &[P(20, 1, 5, "top", 50)]);
    world.scan_agents(200, &[("a", 20, Some(5))], &[]);
    assert_eq!(world.agent("a"), (0, 50));
    world.scan_agents(300, &[("a", 20, Some(250))], &[P(20, 1, 250, "top", 3)]);
    assert_eq!(world.agent("a"), (1, 53));
}

#[test]
fn another_process_with_the_pid_of_an_agent_is_not_it() {
    let mut world = World::new(10);
    world.scan_agents(100, &[("a", 20, Some(5))], &[P(20, 1, 77, "x", 50)]);
    assert_eq!(world.agent("a"), (0, 0));
}

#[test]
fn the_nearest_agent_has_the_process() {
    let mut world = World::new(10);
    let processes = [P(20, 1, 5, "a", 1), P(30, 20, 6, "b", 2), P(40, 30, 7, "c", 4)];
    world.scan_agents(100, &[("a", 20, None)], &processes);
    assert_eq!(world.agent("a"), (3, 7));
    let grown =
        processes.map(|P(pid, parent, start, comm, ticks)| P(pid, parent, start, comm, ticks + 10));
    world.scan_agents(200, &[("a", 20, None), ("b", 30, None)], &grown);
    assert_eq!((world.agent("a"), world.agent("b")), ((1, 17), (2, 20)));
}

#[test]
fn a_ring_of_parents_and_a_younger_parent_end_the_search() {
    let mut world = World::new(10);
    let ring = [P(10, 11, 5, "a", 1), P(11, 10, 5, "b", 1)];
    world.scan_agents(100, &[("z", 99, None)], &ring);
    assert_eq!(world.agent("z"), (0, 0));
    world.scan_agents(200, &[("z", 99, None)], &[P(10, 99, 5, "a", 1), P(99, 1, 150, "z", 1)]);
    assert_eq!(world.agent("z"), (1, 1));
}
