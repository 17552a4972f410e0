//! The queue on its own: who leads, what a group takes, who waits.

use super::*;
use std::task::{Context, Poll, Waker};

fn write(key: &str, sync: bool) -> Work {
    Work::Write { batch: Arc::new(Batch::new().put(key, "value")), sync }
}

fn queued(submitted: Submitted<'_>) -> oneshot::Receiver<Result<()>> {
    match submitted {
        Submitted::Queued(answer) => answer,
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
    let big = || Work::Write { batch: Arc::new(Batch::new().put("big", vec![0; SMALL_WRITE])), sync: false };
    let _small = queued(queue.submit(write("small", false), true));
    let _big = [queued(queue.submit(big(), true)), queued(queue.submit(big(), true))];
    assert_eq!(keys(lead.take(true)), ["small"]);
    assert_eq!(keys(lead.take(true)), ["big", "big"]);
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
fn what_finds_no_room_gets_in_by_and_by_and_in_order() {
    let queue = WriteQueue::new();
    let Submitted::Leads(lead, _) = queue.submit(write("first", false), true) else { panic!("nobody else leads") };
    let _full: Vec<_> = (0..QUEUE_LENGTH).map(|_| queued(queue.submit(write("full", false), true))).collect();
    let refused = |key| match queue.submit(write(key, false), true) {
        Submitted::NoRoom(work) => work,
        _ => panic!("there is no room"),
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut one = Box::pin(queue.submit_outside(refused("one")));
    let mut dropped = Box::pin(queue.submit_outside(refused("dropped")));
    let mut two = Box::pin(queue.submit_outside(refused("two")));
    assert!(one.as_mut().poll(&mut context).is_pending());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    assert!(two.as_mut().poll(&mut context).is_pending());
    assert!(queue.precedes(|_| false), "the reads of whoever waits outside must not overtake it");
    drop(dropped);
    while let Some(Taken::Group { writes, .. }) = lead.take(true) {
        lead.done(writes.len());
    }
    // Even now nobody overtakes those who wait.
    assert!(matches!(queue.submit(write("late", false), true), Submitted::NoRoom(_)));
    assert!(two.as_mut().poll(&mut context).is_pending(), "its turn comes after the one before");
    let Poll::Ready(Ok(_one)) = one.as_mut().poll(&mut context) else { panic!("there is room") };
    drop(one);
    let Poll::Ready(Ok(_two)) = two.as_mut().poll(&mut context) else { panic!("there is room") };
    assert_eq!(keys(lead.take(true)), ["one", "two"]);
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
