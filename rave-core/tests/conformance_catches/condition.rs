//! Stores that check conditions wrongly.

use async_trait::async_trait;
use futures::executor::block_on;
use rave_core::{
    AbstractLevel, AbstractLevelExt, Batch, Bytes, ClearOptions, Code, Condition, Effect, Error, Event, EventHub,
    EventStream, IteratorOptions, KeyRange, LevelIterator, MAX_CONDITIONS, Manifest, MemoryLevel, ReadOptions, Result,
    Snapshot, Status, WriteOptions,
    conformance::{self, Flavor, Harness},
    failed_conditions,
};
use std::{ops::Bound, panic, sync::Arc};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The same wrapper without a mistake.
    None,
    Ignored,
    CheckedInAStepBefore,
    CheckedBeforeEarlierWrites,
    SeeTheirOwnBatch,
    OnlyTheFirstNamed,
    NamedBackwards,
    EffectUnknown,
    DeletesStay,
    EmptyValueIsAbsent,
    ValuesIgnored,
    AloneNotChecked,
    AloneAnnounced,
    ContradictionsChecked,
    TooManyChecked,
    TooFewAllowed,
    NotDeclared,
    DeclaredAndRefused,
    RangesAlwaysHold,
    RangesNeverHold,
    RangesAreOfEverything,
    UpperBoundIncluded,
    OnlyTheFirstPage,
    OnlyTheFirstRange,
    NothingStripped,
}

#[derive(Clone, Debug)]
struct Broken {
    inner: MemoryLevel,
    fault: Fault,
    events: EventHub,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { inner: MemoryLevel::new(), fault, events: EventHub::new() }
    }

    fn get(&self, batch: &Batch, key: &Bytes) -> Result<Option<Bytes>> {
        let value = block_on(self.inner.get(key))?;
        let own = batch.operations().filter(|operation| operation.key() == key).last();
        Ok(match (self.fault, own) {
            (Fault::EmptyValueIsAbsent, _) => value.filter(|value| !value.is_empty()),
            (Fault::SeeTheirOwnBatch, Some(rave_core::Operation::Put { value, .. })) => Some(value.clone()),
            (Fault::SeeTheirOwnBatch, Some(rave_core::Operation::Del { .. })) => None,
            _ => value,
        })
    }

    fn visit(&self, range: &KeyRange, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut options = IteratorOptions::from(range.clone());
        match (self.fault, range.upper()) {
            (Fault::RangesAreOfEverything, _) => options.range = KeyRange::all(),
            (Fault::UpperBoundIncluded, Bound::Excluded(upper)) => {
                options.range = KeyRange::new(range.lower().cloned(), Bound::Included(upper.clone()));
            }
            (Fault::OnlyTheFirstPage, _) => options.limit = Some(1000),
            _ => {}
        }
        for entry in block_on(self.inner.all(options))? {
            show(&entry.key, &entry.value);
        }
        Ok(())
    }

    fn failed(&self, batch: &Batch) -> Result<Vec<usize>> {
        let conditions: Vec<Condition> = batch
            .conditions()
            .cloned()
            .map(|condition| match (self.fault, condition) {
                (Fault::OnlyTheFirstRange, Condition::Unchanged { mut ranges, strip, digest }) => {
                    ranges.truncate(1);
                    Condition::Unchanged { ranges, strip, digest }
                }
                (Fault::NothingStripped, Condition::Unchanged { ranges, digest, .. }) => {
                    Condition::Unchanged { ranges, strip: 0, digest }
                }
                (Fault::RangesNeverHold, Condition::Unchanged { ranges, strip, .. }) => {
                    Condition::Unchanged { ranges, strip, digest: [0; 32].into() }
                }
                (_, condition) => condition,
            })
            .collect();
        let mut failed =
            failed_conditions(&conditions, |key| self.get(batch, key), |range, show| self.visit(range, show))?;
        let is_range = |&index: &usize| matches!(conditions[index], Condition::Unchanged { .. });
        let exists = |&index: &usize| match &conditions[index] {
            Condition::Equals { key, .. } => block_on(self.inner.get(key)).unwrap().is_some(),
            _ => false,
        };
        match self.fault {
            Fault::Ignored => failed.clear(),
            Fault::OnlyTheFirstNamed => failed.truncate(1),
            Fault::NamedBackwards => failed.reverse(),
            Fault::RangesAlwaysHold => failed.retain(|index| !is_range(index)),
            Fault::ValuesIgnored => failed.retain(|index| !exists(index)),
            _ => {}
        }
        Ok(failed)
    }
}

#[async_trait]
impl AbstractLevel for Broken {
    fn manifest(&self) -> Manifest {
        Manifest { conditions: self.fault != Fault::NotDeclared, ..self.inner.manifest() }
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn get_opts(&self, key: Bytes, options: ReadOptions) -> Result<Option<Bytes>> {
        self.inner.get_opts(key, options).await
    }

    async fn get_many_opts(&self, keys: Vec<Bytes>, options: ReadOptions) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many_opts(keys, options).await
    }

