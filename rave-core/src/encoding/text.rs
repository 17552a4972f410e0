//! Encodings chosen by name at run time, for people and scripts who write keys and values as text.

#[cfg(feature = "json")]
use super::json;
use super::{Base64, Encoding, EncodingError, Hex, Utf8};
use crate::{Code, Error, Result};
use bytes::Bytes;
use std::{fmt, str::FromStr};

/// One of the encodings that have a text form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextEncoding {
    /// The text itself.
    #[default]
    Utf8,
    /// The bytes behind hexadecimal digits.
    Hex,
    /// The bytes behind Base64.
    Base64,
    /// Text that must be JSON, stored as it was written (without spaces around it): numbers keep their digits and
    /// objects the order of their members. Needs the feature `json`.
    #[cfg(feature = "json")]
    Json,
}

/// The names that [`by_name`] knows.
pub const NAMES: &[&str] = &[
    "utf8",
    "hex",
    "base64",
    #[cfg(feature = "json")]
    "json",
];

/// The encoding of that name: `utf8`, `hex`, `base64` or, with the feature `json`, `json`.
///
/// Errors: `LEVEL_ENCODING_NOT_FOUND`.
///
/// ```
/// use rave_core::encoding::{Encoding, by_name};
/// let hex = by_name("hex")?;
/// assert_eq!(hex.encode_key("00ff")?, &[0x00, 0xff][..]);
/// assert_eq!(hex.decode_key(&[0x00, 0xff])?, "00ff");
/// # Ok::<(), rave_core::Error>(())
/// ```
pub fn by_name(name: &str) -> Result<TextEncoding> {
    match name {
        "utf8" | "utf-8" => Ok(TextEncoding::Utf8),
        "hex" => Ok(TextEncoding::Hex),
        "base64" => Ok(TextEncoding::Base64),
        #[cfg(feature = "json")]
        "json" => Ok(TextEncoding::Json),
        #[cfg(not(feature = "json"))]
        "json" => Err(Error::new(Code::EncodingNotFound, "this build has no json; enable the feature `json`")),
        _ => {
            let message = format!("no text encoding is called {name:?}; there are {}", NAMES.join(", "));
            Err(Error::new(Code::EncodingNotFound, message))
        }
    }
}

impl FromStr for TextEncoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        by_name(name)
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Encoding for TextEncoding {
    type Input = str;
    type Item = String;

    fn name(&self) -> &str {
        match self {
            Self::Utf8 => "utf8",
            Self::Hex => "hex",
            Self::Base64 => "base64",
            #[cfg(feature = "json")]
            Self::Json => "json",
        }
    }

    fn encode(&self, item: &str) -> Result<Bytes, EncodingError> {
        match self {
            Self::Utf8 => Utf8.encode(item),
            Self::Hex => Hex.encode(item),
            Self::Base64 => Base64.encode(item),
            #[cfg(feature = "json")]
            Self::Json => {
                json::check(item)?;
                Utf8.encode(item.trim())
            }
        }
    }

    fn decode(&self, data: &[u8]) -> Result<String, EncodingError> {
        match self {
            Self::Utf8 => Utf8.decode(data),
            Self::Hex => Hex.decode(data),
            Self::Base64 => Base64.decode(data),
            #[cfg(feature = "json")]
            Self::Json => {
                let text = Utf8.decode(data)?;
                json::check(&text)?;
                Ok(text)
            }
        }
    }
}
