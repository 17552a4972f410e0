//! How a command fails: one line on stderr and an exit status.

use clap::error::ErrorKind;
use rave_level::{Code, Error};
use std::{io, process::ExitCode};

/// Why a command ends without success.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for does not exist.
    NotFound(String),
    /// A check found something wrong.
    Check(String),
    /// The command line or the input is not usable.
    Usage(String),
    /// The database refused or failed.
    Database(Error),
    /// Nobody reads what is printed any more. That is the reader's decision, and no failure.
    NobodyReads,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.code() {
            // These come from what the user typed.
            Code::InvalidPrefix | Code::EncodingNotFound | Code::InvalidKey | Code::InvalidValue => {
                Self::Usage(error.to_string())
            }
            _ => Self::Database(error),
        }
    }
}

impl Failure {
    /// A failure to read or write anything but the database.
    pub fn io(attempt: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        Self::Usage(format!("{attempt}: {error}"))
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::NotFound(_) | Self::Check(_) => 1,
            Self::Usage(_) => 2,
            Self::Database(_) => 3,
        }
    }

    /// The failure in one line, if it is worth one.
    pub fn line(&self) -> Option<String> {
        let text = match self {
            Self::NobodyReads => return None,
            Self::NotFound(text) | Self::Check(text) | Self::Usage(text) => text.clone(),
            Self::Database(error) if error.code() == Code::Corruption => {
                format!("{error}; `rave verify` lists all damage, `rave repair` saves the rest")
            }
            Self::Database(error) => error.to_string(),
        };
        Some(one_line(&text))
    }

    /// Prints the line and gives the exit status.
    pub fn report(&self) -> ExitCode {
        if let Some(line) = self.line() {
            print_error(&line);
        }
        ExitCode::from(self.status())
    }
}

/// Reports what clap found wrong in one line; prints help and version as they are.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody may be reading; then there is nothing to say.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            print_error("a command is needed; see 'rave --help'");
            ExitCode::from(2)
        }
        _ => {
            print_error(&usage_line(&error.to_string()));
            ExitCode::from(2)
        }
    }
}

/// clap's message, of which the paragraphs before "Usage:" say what is wrong, in one line.
fn usage_line(message: &str) -> String {
    let mut parts = Vec::new();
    let mut command = "rave".to_owned();
    for line in message.lines().map(str::trim) {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            let names =
                usage.split(' ').take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            let names: Vec<&str> = names.filter(|word| !word.starts_with('-')).collect();
            command = names.join(" ");
        } else if !line.is_empty() && !line.starts_with("For more information") {
            parts.push(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    one_line(&format!("{}; see '{command} --help'", parts.join(" ")))
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn print_error(line: &str) {
    use std::io::{IsTerminal, Write};
    let mut stderr = io::stderr().lock();
    // A closed stderr must not turn a failure into a panic.
    let _ = if stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        writeln!(stderr, "\x1b[31mrave:\x1b[0m {line}")
    } else {
        writeln!(stderr, "rave: {line}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn statuses() {
        assert_eq!(Failure::NotFound(String::new()).status(), 1);
        assert_eq!(Failure::from(Error::new(Code::InvalidPrefix, "x")).status(), 2);
        assert_eq!(Failure::from(Error::new(Code::Locked, "x")).status(), 3);
        assert_eq!(Failure::io("x", &io::ErrorKind::BrokenPipe.into()).status(), 0);
    }

    #[test]
    fn an_error_is_one_line() {
        let failure = Failure::Database(Error::new(Code::Io, "first\nsecond"));
        assert_eq!(failure.line().unwrap(), "first second (LEVEL_IO_ERROR)");
    }

    #[test]
    fn a_usage_error_is_one_line_that_says_where_help_is() {
        let line = |arguments: &[&str]| usage_line(&Cli::try_parse_from(arguments).unwrap_err().to_string());
        let typo = line(&["rave", "scan", "db", "--limt", "3"]);
        assert!(typo.contains("--limt") && typo.ends_with("see 'rave scan --help'"), "{typo}");
        let missing = line(&["rave", "put", "db"]);
        assert!(missing.contains("<KEY> <VALUE>") && !missing.contains('\n'), "{missing}");
    }
}