    async fn write_opts(&self, batch: Batch, options: WriteOptions) -> Result<()> {
        let contradiction = batch.conditions().len() <= MAX_CONDITIONS && batch.validate().is_err();
        match self.fault {
            Fault::AloneNotChecked if batch.writes_nothing() => return Ok(()),
            Fault::DeclaredAndRefused => batch.refuse_conditions()?,
            Fault::ContradictionsChecked if contradiction => {}
            Fault::TooManyChecked if !contradiction => {}
            Fault::TooFewAllowed if batch.conditions().len() == MAX_CONDITIONS => {
                return Err(Error::new(Code::InvalidBatch, "too many"));
            }
            _ => batch.validate()?,
        }
        if self.fault == Fault::CheckedBeforeEarlierWrites && !batch.is_conditional() {
            tokio::task::yield_now().await;
        }
        let failed = self.failed(&batch)?;
        if !failed.is_empty() {
            if self.fault == Fault::DeletesStay {
                let deletes =
                    batch.operations().filter(|operation| matches!(operation, rave_core::Operation::Del { .. }));
                self.inner.write(deletes.cloned().collect()).await?;
            }
            let error = Error::condition_failed(failed);
            let unknown = self.fault == Fault::EffectUnknown;
            return Err(if unknown { error.with_effect(Effect::Unknown) } else { error });
        }
        if self.fault == Fault::CheckedInAStepBefore && batch.is_conditional() {
            tokio::task::yield_now().await;
        }
        self.inner.write_opts(batch.operations().cloned().collect(), options).await?;
        if !batch.writes_nothing() || self.fault == Fault::AloneAnnounced {
            self.events.emit(|| Event::Write(Arc::new(batch)));
        }
        Ok(())
    }

    async fn clear_opts(&self, options: ClearOptions) -> Result<()> {
        self.inner.clear_opts(options).await
    }

    async fn iterator_opts(&self, options: IteratorOptions) -> Result<Box<dyn LevelIterator>> {
        self.inner.iterator_opts(options).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

caught! {
    ignored: Ignored by condition::nothing_is_written_if_a_condition_fails, condition::every_failed_condition_is_named,
        condition::counters_lose_nothing, condition::a_key_is_claimed_once, condition::swaps_are_one_step;
    checked_in_a_step_before: CheckedInAStepBefore by condition::counters_lose_nothing, condition::swaps_are_one_step,
        condition::a_key_is_claimed_once, condition::conditions_keep_the_order_of_submission;
    checked_before_earlier_writes: CheckedBeforeEarlierWrites
        by condition::conditions_keep_the_order_of_submission;
    see_their_own_batch: SeeTheirOwnBatch by condition::conditions_see_the_state_before_the_batch;
    only_the_first_named: OnlyTheFirstNamed by condition::every_failed_condition_is_named,
        condition::conditions_are_about_the_sublevel;
    named_backwards: NamedBackwards by condition::every_failed_condition_is_named;
    effect_unknown: EffectUnknown by condition::nothing_is_written_if_a_condition_fails;
    deletes_stay: DeletesStay by condition::nothing_is_written_if_a_condition_fails;
    empty_value_is_absent: EmptyValueIsAbsent by condition::an_empty_value_is_not_absence;
    values_ignored: ValuesIgnored by condition::nothing_is_written_if_a_condition_fails,
        condition::counters_lose_nothing;
    alone_not_checked: AloneNotChecked by condition::conditions_alone_are_checked;
    alone_announced: AloneAnnounced by condition::conditions_alone_are_checked;
    contradictions_checked: ContradictionsChecked by condition::contradictions_are_refused;
    too_many_checked: TooManyChecked by condition::too_many_conditions_are_refused;
    too_few_allowed: TooFewAllowed by condition::too_many_conditions_are_refused,
        condition::every_failed_condition_is_named;
    not_declared: NotDeclared by condition::a_batch_is_applied_if_its_conditions_hold,
        condition::large_ranges_are_compared_whole;
    declared_and_refused: DeclaredAndRefused by condition::a_batch_is_applied_if_its_conditions_hold,
        condition::contradictions_are_refused;
    ranges_always_hold: RangesAlwaysHold by condition::a_change_in_the_range_is_noticed,
        condition::ranges_are_those_of_iterators, condition::conditions_are_about_the_sublevel;
    ranges_never_hold: RangesNeverHold by condition::a_change_in_the_range_is_noticed,
        condition::ranges_are_those_of_iterators, condition::several_ranges_have_one_digest;
    ranges_are_of_everything: RangesAreOfEverything by condition::a_change_in_the_range_is_noticed;
    upper_bound_included: UpperBoundIncluded by condition::a_change_in_the_range_is_noticed,
        condition::ranges_are_those_of_iterators;
    only_the_first_page: OnlyTheFirstPage by condition::large_ranges_are_compared_whole;
    only_the_first_range: OnlyTheFirstRange by condition::several_ranges_have_one_digest;
    nothing_stripped: NothingStripped by condition::several_ranges_have_one_digest,
        condition::conditions_are_about_the_sublevel;
}
