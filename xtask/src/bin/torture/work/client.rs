//! A client: random operations on the keys that everybody uses now; mostly one after the other, and many at once when
//! all others do so too.

use super::operation::Operator;
use crate::{
    clock,
    key::{Key, Kind, of_kind},
    record::{Call, Outcome},
    workload::{COUNTERS, HOT, HOT_REGISTERS, PAIRS, REGISTERS, ROUNDS, SURGE, next_surge},
};
use fastrand::Rng;
use futures::future::join_all;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The most that several writes at once are.
const BURST: u64 = 5;

pub struct Client {
    operator: Operator,
    /// No other client of any process has this number.
    number: u64,
    random: Rng,
    /// The generation in use, and the last number written to its sequence.
    sequence: (u64, u64),
    /// Sequences of others that were seen.
    seen: Vec<Key>,
    /// What was read last of a cold register.
    last: Option<(Key, u64)>,
}

impl Client {
    pub fn new(operator: Operator, number: u64, random: Rng) -> Self {
        Self { operator, number, random, sequence: (0, 0), seen: Vec::new(), last: None }
    }

    /// Works until all are to rest, with pauses of about this length.
    pub async fn run(mut self, rest: &AtomicBool, pause: Duration) {
        while !rest.load(Ordering::Relaxed) {
            let now = clock::now();
            let until_surge = Duration::from_nanos(next_surge(now) - now);
            let pause = pause.mul_f64(2.0 * self.random.f64());
            tokio::time::sleep(pause.min(until_surge)).await;
            match pause < until_surge {
                true => self.step().await,
                false => self.surge().await,
            }
        }
    }

    /// Reads, writes and reads again, at once, a few times, on the few registers that everybody uses in this surge. So
    /// a write that comes too late, or once more, follows one that was seen, and is seen itself.
    async fn surge(&mut self) {
        let now = clock::now();
        let generation = clock::generation(now);
        let surge = now / SURGE % (HOT_REGISTERS / HOT);
        for _ in 0..ROUNDS {
            if clock::generation(clock::now()) != generation {
                return;
            }
            let hot = Key::new(generation, Kind::Register, surge * HOT + self.random.u64(0..HOT));
            let ids = [(); 3].map(|()| self.operator.teller.number());
            let id = ids[1];
            let write = match self.random.u32(0..100) {
                0..60 => Call::Write(vec![(hot, id)]),
                60..80 => Call::Write(vec![(self.marker(generation, id), id), (hot, id)]),
                80..84 => Call::Write(vec![(self.cold(generation), 0)]),
                84..88 => Call::Write(vec![(self.cold(generation), id)]),
                88..92 => self.swap(generation, id),
                92..98 => self.add(generation, id),
                _ => self.clear(generation),
            };
            let calls = [Call::Read(vec![hot]), write, Call::Read(vec![hot])];
            let operator = &self.operator;
            join_all(ids.into_iter().zip(calls).map(|(id, call)| operator.perform(id, call))).await;
        }
    }

    /// From choosing the generation to beginning there is nothing to wait for: whoever hears of an operation later
    /// knows that none of earlier generations will follow.
    async fn step(&mut self) {
        let generation = clock::generation(clock::now());
        if self.sequence.0 != generation {
            self.sequence = (generation, 0);
            self.seen.clear();
        }
        let id = self.operator.teller.number();
        let cold = self.cold(generation);
        let pair = Key::new(generation, Kind::Pair, self.random.u64(0..PAIRS));
        let marker = self.marker(generation, id);
        let call = match self.random.u32(0..100) {
            0..6 => self.swap(generation, id),
            6..12 => self.add(generation, id),
            12..18 => Call::Write(vec![(cold, id)]),
            18..23 => Call::Write(vec![(cold, 0)]),
            23..36 => Call::Write(vec![(marker, id), (cold, id)]),
            36..44 => Call::Write(vec![(pair, id), (marker, id), (pair.part(1), id)]),
            44..46 => Call::Write(vec![(pair, 0), (pair.part(1), 0)]),
            46..47 => self.clear(generation),
            47..65 => Call::Read(vec![cold]),
            65..72 => Call::Read(vec![pair, pair.part(1)]),
            72..76 => self.scan(generation),
            76..84 => match self.random.choice(&self.seen) {
                Some(key) => Call::Read(vec![*key]),
                None => return self.look_for_sequences(id, generation).await,
            },
            _ => return self.burst(generation).await,
        };
        let read = if let Call::Read(keys) = &call { keys.first().copied() } else { None };
        let outcome = self.operator.perform(id, call).await;
        if let (Some(key), Outcome::Values(values)) = (read, outcome)
            && key == cold
        {
            self.last = values.first().map(|value| (key, *value));
        }
    }

