//! A guest against leaders that speak frame by frame, lie, fall silent or hang up.

mod leader;

use bytes::BytesMut;
use leader::{Leader, follower, meet, soon};
use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, Effect, KeyRange, MemoryLevel, WriteOptions};
use rave_guest::{Guest, GuestOptions, RetryPolicy};
use rave_transport::{
    MemoryTransport, Transport,
    wire::{
        Request, Response,
        message::{IteratorData, Leaving},
    },
};
use std::{sync::Arc, time::Duration};

fn put_id(request: Option<Request>) -> u32 {
    match request {
        Some(Request::Put(put)) => put.id,
        other => panic!("{other:?} instead of a put"),
    }
}

#[tokio::test]
async fn leaders_that_break_the_protocol_are_left_and_the_next_one_is_asked() {
    let flood = {
        let data = IteratorData { id: 1, seq: 0, data: vec!["a".into(), "1".into()] };
        let mut out = BytesMut::new();
        (0..10).for_each(|_| Response::IteratorData(data.clone()).encode(&mut out));
        out.to_vec()
    };
    let oversized = [vec![0xff; 9], vec![1]].concat();
    for bytes in [oversized, vec![0xff; 11], vec![0x80, 0x80, 0x80, 0x80, 0x20, 0], vec![3, 1, 0xff, 0xff], flood] {
        let (guest, mut leader, mut listener, _transport) = meet(GuestOptions::default()).await;
        let opening = guest.iterator(KeyRange::all());
        tokio::pin!(opening);
        let request = tokio::select! {
            _ = &mut opening => panic!("nobody has answered"),
            request = leader.next() => request,
        };
        assert!(matches!(request, Some(Request::Iterator(_))));
        leader.write(&bytes).await;
        let next = async {
            while leader.next().await.is_some() {}
            let mut leader = Leader::greet(&mut listener).await;
            let Some(Request::Iterator(open)) = leader.next().await else { panic!("the iterator is opened again") };
            let data = vec!["k".into(), "v".into()];
            leader.say(&Response::IteratorData(IteratorData { id: open.id, seq: open.seq, data })).await;
            leader
        };
        let (iterator, _leader) = soon(async { tokio::join!(opening, next) }).await;
        assert_eq!(soon(iterator.unwrap().next()).await.unwrap().unwrap().key, "k");
    }
}

#[tokio::test]
async fn answers_that_nobody_asked_for_are_ignored() {
    let (guest, mut leader, _listener, _transport) = meet(GuestOptions::default()).await;
    leader.done(77).await;
    leader.say(&Response::IteratorData(IteratorData { id: 9, seq: 0, data: vec!["a".into(), "b".into()] })).await;
    leader.write(&[2, 200, 1]).await;
    let served = async {
        let id = put_id(leader.next().await);
        leader.done(id).await;
        leader.done(id).await;
    };
    let (put, ()) = soon(async { tokio::join!(guest.put("a", "1"), served) }).await;
    put.unwrap();
}

