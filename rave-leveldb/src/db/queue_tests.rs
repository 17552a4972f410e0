//! The queue on its own: who leads, what a group takes, who waits.

use super::*;

fn write(key: &str, sync: bool) -> Work {
    Work::Write { batch: Batch::new().put(key, "value"), sync }
}

fn queued(submitted: Submitted<'_>) -> Ticket<'_> {
    match submitted {
        Submitted::Queued(ticket) => ticket,
        _ => panic!("it was not queued"),
    }
}

fn keys(taken: Option<Taken>) -> Vec<String> {
    match taken {
        Some(Taken::Group { writes, .. }) => {
            let operations = writes.iter().flat_map(|(batch, _)| batch.operations());
            operations.map(|operation| String::from_utf8(operation.key().to_vec()).unwrap()).collect()
        }
        Some(Taken::Other(_)) => vec!["other".to_owned()],
        None => vec![],
    }
}

#[test]
fn the_first_leads_and_the_others_queue_behind() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("a", false), true) else { panic!("nobody else leads") };
    let _b = queued(queue.submit(write("b", false), true));
    let _c = queued(queue.submit(write("c", false), true));
    assert_eq!(keys(lead.take(false)), ["b", "c"]);
    lead.done(2);
    assert!(lead.take(true).is_none());
    drop(lead);
    assert!(matches!(queue.submit(write("d", false), true), Submitted::Leads(..)));
}

#[test]
fn a_write_that_waits_for_the_disk_holds_up_only_those_that_do_too() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let answers: Vec<_> = [("a", false), ("b", true), ("c", false)]
        .map(|(key, sync)| queued(queue.submit(write(key, sync), true)))
        .into();
    assert_eq!(keys(lead.take(false)), ["a"]);
    lead.done(1);
    assert!(lead.take(false).is_none(), "a caller does not wait for the disk");
    drop(lead);
    let lead = queue.wait_for_lead();
    assert_eq!(keys(lead.take(true)), ["b", "c"], "who rides along waits for nothing that is not needed anyway");
    lead.done(2);
    drop(answers);
}

#[test]
fn a_group_of_small_writes_stays_small() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let big = || Work::Write { batch: Batch::new().put("big", vec![0; SMALL_WRITE]), sync: false };
    let _small = queued(queue.submit(write("small", false), true));
    let _big = [queued(queue.submit(big(), true)), queued(queue.submit(big(), true))];
    assert_eq!(keys(lead.take(true)), ["small"]);
    assert_eq!(keys(lead.take(true)), ["big", "big"]);
}

fn conditional(key: &str, sync: bool) -> Work {
    Work::Write { batch: Batch::new().put(key, "value").if_absent(key), sync }
}

#[test]
fn a_conditional_batch_is_a_group_of_its_own() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let works = [write("a", false), write("b", false), conditional("c", false), write("d", false)];
    let works = works.into_iter().chain([conditional("e", true), conditional("f", false), write("g", true)]);
    let answers: Vec<_> = works.map(|work| queued(queue.submit(work, true))).collect();
    assert_eq!(keys(lead.take(false)), ["a", "b"]);
    assert!(lead.take(false).is_none(), "a caller does not check the conditions of others");
    for group in [&["c"][..], &["d"], &["e"], &["f"], &["g"]] {
        assert_eq!(keys(lead.take(true)), group);
    }
    assert!(lead.take(true).is_none());
    drop(answers);
}

#[test]
fn a_read_waits_for_a_conditional_batch_as_for_others() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(conditional("first", false), true) else {
        panic!("nobody else leads")
    };
    let of = |key: &'static str| queue.precedes(move |operation| operation.key() == key);
    let only = Work::Write { batch: Batch::new().if_absent("x"), sync: false };
    let _only = queued(queue.submit(only, true));
    assert!(!of("x"), "what is only checked changes nothing");
    let _a = queued(queue.submit(conditional("a", false), true));
    assert!(of("a") && !of("b"));
    assert!(keys(lead.take(true)).is_empty());
    assert_eq!(keys(lead.take(true)), ["a"]);
    assert!(of("a"));
    lead.done(2);
    assert!(!of("a"));
}

#[test]
fn a_read_waits_only_for_writes_of_its_own_keys() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let of = |key: &'static str| queue.precedes(move |operation| operation.key() == key);
    assert!(!of("a"));
    let _a = queued(queue.submit(write("a", false), true));
    assert!(of("a") && !of("b"));
    assert_eq!(keys(lead.take(true)), ["a"]);
    assert!(of("a"), "what the leader took is not yet applied");
    lead.done(1);
    assert!(!of("a"));
    let _clear = queued(queue.submit(Work::Clear { options: ClearOptions::default(), at: None }, false));
    assert!(of("b"), "a clear may touch any key");
}

#[test]
fn who_stops_waiting_gives_the_place_back() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let a = queued(queue.submit(write("a", false), true));
    let b = queued(queue.submit(write("b", false), true));
    let c = queued(queue.submit(write("c", false), true));
    drop(b);
    assert!(!queue.precedes(|operation| operation.key() == "b"));
    assert_eq!(keys(lead.take(false)), ["a", "c"]);
    // Too late: it is on its way.
    drop(a);
    assert!(queue.precedes(|operation| operation.key() == "a"));
    lead.done(2);
    drop(c);
    assert!(!queue.precedes(|_| true) && queue.unfinished.load(Ordering::SeqCst) == 0);
    // What was given up has the first place, and can be given back too.
    let d = queued(queue.submit(write("d", false), true));
    let given_up = lead.give_up(write("first", false));
    let lead = queue.wait_for_lead();
    drop(given_up);
    assert_eq!(keys(lead.take(true)), ["d"]);
    lead.done(1);
    d.detach();
}

#[test]
fn a_caller_that_leads_reads_nothing_for_others() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let _read = queued(queue.submit(Work::Read(Box::new(|| {})), false));
    assert!(lead.take(false).is_none(), "it might wait for the disk");
    assert!(matches!(lead.take(true), Some(Taken::Other(_))));
    lead.done(1);
}

#[test]
fn closing_is_the_last_thing_that_gets_in() {
    let queue = WriteQueue::new();
    let _write = queued(queue.submit(write("a", true), false));
    let _close = queued(queue.submit(Work::Close, false));
    assert!(matches!(queue.submit(write("b", false), true), Submitted::Closed));
    let lead = queue.wait_for_lead();
    assert_eq!(keys(lead.take(true)), ["a"]);
    lead.done(1);
    assert!(matches!(lead.take(true), Some(Taken::Other(Pending { work: Work::Close, .. }))));
    assert!(lead.take(true).is_none());
}
