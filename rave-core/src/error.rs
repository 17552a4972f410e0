//! What went wrong, where, and — for a write — what it may have done.

use std::{fmt, sync::Arc};

/// The result of every fallible operation of rave-level.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kind of a failure, with the names abstract-level gave them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// The name as abstract-level spells it, such as `LEVEL_LOCKED`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code of that name, if it is one of ours.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The operation needs an open database, and this one is closing or closed.
    DatabaseNotOpen = "LEVEL_DATABASE_NOT_OPEN",
    /// The operation needs a closed database.
    DatabaseNotClosed = "LEVEL_DATABASE_NOT_CLOSED",
    /// Opening failed; the source tells why.
    DatabaseFailedOpen = "LEVEL_DATABASE_FAILED_OPEN",
    /// The iterator has been closed.
    IteratorNotOpen = "LEVEL_ITERATOR_NOT_OPEN",
    /// Another call on this iterator is in flight.
    IteratorBusy = "LEVEL_ITERATOR_BUSY",
    /// The chained batch has been written or closed.
    BatchNotOpen = "LEVEL_BATCH_NOT_OPEN",
    /// The snapshot has been closed, or was lost with the process that held it.
    SnapshotNotOpen = "LEVEL_SNAPSHOT_NOT_OPEN",
    /// The operation was given up before it completed, for instance because its deadline passed.
    Aborted = "LEVEL_ABORTED",
    /// No encoding of that name is known.
    EncodingNotFound = "LEVEL_ENCODING_NOT_FOUND",
    /// The encoding cannot be used here.
    EncodingNotSupported = "LEVEL_ENCODING_NOT_SUPPORTED",
    /// Stored bytes could not be decoded with the encoding in use.
    DecodeError = "LEVEL_DECODE_ERROR",
    /// The key cannot be used.
    InvalidKey = "LEVEL_INVALID_KEY",
    /// The value cannot be used.
    InvalidValue = "LEVEL_INVALID_VALUE",
    /// What is stored is damaged.
    Corruption = "LEVEL_CORRUPTION",
    /// The operating system refused or failed.
    Io = "LEVEL_IO_ERROR",
    /// The name of a sublevel contains bytes that it must not.
    InvalidPrefix = "LEVEL_INVALID_PREFIX",
    /// The store does not offer this; its manifest says so.
    NotSupported = "LEVEL_NOT_SUPPORTED",
    /// The request is of a form that is no longer supported.
    Legacy = "LEVEL_LEGACY",
    /// Another process holds the database and does not serve it.
    Locked = "LEVEL_LOCKED",
    /// A hook refused the operation.
    Hook = "LEVEL_HOOK_ERROR",
    /// The status of the database cannot change at the moment.
    StatusLocked = "LEVEL_STATUS_LOCKED",
    /// The database is open for reading only.
    ReadOnly = "LEVEL_READONLY",
    /// A batch contradicts itself or is too large: nothing was sent.
    InvalidBatch = "LEVEL_INVALID_BATCH",
    /// A condition of a batch does not hold, so nothing was written; [`Error::failed_conditions`] tells which.
    ConditionFailed = "LEVEL_CONDITION_FAILED",
    /// What a transaction had read was changed by others each time it was tried.
    Conflict = "LEVEL_TRANSACTION_CONFLICT",
    /// The leader does not know this handle's session any more, or somebody else uses it.
    Session = "LEVEL_SESSION_LOST",
    /// The connection to the leader was lost before the operation completed.
    ConnectionLost = "LEVEL_CONNECTION_LOST",
    /// The leader reported a failure of a kind that this version does not know, or broke the protocol.
    Remote = "LEVEL_REMOTE_ERROR",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failed write may have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Certainly not applied, now or later. Also the effect of every failed read.
    #[default]
    None,
    /// It may have been applied, or may yet be.
    Unknown,
}

impl Effect {
    /// `"none"` or `"unknown"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// A failure: its [`Code`], a sentence that says what was attempted and on what, the [`Effect`] if it was a write, and
/// the underlying error.
///
/// Cheap to clone, because one failed commit may have to be reported to many writers. Its text never contains bytes of
/// a user's value.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    effect: Effect,
    message: String,
    /// Of `ConditionFailed`.
    conditions: Vec<usize>,
    source: Option<Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// A failure of the kind `code`; `message` says what was attempted and what to do, in one readable line.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            effect: Effect::None,
            message: message.into(),
            conditions: Vec::new(),
            source: None,
        }))
    }

    /// An operating-system failure while doing `attempt` (for example "opening /data/db/LOCK").
    pub fn io(attempt: impl fmt::Display, error: std::io::Error) -> Self {
        Self::new(Code::Io, attempt.to_string()).with_source(error)
    }

    /// The store does not offer `what`.
    pub fn not_supported(what: impl fmt::Display) -> Self {
        Self::new(Code::NotSupported, format!("{what} is not supported here; the manifest tells what is"))
    }

    /// The conditions of a batch at the indices `failed`, in ascending order, do not hold.
    pub fn condition_failed(failed: Vec<usize>) -> Self {
        let which = match failed.as_slice() {
            [index] => format!("condition {index} of the batch does not hold"),
            failed => {
                format!("{} conditions of the batch do not hold, the first is {:?}", failed.len(), failed.first())
            }
        };
        let mut error = Self::new(Code::ConditionFailed, which);
        error.0.conditions = failed;
        error
    }

    /// An operation on a database that is no longer open.
    pub fn not_open() -> Self {
        Self::new(Code::DatabaseNotOpen, "the database is not open")
    }

    /// The same failure with its cause.
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The same failure with another effect.
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// The same failure, its message preceded by `attempt` and a colon.
    pub fn context(mut self, attempt: impl fmt::Display) -> Self {
        self.0.message = format!("{attempt}: {}", self.0.message);
        self
    }

    /// The kind of the failure.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the failed write may have done; [`Effect::None`] for reads.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Which conditions of the batch do not hold, as indices into [`Batch::conditions`](crate::Batch::conditions) in ascending
    /// order; empty unless the code is [`Code::ConditionFailed`].
    pub fn failed_conditions(&self) -> &[usize] {
        &self.0.conditions
    }

    /// The sentence, without code and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The sentence followed by its causes, without the code.
    pub fn full_message(&self) -> String {
        use std::error::Error as _;
        let mut text = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.contains(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.full_message(), self.0.code)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("effect", &self.0.effect)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
