//! Tokens: random strings by which guests prove who they are.
//!
//! A secret is never shown: not in errors, not in logs, not by `Debug`. The host keeps digests only.

use super::file;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rave_core::{Code, Error, Result};
use sha2::{Digest as _, Sha256};
use std::{fmt, path::Path, sync::Arc};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// The shortest secret: 128 random bits in Base64.
const MIN_LENGTH: usize = 22;
/// The longest secret.
pub(super) const MAX_LENGTH: usize = 256;
/// A secret with fewer different characters was not drawn at random.
const MIN_DIFFERENT: usize = 8;

/// What a guest may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything; `rw` in files.
    ReadWrite,
    /// Only read; `ro` in files.
    ReadOnly,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
        })
    }
}

/// A guest's token: a secret of 22 to 256 printable characters without spaces, and where it comes from.
#[derive(Clone)]
pub struct Token {
    secret: Arc<str>,
    /// For people.
    origin: Arc<str>,
}

impl Token {
    /// This secret.
    ///
    /// Errors: it is too short, too long, or not random enough to be a secret.
    pub fn new(secret: &str) -> Result<Self> {
        Self::from(secret, "the given token")
    }

    /// A new one, of 192 random bits.
    ///
    /// Errors: the system has no random numbers.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(Code::Io, format!("drawing random numbers for a token: {error}")))?;
        Self::new(&URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The secret in a file: alone, or as in the host's file behind a name and `rw` or `ro`.
    ///
    /// Errors: nobody but this user may be able to read the file; it must have one line with a token.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = file::read_private(path)?;
        let mut lines = lines(&text);
        let place = format!("the token file \"{}\"", path.display());
        let (Some((number, line)), None) = (lines.next(), lines.next()) else {
            return Err(unusable(&format!("{place} must have one line with a token")));
        };
        let secret = match line.split_whitespace().collect::<Vec<_>>()[..] {
            [secret] | [_, "rw" | "ro", secret] => secret,
            _ => return Err(unusable(&format!("line {number} of {place} is not a token, nor NAME rw|ro TOKEN"))),
        };
        Self::from(secret, &place)
    }

    /// The secret in the environment variable `name`, if it is set.
    ///
    /// Errors: as [`new`](Self::new).
    pub fn from_env(name: &str) -> Result<Option<Self>> {
        match std::env::var(name) {
            Ok(secret) => Self::from(secret.trim(), &format!("the environment variable {name}")).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(unusable(&format!("the environment variable {name} is not text")))
            }
        }
    }

    fn from(secret: &str, origin: &str) -> Result<Self> {
        check(secret).map_err(|what| unusable(&format!("{origin} {what}")))?;
        Ok(Self { secret: secret.into(), origin: origin.into() })
    }

    /// The secret itself, to be handed to whoever is to use it.
    pub fn reveal(&self) -> &str {
        &self.secret
    }

    /// Where it comes from, for people.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.origin)
    }
}

fn unusable(message: &str) -> Error {
    Error::new(Code::NotSupported, message)
}

/// What is wrong with a secret.
fn check(secret: &str) -> Result<(), String> {
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters that no token has; print one with `rave token NAME`".to_owned());
    }
    if secret.len() < MIN_LENGTH {
        return Err(format!("is shorter than {MIN_LENGTH} characters; print one with `rave token NAME`"));
    }
    if secret.len() > MAX_LENGTH {
        return Err(format!("is longer than {MAX_LENGTH} characters"));
    }
    let different = (0..=u8::MAX).filter(|byte| secret.as_bytes().contains(byte)).count();
    if different < MIN_DIFFERENT {
        return Err("is not random; print one with `rave token NAME`".to_owned());
    }
    Ok(())
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The tokens that a host takes, each with a name and with what it allows.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    name: Arc<str>,
    access: Access,
    digest: [u8; 32],
}

impl Tokens {
    /// None yet: nobody is let in.
    pub fn new() -> Self {
        Self::default()
    }

    /// These and one more.
    ///
    /// Errors: the name is empty, has spaces, or is taken; or another name has the same token.
    pub fn with(mut self, name: &str, access: Access, token: &Token) -> Result<Self> {
        self.add(name, access, token).map_err(|what| unusable(&what))?;
        Ok(self)
    }

    /// The tokens of a file, one per line: `NAME rw SECRET` or `NAME ro SECRET`. Empty lines and those that begin with `#`
    /// say nothing.
    ///
    /// Errors: somebody else can read the file, it has no token, or a line is wrong; the error names the line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = file::read_private(path)?;
        let mut tokens = Self::new();
        for (number, line) in lines(&text) {
            tokens
                .add_line(line)
                .map_err(|what| unusable(&format!("line {number} of the token file \"{}\": {what}", path.display())))?;
        }
        if tokens.entries.is_empty() {
            let message =
                format!("the token file \"{}\" has no token; print one with `rave token NAME`", path.display());
            return Err(unusable(&message));
        }
        Ok(tokens)
    }

    fn add_line(&mut self, line: &str) -> Result<(), String> {
        let [name, access, secret] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("it should look like NAME rw|ro SECRET".to_owned());
        };
        let access = match access {
            "rw" => Access::ReadWrite,
            "ro" => Access::ReadOnly,
            // Not shown: it may be the secret.
            _ => return Err("the second word should be rw or ro".to_owned()),
        };
        check(secret).map_err(|what| format!("the token {what}"))?;
        self.add(name, access, &Token { secret: secret.into(), origin: "a file".into() })
    }

    fn add(&mut self, name: &str, access: Access, token: &Token) -> Result<(), String> {
        if name.is_empty() || !name.chars().all(|char| char.is_alphanumeric() || "-_.@".contains(char)) {
            return Err("a name has letters, digits and -_.@ only".to_owned());
        }
        let digest = digest(token.secret.as_bytes());
        if let Some(other) = self.entries.iter().find(|entry| *entry.name == *name || entry.digest == digest) {
            return Err(match *other.name == *name {
                true => format!("the name {name:?} is there twice"),
                false => format!("{name:?} has the same token as {:?}", other.name),
            });
        }
        self.entries.push(Entry { name: name.into(), access, digest });
        Ok(())
    }

    /// Whose secret this is. How long it takes tells nothing of the secrets.
    pub(super) fn find(&self, secret: &[u8]) -> Option<(Arc<str>, Access)> {
        let digest = digest(secret);
        let mut found = u32::MAX;
        for (index, entry) in (0..).zip(&self.entries) {
            let same: Choice = entry.digest.ct_eq(&digest);
            found.conditional_assign(&index, same);
        }
        let entry = self.entries.get(usize::try_from(found).ok()?)?;
        Some((entry.name.clone(), entry.access))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| format!("{} {}", entry.name, entry.access))).finish()
    }
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}
