//! JSON, through serde.

use super::{Encoding, EncodingError};
use bytes::Bytes;
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use std::{fmt, marker::PhantomData};

/// Anything that serde can serialise, as JSON.
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Json<T> {
    /// The encoding for items of type `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Json<T> {}

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Encoding for Json<T> {
    type Input = T;
    type Item = T;

    fn name(&self) -> &str {
        "json"
    }

    fn encode(&self, item: &T) -> Result<Bytes, EncodingError> {
        serde_json::to_vec(item).map(Bytes::from).map_err(|error| reason(&error))
    }

    fn decode(&self, data: &[u8]) -> Result<T, EncodingError> {
        serde_json::from_slice(data).map_err(|error| reason(&error))
    }
}

/// Whether a text is JSON.
pub(super) fn check(text: &str) -> Result<(), EncodingError> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| reason(&error))
}

/// serde's own message quotes what it met.
fn reason(error: &serde_json::Error) -> EncodingError {
    use serde_json::error::Category;
    let reason = match error.classify() {
        Category::Io => "cannot be read or written",
        Category::Syntax => "not JSON",
        Category::Data => "JSON of another form than the type expects",
        Category::Eof => "JSON that ends too early",
    };
    match error.line() {
        0 => EncodingError::new(reason),
        line => EncodingError::new(format!("{reason}, at line {line} column {}", error.column())),
    }
}
