//! Keys and values between JSON strings and bytes.

use rave_level::{
    Bytes, Code, Error, Result,
    encoding::{Encoding, TextEncoding},
};

/// How JSON strings stand for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As UTF-8.
    Text,
    /// As Base64.
    Base64,
}

impl Codec {
    fn encoding(self) -> TextEncoding {
        match self {
            Self::Text => TextEncoding::Utf8,
            Self::Base64 => TextEncoding::Base64,
        }
    }

    /// The bytes of a key. Errors: `LEVEL_INVALID_KEY`.
    pub fn key(self, text: &str) -> Result<Bytes> {
        self.encoding().encode_key(text)
    }

    /// The bytes of a value. Errors: `LEVEL_INVALID_VALUE`.
    pub fn value(self, text: &str) -> Result<Bytes> {
        self.encoding().encode_value(text)
    }

    /// Appends stored bytes as a JSON string. Errors: `LEVEL_DECODE_ERROR`.
    pub fn write(self, buffer: &mut Vec<u8>, data: &[u8]) -> Result<()> {
        let text = self.encoding().decode(data).map_err(|_| {
            Error::new(Code::DecodeError, "stored bytes are not UTF-8; exec --binary gives them as base64")
        })?;
        write_json(buffer, &text);
        Ok(())
    }
}

/// Appends anything as JSON.
pub fn write_json(buffer: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Writing strings and numbers to memory cannot fail.
    let _ = serde_json::to_writer(buffer, value);
}
