//! What the threads of a database do to each other, one step at a time.

use super::*;
use crate::{
    Compression,
    storage::Access,
    testing::{Fault, SimulatedDisk},
};
use bytes::Bytes;
use rave_core::{Batch, KeyRange};
use std::{path::PathBuf, sync::mpsc, thread, time::Duration};

/// Long enough for another thread to come to where it waits. A test that is too fast shows nothing, but does not fail.
const MOMENT: Duration = Duration::from_millis(50);

/// Longer than anything here takes, unless it never ends.
const FOR_EVER: Duration = Duration::from_secs(60);

fn open(disk: &SimulatedDisk) -> Arc<Db> {
    let options = Options { write_buffer_size: 4 << 10, ..Options::default() };
    let storage = disk.storage(PathBuf::from("/db"));
    Arc::new(Db::open(storage, options, EventHub::new()).unwrap())
}

fn put<'a>(db: &'a Db, key: &str) -> Write<'a> {
    db.write(Batch::new().put(key, vec![b'v'; 500]), false)
}

fn fill(db: &Db, prefix: &str) {
    let mut number = 0;
    while !db.appender.lock().must_wait(db) {
        assert!(matches!(put(db, &format!("{prefix} {number}")), Write::Done(Ok(()))));
        number += 1;
    }
}

#[test]
fn a_failed_flush_leaves_its_memtable_readable_whatever_a_writer_is_about_to_do() {
    let db = open(&SimulatedDisk::new());
    let workers = db.start().unwrap();
    let running = thread::spawn({
        let db = db.clone();
        move || db.run(workers)
    });
    // The flush cannot end.
    let manifest = db.manifest.lock();
    assert!(matches!(put(&db, "first"), Write::Done(Ok(()))));
    fill(&db, "key");
    let Write::Later(ticket) = put(&db, "second") else { panic!("the memtable is full") };
    ticket.wait().unwrap();
    fill(&db, "key");
    // The writer thread finds the database in order and the memtable full, and then that a flush has failed.
    let state = db.state.lock();
    let Write::Later(ticket) = put(&db, "third") else { panic!("the memtable is full") };
    thread::sleep(MOMENT);
    db.failure.set(&Error::new(Code::Io, "the flush failed"));
    drop(state);
    ticket.wait().unwrap_err();
    let (view, newest) = db.current.hold();
    for key in ["first", "second"] {
        let value = db.get(&view, &Bytes::from(key), newest, Access::Blocking).unwrap();
        assert!(value.is_some(), "{key}");
    }
    drop(manifest);
    db.gate.close();
    let Write::Later(closing) = db.submit(Work::Close, false) else { panic!("it is open") };
    closing.detach();
    running.join().unwrap();
}

#[test]
fn compacting_a_range_ends_when_a_write_fails_before_the_flush_it_waits_for() {
    let disk = SimulatedDisk::new();
    // Without its other threads.
    let db = open(&disk);
    assert!(matches!(put(&db, "key"), Write::Done(Ok(()))));
    db.appender.lock().switch(&db).unwrap();
    let (done, outcome) = mpsc::channel();
    thread::spawn({
        let db = db.clone();
        move || done.send(db.compact_range(&KeyRange::all()))
    });
    thread::sleep(MOMENT);
    disk.fail_from(0, Fault::NoSpace);
    assert!(matches!(put(&db, "key"), Write::Done(Err(_))));
    outcome.recv_timeout(FOR_EVER).expect("it waits for what will not come").unwrap_err();
}

#[test]
fn a_flush_removes_the_log_it_replaces_however_far_the_numbers_have_come() {
    let disk = SimulatedDisk::new();
    let db = open(&disk);
    assert!(matches!(put(&db, "key"), Write::Done(Ok(()))));
    db.numbers.skip(1 << 60);
    db.appender.lock().switch(&db).unwrap();
    let (memtable, log) = db.wait_for_flush().unwrap();
    let (done, outcome) = mpsc::channel();
    thread::spawn({
        let db = db.clone();
        move || done.send(db.flush(&memtable, log))
    });
    outcome.recv_timeout(FOR_EVER).expect("it looks at every number").unwrap();
    let logs: Vec<_> = disk.files().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
}

/// Writes as many keys as a table has, and makes them one.
fn add_table(db: &Arc<Db>, prefix: &str) {
    fill(db, prefix);
    let mut appender = db.appender.lock();
    appender.forget_previous();
    appender.switch(db).unwrap();
    let (memtable, log) = db.wait_for_flush().unwrap();
    db.flush(&memtable, log).unwrap();
}

#[test]
fn compacting_a_range_and_compacting_what_is_due_take_turns() {
    let options = Options {
        write_buffer_size: 64 << 10,
        max_file_size: 48 << 10,
        compression: Compression::None,
        ..Options::default()
    };
    let storage = SimulatedDisk::new().storage(PathBuf::from("/db"));
    let db = Arc::new(Db::open(storage, options, EventHub::new()).unwrap());
    for prefix in ["a", "b", "c", "d", "e", "f", "a", "b", "c", "d", "e", "f"] {
        add_table(&db, prefix);
    }
    while db.state.lock().wants_compaction() {
        db.compact_once().unwrap();
    }
    let range = thread::spawn({
        let db = db.clone();
        move || db.compact_range(&KeyRange::all())
    });
    while db.state.lock().range.is_none() {
        thread::yield_now();
    }
    let mut steps = 0;
    while db.state.lock().range.is_some() {
        while db.level0_tables() < 8 && steps < 6 {
            add_table(&db, "a");
        }
        for _ in 0..2 {
            db.compact_once().unwrap();
        }
        steps += 1;
        assert!(db.level0_tables() < 8 || db.state.lock().range.is_none(), "writes would be slowed down");
    }
    assert!(steps >= 3, "there was too little to do");
    range.join().unwrap().unwrap();
}
