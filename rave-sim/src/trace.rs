//! What happened in a run, in order: always as a hash, and as readable lines when somebody will read them.

/// A virtual process by its number.
pub(crate) type Pid = usize;

/// The history of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    notes: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// An empty one; `readable` keeps lines for people, which costs most of a run's time.
    pub(crate) fn new(readable: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, notes: 0, lines: readable.then(Vec::new) }
    }

    /// `what` happened to process `pid` at `now` microseconds. `number` tells events of a kind apart in the hash; `detail`
    /// is only for people.
    pub(crate) fn note(
        &mut self,
        now: u64,
        pid: Option<Pid>,
        what: &'static str,
        number: u64,
        detail: impl FnOnce() -> String,
    ) {
        self.notes += 1;
        let process = pid.map_or(u64::MAX, |pid| pid as u64);
        for word in [now, process, number] {
            self.mix(word);
        }
        what.bytes().for_each(|byte| self.mix(u64::from(byte)));
        if let Some(lines) = &mut self.lines {
            let process = pid.map_or_else(|| "--".to_owned(), |pid| format!("P{pid}"));
            let time = format!("{}.{:03}", now / 1000, now % 1000);
            let detail = detail();
            let space = if detail.is_empty() { "" } else { "  " };
            lines.push(format!("{time:>12} ms  {process:<3} {what}{space}{detail}"));
        }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// Equal for equal histories.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub(crate) fn len(&self) -> u64 {
        self.notes
    }

    /// The lines, if they were kept.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