#[tokio::test]
async fn leaders_that_hang_up_at_once_are_tried_again() {
    let (guest, leader, mut listener, _transport) = meet(GuestOptions::default()).await;
    drop(leader);
    let served = async {
        for _ in 0..5 {
            drop(Leader::accept(&mut listener).await);
        }
        let mut leader = Leader::greet(&mut listener).await;
        let id = put_id(leader.next().await);
        leader.done(id).await;
        leader
    };
    let (put, _leader) = soon(async { tokio::join!(guest.put("a", "1"), served) }).await;
    put.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deadlines_end_what_a_silent_leader_does_not_answer() {
    let options = GuestOptions { timeout: Some(Duration::from_secs(5)), max_pending_bytes: 1, ..Default::default() };
    let (guest, leader, listener, _transport) = meet(options).await;
    let (sent, waiting, read, iterator) =
        tokio::join!(guest.put("a", "1"), guest.put("b", "1"), guest.get("a"), guest.iterator(KeyRange::all()));
    let of = |error: rave_core::Error| (error.code(), error.effect());
    assert_eq!(of(sent.unwrap_err()), (Code::Aborted, Effect::Unknown));
    assert_eq!(of(waiting.unwrap_err()), (Code::Aborted, Effect::None), "there was no room for it yet");
    assert_eq!(of(read.unwrap_err()), (Code::Aborted, Effect::None));
    assert_eq!(iterator.err().unwrap().code(), Code::Aborted);
    // Nothing is awaited any more, so closing does not wait for the silent leader.
    soon(guest.close()).await.unwrap();
    drop((leader, listener));

    // One that accepts and does not greet.
    let transport = MemoryTransport::new();
    let mut listener = transport.listen().await.unwrap();
    let guest = follower(&transport, options);
    let _silent = listener.accept().await.unwrap();
    let error = guest.put("a", "1").await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (Code::Aborted, Effect::None), "it was never sent");
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_the_last_operation_even_if_it_times_out() {
    let options = GuestOptions { timeout: Some(Duration::from_secs(5)), ..Default::default() };
    let (guest, _leader, _listener, _transport) = meet(options).await;
    let writer = guest.clone();
    let put = tokio::spawn(async move { writer.put("a", "1").await });
    tokio::task::yield_now().await;
    soon(guest.close()).await.unwrap();
    assert_eq!(put.await.unwrap().unwrap_err().effect(), Effect::Unknown);
}

#[tokio::test]
async fn closing_does_not_wait_for_a_leader_that_reads_nothing() {
    let options = GuestOptions { retry: RetryPolicy::Always, ..Default::default() };
    let (guest, leader, _listener, transport) = meet(options).await;
    let writer = guest.clone();
    // More than the connection holds, so that the guest is stuck in the middle of writing.
    let put = tokio::spawn(async move { writer.put("a", vec![0; 1 << 20]).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    guest.finish_close();
    assert_eq!(soon(put).await.unwrap().unwrap_err().effect(), Effect::Unknown);
    soon(async {
        while transport.faults().connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    drop(leader);
}

#[tokio::test]
async fn dropped_operations_leave_the_handle_usable_and_are_not_kept() {
    let (guest, leader, mut listener, _transport) = meet(GuestOptions::default()).await;
    drop(leader);
    // Nobody is there: what is dropped was never sent, and must not be sent later.
    for _ in 0..100 {
        let put = guest.put("dropped", vec![0; 1000]);
        assert!(futures::poll!(std::pin::pin!(put)).is_pending());
        let get = guest.get("dropped");
        assert!(futures::poll!(std::pin::pin!(get)).is_pending());
        let iterator = guest.iterator(KeyRange::all());
        assert!(futures::poll!(std::pin::pin!(iterator)).is_pending());
    }
    let served = async {
        let mut leader = Leader::greet(&mut listener).await;
        let Some(Request::Put(put)) = leader.next().await else { panic!("only the put is left") };
        assert_eq!(put.key.as_deref(), Some(&b"kept"[..]));
        leader.done(put.id).await;
        leader
    };
    let (put, _leader) = soon(async { tokio::join!(guest.put("kept", "1"), served) }).await;
    put.unwrap();
}

#[tokio::test]
async fn operations_beyond_the_bound_wait_their_turn_in_order_also_across_a_promotion() {
    let options = GuestOptions { max_pending_bytes: 2000, ..Default::default() };
    let (guest, mut leader, listener, _transport) = meet(options).await;
    let large = vec![b'v'; 1500];
    let put = |value: &[u8]| {
        let (guest, batch) = (guest.clone(), Batch::new().put("a", value));
        async move { guest.write_opts(batch, WriteOptions::default()).await }
    };
    let mut first = Box::pin(put(&large));
    let mut second = Box::pin(put(&large));
    let mut third = Box::pin(put(b"last"));
    for write in [&mut first, &mut second, &mut third] {
        assert!(futures::poll!(write).is_pending());
    }
    let id = put_id(soon(leader.next()).await);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), leader.next()).await.is_err(),
        "there is no room, and the small one must not overtake"
    );
    leader.done(id).await;
    soon(first).await.unwrap();
    let (second_id, third_id) = (put_id(soon(leader.next()).await), put_id(soon(leader.next()).await));
    assert!(second_id < third_id);

    // Nothing more is answered: the guest becomes the leader, and its queue is applied before what comes after.
    let lone = Guest::new(options, rave_core::EventHub::new());
    let queue: Vec<_> = (0..20)
        .map(|n| {
            let lone = lone.clone();
            let mut write = Box::pin(async move {
                let value = [n; 1000];
                lone.put("x", value).await
            });
            assert!(futures::FutureExt::now_or_never(&mut write).is_none());
            write
        })
        .collect();
    let store = MemoryLevel::new();
    lone.promote(Arc::new(store.clone()), None).await;
    lone.put("x", "after").await.unwrap();
    for write in queue {
        write.await.unwrap();
    }
    assert_eq!(store.get("x").await.unwrap().unwrap(), "after");
    drop(listener);
}

#[tokio::test]
async fn what_a_leader_said_before_it_hung_up_is_heard() {
    let options = GuestOptions { retry: RetryPolicy::Safe, ..Default::default() };
    let (guest, mut leader, mut listener, _transport) = meet(options).await;
    // The first is answered, and the leader leaves; the second is in the middle of being written.
    let (first, second) = (guest.put("a", "1"), guest.put("b", vec![0; 1 << 20]));
    let served = async {
        let id = put_id(leader.next().await);
        leader.done(id).await;
        leader.say(&Response::Leaving(Leaving {})).await;
        drop(leader);
        let mut leader = Leader::greet(&mut listener).await;
        let Some(Request::Put(put)) = leader.next().await else { panic!("the second was given back") };
        assert_eq!(put.key.as_deref(), Some(&b"b"[..]));
        leader.done(put.id).await;
        leader
    };
    let (first, second, _leader) = soon(async { tokio::join!(first, second, served) }).await;
    first.unwrap();
    second.unwrap();
}
