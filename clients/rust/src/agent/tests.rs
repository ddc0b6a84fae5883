use super::*;
use crate::memory::in_forked_child;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One that no other test has.
fn agent() -> Agent {
    static AGENTS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("parent-{}", AGENTS.fetch_add(1, Ordering::Relaxed));
    Agent::builder(name).socket("/nonexistent/musterd.sock").start()
}

fn count(agent: &Agent, status: Status) -> u64 {
    let books = agent.books().unwrap();
    books.requests[status as usize].map_or(0, |series| books.ledgers.first.value(series))
}

#[test]
fn a_forked_child_counts_for_itself() {
    let agent = agent();
    agent.begin().success();
    let mut in_flight = Some(agent.begin());
    // As if another thread, which the child does not have, were reporting just then.
    let turn = agent.reporter.ledger.books.take();
    let child_is_right = in_forked_child(|| {
        let none_yet = count(&agent, Status::Success) == 0;
        agent.begin().error("network");
        // This one is the parent's.
        in_flight.take().unwrap().success();
        let counts = (count(&agent, Status::Error), count(&agent, Status::Success));
        let grandchild_is_right = in_forked_child(|| count(&agent, Status::Error) == 0);
        none_yet && counts == (1, 0) && agent.missed() == 0 && grandchild_is_right
    });
    drop(turn);
    assert!(child_is_right);
    in_flight.take().unwrap().success();
    assert_eq!((count(&agent, Status::Success), count(&agent, Status::Error)), (2, 0));
}

#[test]
fn a_child_that_ends_an_agent_leaves_the_parents_alone() {
    let mut agent = Some(agent());
    assert!(in_forked_child(|| {
        drop(agent.take());
        true
    }));
    let agent = agent.unwrap();
    assert!(!agent.books().unwrap().ledgers.first.is_closed());
    agent.begin().success();
    assert_eq!(count(&agent, Status::Success), 1);
}

#[test]
fn what_finds_no_turn_is_missed_and_counted() {
    let agent = agent();
    let turn = agent.reporter.ledger.books.take();
    agent.begin().success();
    drop(turn);
    assert_eq!((agent.missed(), count(&agent, Status::Success)), (1, 0));
}

#[test]
fn agents_and_requests_go_between_threads() {
    fn goes<T: Send + Sync>(_: &T) {}
    let agent = agent();
    goes(&agent);
    let answer = async {
        let request = agent.begin();
        std::future::ready(()).await;
        request.success();
    };
    fn is_sent<T: Send>(_: &T) {}
    is_sent(&answer);
    goes(&agent.begin());
}

#[test]
fn every_end_counts_once() {
    let agent = agent();
    let requests: Vec<_> = (0..300).map(|_| agent.begin()).collect();
    for (number, request) in requests.into_iter().enumerate() {
        match number % 3 {
            0 => request.success(),
            1 => request.timeout(),
            _ => drop(request),
        }
    }
    let counts =
        [Status::Success, Status::Timeout, Status::Cancelled].map(|status| count(&agent, status));
    assert_eq!(counts, [100; 3]);
}

#[test]
fn an_empty_category_is_none() {
    let agent = agent();
    agent.begin().error("");
    agent.record(Status::Timeout, Duration::ZERO, Some(""));
    let books = agent.books().unwrap();
    let names: Vec<_> = books.errors.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["other"]);
    let other = books.errors[0].1.series().unwrap();
    assert_eq!(books.ledgers.first.value(other), 2);
}

#[test]
fn objects_of_one_name_are_one_agent_until_the_last_of_them_ends() {
    let named = |version: &str| {
        Agent::builder("one").socket("/nonexistent/musterd.sock").version(version).start()
    };
    let agents: Vec<_> = (0..100).map(|_| named("1")).collect();
    for agent in &agents {
        agent.begin().success();
        agent.counter("one_total").start().add(1);
    }
    let other = named("2");
    assert_eq!([&agents[0], &agents[99], &other].map(|a| count(a, Status::Success)), [100, 100, 0]);
    let mut agents = agents.into_iter();
    let last = agents.next_back().unwrap();
    drop(agents);
    assert!(!last.books().unwrap().ledgers.first.is_closed());
    assert_eq!(count(&named("1"), Status::Success), 100);
    drop(last);
    assert_eq!(count(&named("1"), Status::Success), 0);
}

#[test]
fn objects_of_a_forked_child_are_not_its_parents() {
    let named = || Agent::builder("two").socket("/nonexistent/musterd.sock").start();
    let agent = named();
    agent.begin().success();
    let child_is_right = in_forked_child(|| {
        let own = [named(), named()];
        own.iter().for_each(|agent| agent.begin().success());
        own.iter().all(|agent| count(agent, Status::Success) == 2)
            && count(&agent, Status::Success) == 0
    });
    assert!(child_is_right);
    assert_eq!(count(&agent, Status::Success), 1);
}
