//! The sampler with sources that work, fail, panic, dawdle and hang.

use super::*;
use crate::exposition::Format;
use crate::metric::Family;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const GIVEN: Family = Family::gauge("given", &[], "What a fake source gives.");
const TEXT: Encoding = Encoding { format: Format::Text, gzip: false };

struct Fake<F>(F);

impl<F: FnMut(&mut Pass<'_>) -> Result<(), Error> + Send> Collector for Fake<F> {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        (self.0)(pass)
    }
}

fn fake(
    run: impl FnMut(&mut Pass<'_>) -> Result<(), Error> + Send + 'static,
) -> Box<dyn Collector> {
    Box::new(Fake(run))
}

fn good() -> Box<dyn Collector> {
    fake(|pass| {
        pass.batch.value(&GIVEN, 7.0);
        Ok(())
    })
}

fn nowhere() -> Arc<Root> {
    let path = std::path::PathBuf::from("/nonexistent");
    let (procfs, sysfs, rootfs) = (path.clone(), path.clone(), path.clone());
    Arc::new(Root { procfs, sysfs, rootfs, udev_data: path })
}

struct FakeScan(mpsc::Sender<(usize, bool)>);

impl ProcessScan for FakeScan {
    fn collect(
        &mut self,
        _: &mut Pass<'_>,
        agents: &[AgentRoot],
        groups: bool,
    ) -> Result<(), Error> {
        self.0.send((agents.len(), groups)).unwrap();
        Ok(())
    }
}

fn job(query: &str, known: &Sampler) -> Job {
    let names: Vec<_> = known.names().chain([AGENTS]).collect();
    Job {
        batch: Batch::new(),
        filter: Filter::parse(query, &names).unwrap(),
        agents: Vec::new(),
        wanted: vec![TEXT],
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.bodies[0].to_vec()).unwrap()
}

fn pass(sampler: &Sampler, query: &str) -> String {
    text(&sampler.submit(job(query, sampler)).blocking_recv().unwrap())
}

fn success(name: &str, value: u8) -> String {
    format!("node_scrape_collector_success{{collector=\"{name}\"}} {value}\n")
}

#[test]
fn a_failing_source_is_left_out_and_comes_back() {
    let mut calls = 0;
    let flaky = fake(move |pass| {
        pass.batch.value(&GIVEN, 1.0);
        calls += 1;
        match calls {
            1 => Err(Error::Parse("line 3: wanted a number".to_owned())),
            2 => Err(Error::NoData("no such device".to_owned())),
            _ => Ok(()),
        }
    });
    let sampler = Sampler::start(vec![("flaky", flaky)], None, &nowhere()).unwrap();
    for _ in 0..2 {
        let text = pass(&sampler, "");
        assert!(text.contains(&success("flaky", 0)) && !text.contains("\ngiven "), "{text}");
        assert!(text.contains("duration_seconds{collector=\"flaky\"}"), "{text}");
    }
    let text = pass(&sampler, "");
    assert!(text.contains(&success("flaky", 1)) && text.contains("\ngiven 1\n"), "{text}");
}

#[test]
fn a_panicking_source_is_disabled_and_takes_nothing_with_it() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let bad = fake(|pass| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        pass.batch.value(&GIVEN, 1.0);
        panic!("a fake collector panics, as it should")
    });
    let sampler = Sampler::start(vec![("bad", bad), ("good", good())], None, &nowhere()).unwrap();
    for _ in 0..3 {
        let text = pass(&sampler, "");
        assert!(text.contains(&success("bad", 0)) && text.contains(&success("good", 1)), "{text}");
        assert_eq!(text.matches("\ngiven ").count(), 1, "{text}");
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
}

