//! How typed keys and values become bytes: UTF-8, JSON, raw bytes, hexadecimal, Base64, and whatever implements
//! [`Encoding`].
//!
//! A database orders keys bytewise **as they are encoded**. [`Utf8`] and [`Raw`] keep the order of their items;
//! [`Hex`] and [`Base64`] order by the bytes and not by the text; [`Json`] orders by the text, so that 10 comes before 9.
//!
//! | encoding | written from | read as | stored |
//! | --- | --- | --- | --- |
//! | [`Utf8`] | `&str` | `String` | the text |
//! | [`Json<T>`](Json) (feature `json`) | `&T` | `T` | JSON without spaces |
//! | [`Raw`] | `&[u8]` | `Bytes` | the bytes |
//! | [`Hex`] | `&str` such as `00ff` | `String` | the bytes that the text describes |
//! | [`Base64`] | `&str` such as `AP8=` | `String` | the bytes that the text describes |
//! | [`TextEncoding`] | `&str` | `String` | one of the above, chosen at run time |

#[cfg(feature = "json")]
mod json;
mod text;

#[cfg(feature = "json")]
pub use json::Json;
pub use text::{NAMES, TextEncoding, by_name};

use crate::{Code, Error, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use std::{borrow::Cow, fmt};

/// A way to turn items of one type into bytes and back, for the keys or the values of a
/// [`TypedLevel`](crate::TypedLevel).
///
/// Requires: what was encoded decodes to the same item, and for keys, equal items encode to equal bytes.
///
/// ```
/// use rave_core::{Bytes, encoding::{Encoding, EncodingError}};
///
/// /// Numbers that are ordered as numbers.
/// #[derive(Clone, Copy)]
/// struct Number;
///
/// impl Encoding for Number {
///     type Input = u64;
///     type Item = u64;
///     fn name(&self) -> &str {
///         "number"
///     }
///     fn encode(&self, item: &u64) -> Result<Bytes, EncodingError> {
///         Ok(Bytes::copy_from_slice(&item.to_be_bytes()))
///     }
///     fn decode(&self, data: &[u8]) -> Result<u64, EncodingError> {
///         data.try_into().map(u64::from_be_bytes).map_err(|_| EncodingError::new("not eight bytes long"))
///     }
/// }
/// assert_eq!(Number.decode(&Number.encode(&7).unwrap()).unwrap(), 7);
/// ```
pub trait Encoding: Clone + Send + Sync + 'static {
    /// What is written, behind a reference: `str`, for example.
    type Input: ?Sized + Sync;
    /// What is read: `String`, for example.
    type Item: Send + 'static;

    /// The name, for error messages.
    fn name(&self) -> &str;

    /// The bytes to store.
    fn encode(&self, item: &Self::Input) -> Result<Bytes, EncodingError>;

    /// The item that the stored bytes stand for.
    fn decode(&self, data: &[u8]) -> Result<Self::Item, EncodingError>;

    /// Encodes a key. Errors: `LEVEL_INVALID_KEY`.
    fn encode_key(&self, key: &Self::Input) -> Result<Bytes> {
        self.encode(key).map_err(|error| failure(Code::InvalidKey, "a key cannot be encoded", self.name(), error))
    }

    /// Encodes a value. Errors: `LEVEL_INVALID_VALUE`.
    fn encode_value(&self, value: &Self::Input) -> Result<Bytes> {
        self.encode(value).map_err(|error| failure(Code::InvalidValue, "a value cannot be encoded", self.name(), error))
    }

    /// Decodes a stored key. Errors: `LEVEL_DECODE_ERROR`.
    fn decode_key(&self, key: &[u8]) -> Result<Self::Item> {
        self.decode(key).map_err(|error| failure(Code::DecodeError, "a key cannot be decoded", self.name(), error))
    }

    /// Decodes a stored value. Errors: `LEVEL_DECODE_ERROR`.
    fn decode_value(&self, value: &[u8]) -> Result<Self::Item> {
        self.decode(value).map_err(|error| failure(Code::DecodeError, "a value cannot be decoded", self.name(), error))
    }
}

fn failure(code: Code, what: &str, name: &str, error: EncodingError) -> Error {
    Error::new(code, format!("{what} as {name}")).with_source(error)
}

/// Why data do not fit an encoding. It must not quote the data: it may end up in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodingError(Cow<'static, str>);

impl EncodingError {
    /// `reason` in a few words, such as "not eight bytes long".
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for EncodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EncodingError {}

/// Text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8;

impl Encoding for Utf8 {
    type Input = str;
    type Item = String;

    fn name(&self) -> &str {
        "utf8"
    }

    fn encode(&self, item: &str) -> Result<Bytes, EncodingError> {
        Ok(Bytes::copy_from_slice(item.as_bytes()))
    }

    fn decode(&self, data: &[u8]) -> Result<String, EncodingError> {
        match std::str::from_utf8(data) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(EncodingError::new(format!("not UTF-8 from byte {} on", error.valid_up_to()))),
        }
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl Encoding for Raw {
    type Input = [u8];
    type Item = Bytes;

    fn name(&self) -> &str {
        "bytes"
    }

    fn encode(&self, item: &[u8]) -> Result<Bytes, EncodingError> {
        Ok(Bytes::copy_from_slice(item))
    }

    fn decode(&self, data: &[u8]) -> Result<Bytes, EncodingError> {
        Ok(Bytes::copy_from_slice(data))
    }
}

/// Bytes, shown as hexadecimal text. Reads give small letters; both sizes can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hex;

impl Encoding for Hex {
    type Input = str;
    type Item = String;

    fn name(&self) -> &str {
        "hex"
    }

    fn encode(&self, item: &str) -> Result<Bytes, EncodingError> {
        hex::decode(item).map(Bytes::from).map_err(|error| match error {
            hex::FromHexError::InvalidHexCharacter { index, .. } => {
                EncodingError::new(format!("not a hexadecimal digit at position {index}"))
            }
            _ => EncodingError::new("an odd number of hexadecimal digits"),
        })
    }

    fn decode(&self, data: &[u8]) -> Result<String, EncodingError> {
        Ok(hex::encode(data))
    }
}

/// Bytes, shown as Base64 text with the standard alphabet and padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base64;

impl Encoding for Base64 {
    type Input = str;
    type Item = String;

    fn name(&self) -> &str {
        "base64"
    }

    fn encode(&self, item: &str) -> Result<Bytes, EncodingError> {
        let reason = "not Base64 with the standard alphabet and padding";
        BASE64_STANDARD.decode(item).map(Bytes::from).map_err(|_| EncodingError::new(reason))
    }

    fn decode(&self, data: &[u8]) -> Result<String, EncodingError> {
        Ok(BASE64_STANDARD.encode(data))
    }
}