    /// Swaps what was read last, which may have changed since, or puts where nothing is expected.
    fn swap(&mut self, generation: u64, id: u64) -> Call {
        let last = self.last.take().filter(|(key, _)| key.generation == generation);
        let (key, expected) = last.unwrap_or_else(|| (self.cold(generation), 0));
        Call::Swap { key, expected, value: id }
    }

    /// One more on a counter of all processes.
    fn add(&mut self, generation: u64, id: u64) -> Call {
        let counter = Key::new(generation, Kind::Counter, self.random.u64(0..COUNTERS));
        let increment = Key { kind: Kind::Increment, ..counter }.part(id);
        Call::Add { counter, increment }
    }

    fn cold(&mut self, generation: u64) -> Key {
        Key::new(generation, Kind::Register, self.random.u64(HOT_REGISTERS..REGISTERS))
    }

    /// The key that only this operation writes.
    fn marker(&self, generation: u64, id: u64) -> Key {
        Key::new(generation, Kind::Marker, self.number).part(id & 0xffff_ffff)
    }

    /// Some neighbouring registers.
    fn clear(&mut self, generation: u64) -> Call {
        let from = self.random.u64(HOT_REGISTERS..REGISTERS);
        let to = self.random.u64(from + 1..=(from + 6).min(REGISTERS));
        let key = |name| Key::new(generation, Kind::Register, name);
        Call::Clear { from: key(from), to: key(to) }
    }

    fn scan(&mut self, generation: u64) -> Call {
        let reverse = self.random.bool();
        let (from, to) = match self.random.u32(0..10) {
            // All markers are many.
            0 => of_kind(generation, Kind::Marker),
            1..4 => of_kind(generation, Kind::Register),
            4..6 => of_kind(generation, Kind::Pair),
            6..8 => of_kind(generation, Kind::Sequence),
            _ => {
                let (from, to) = of_kind(generation, Kind::Marker);
                (Key { name: self.number, ..from }, Key { name: self.number, ..to })
            }
        };
        Call::Scan { from, to, reverse, audit: false }
    }

    async fn look_for_sequences(&mut self, id: u64, generation: u64) {
        let (from, to) = of_kind(generation, Kind::Sequence);
        let scan = Call::Scan { from, to, reverse: false, audit: false };
        if let Outcome::Entries(entries) = self.operator.perform(id, scan).await {
            self.seen = entries.into_iter().map(|(key, _)| key).collect();
        }
    }

    /// The next numbers of this client's sequence, all on their way at once.
    async fn burst(&mut self, generation: u64) {
        let key = Key::new(generation, Kind::Sequence, self.number);
        let last = self.sequence.1;
        self.sequence.1 += self.random.u64(1..=BURST);
        let writes = (last + 1..=self.sequence.1).map(|number| {
            let id = self.operator.teller.number();
            self.operator.perform(id, Call::Write(vec![(key, number)]))
        });
        // They are polled in this order, which is the order in which they are to take effect.
        join_all(writes).await;
    }
}