#[test]
fn the_filter_chooses_the_sources() {
    let (seen, scans) = mpsc::channel();
    let collectors = vec![("one", good()), ("two", good())];
    let sampler = Sampler::start(collectors, Some(Box::new(FakeScan(seen))), &nowhere()).unwrap();
    assert_eq!(sampler.names().collect::<Vec<_>>(), ["one", "two", PROCESSES]);
    let text = pass(&sampler, "collect[]=two");
    assert!(text.contains("\"two\"") && !text.contains("\"one\""), "{text}");
    assert!(text.contains("\nnode_exporter_build_info{branch=\"musterd\","), "{text}");
    assert!(scans.try_recv().is_err());
    for (query, groups) in [("collect[]=agents", false), ("collect[]=namedprocess", true)] {
        let text = pass(&sampler, query);
        assert!(text.contains(&success(PROCESSES, 1)) && !text.contains("\"two\""), "{text}");
        assert!(!text.contains("node_exporter_build_info"), "{text}");
        assert_eq!(scans.recv().unwrap(), (0, groups));
    }
}

#[test]
fn after_the_deadline_the_rest_is_skipped() {
    let late = fake(|pass| {
        while Instant::now() < pass.deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let sampler = Sampler::start(vec![("late", late), ("good", good())], None, &nowhere()).unwrap();
    let mut job = job("", &sampler);
    job.batch.value(&Family::gauge("agents_own", &[], "Filled in before."), 3.0);
    job.deadline = Instant::now() + Duration::from_millis(30);
    let text = text(&sampler.submit(job).blocking_recv().unwrap());
    assert!(text.contains(&success("good", 0)) && !text.contains("\ngiven"), "{text}");
    assert!(!text.contains("duration_seconds{collector=\"good\"}"), "{text}");
    assert!(text.contains("agents_own 3\n"), "{text}");
}

#[test]
fn a_hung_source_keeps_its_thread_and_nothing_else() {
    let (release, held) = mpsc::channel::<()>();
    let (entered, entries) = mpsc::channel();
    let mut calls = 0;
    let hung = fake(move |_| {
        calls += 1;
        if calls == 1 {
            entered.send(()).unwrap();
            held.recv().unwrap();
        }
        Ok(())
    });
    let mut sampler =
        Sampler::start(vec![("hung", hung), ("good", good())], None, &nowhere()).unwrap();
    let first = sampler.submit(job("", &sampler));
    entries.recv().unwrap();
    assert_eq!(sampler.busy_with(), Some("hung"));
    drop(first);
    sampler.replace_thread().unwrap();
    let text = pass(&sampler, "");
    assert!(text.contains(&success("hung", 0)) && text.contains(&success("good", 1)), "{text}");
    release.send(()).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while !pass(&sampler, "").contains(&success("hung", 1)) {
        assert!(Instant::now() < end, "the source did not come back");
    }
}

#[test]
fn the_batch_comes_back_and_the_thread_goes_with_its_handle() {
    let (alive, gone) = mpsc::channel::<()>();
    let owner = fake(move |_| {
        let _ = &alive;
        Ok(())
    });
    let sampler = Sampler::start(vec![("owner", owner)], None, &nowhere()).unwrap();
    let answer = sampler.submit(job("", &sampler)).blocking_recv().unwrap();
    assert_eq!(answer.batch.len(), 3);
    drop(sampler);
    assert_eq!(gone.recv(), Err(mpsc::RecvError), "the thread has dropped its sources");
}

#[test]
fn what_has_no_data_is_not_asked_before_something_comes() {
    let top = std::env::temp_dir().join(format!("musterd-sampler-{}", std::process::id()));
    std::fs::create_dir_all(top.join("kernel")).unwrap();
    let announce = |number: u64| {
        std::fs::write(top.join("kernel/uevent_seqnum"), format!("{number}\n")).unwrap();
    };
    announce(7);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let absent = fake(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Err(Error::NoData("no such device".to_owned()))
    });
    let root = Arc::new(Root { sysfs: top.clone(), ..Root::clone(&nowhere()) });
    let sampler = Sampler::start(vec![("absent", absent)], None, &root).unwrap();
    for _ in 0..3 {
        assert!(pass(&sampler, "").contains(&success("absent", 0)));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    announce(8);
    pass(&sampler, "");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    std::fs::remove_dir_all(&top).unwrap();
}
