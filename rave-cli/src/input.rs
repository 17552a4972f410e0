//! Reading lines from stdin or a file in a thread of its own: an input that is slow to come must not stop a process
//! that serves others.

use std::{collections::VecDeque, io::Read};
use tokio::sync::mpsc;

/// The longest line that is accepted.
pub const LONGEST_LINE: usize = 64 * 1024 * 1024;
/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How many chunks' lines may wait.
const WAITING: usize = 2;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its end.
    Text(Vec<u8>),
    /// A line longer than [`LONGEST_LINE`], which was skipped.
    TooLong,
    /// Reading failed here; nothing follows.
    Failed(String),
}

/// The lines of an input.
pub struct Lines {
    ready: VecDeque<Line>,
    chunks: mpsc::Receiver<VecDeque<Line>>,
}

impl Lines {
    /// Starts to read.
    pub fn of(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            let mut splitter = Splitter::new(LONGEST_LINE);
            let mut chunk = vec![0; CHUNK];
            loop {
                let mut lines = VecDeque::new();
                let ended = match source.read(&mut chunk) {
                    Ok(0) => {
                        lines.extend(splitter.end());
                        true
                    }
                    Ok(length) => {
                        splitter.feed(chunk.get(..length).unwrap_or_default(), &mut lines);
                        false
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        lines.push_back(Line::Failed(error.to_string()));
                        true
                    }
                };
                if (!lines.is_empty() && sender.blocking_send(lines).is_err()) || ended {
                    return;
                }
            }
        });
        Self { ready: VecDeque::new(), chunks }
    }

    /// The next line; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Line> {
        if self.ready.is_empty() {
            self.ready = self.chunks.recv().await?;
        }
        self.ready.pop_front()
    }
}

/// Cuts chunks into lines.
struct Splitter {
    longest: usize,
    partial: Vec<u8>,
    skipping: bool,
}

impl Splitter {
    fn new(longest: usize) -> Self {
        Self { longest, partial: Vec::new(), skipping: false }
    }

    fn feed(&mut self, chunk: &[u8], lines: &mut VecDeque<Line>) {
        let mut pieces = chunk.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.partial.len() + piece.len() > self.longest {
                self.skipping = true;
                self.partial = Vec::new();
            }
            if !self.skipping {
                self.partial.extend_from_slice(piece);
            }
            // Behind the last piece there was no line end yet.
            if pieces.peek().is_some() {
                lines.push_back(self.take());
            }
        }
    }

    /// The last line, if it had no end.
    fn end(&mut self) -> Option<Line> {
        (self.skipping || !self.partial.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Line {
        if std::mem::take(&mut self.skipping) {
            return Line::TooLong;
        }
        let mut line = std::mem::take(&mut self.partial);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Line::Text(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(longest: usize, chunks: &[&str]) -> Vec<Line> {
        let (mut splitter, mut lines) = (Splitter::new(longest), VecDeque::new());
        for chunk in chunks {
            splitter.feed(chunk.as_bytes(), &mut lines);
        }
        lines.extend(splitter.end());
        lines.into()
    }

    fn text(text: &str) -> Line {
        Line::Text(text.into())
    }

    #[test]
    fn lines_across_chunks() {
        assert_eq!(split(9, &["a\nb", "c\r", "\n\nd"]), [text("a"), text("bc"), text(""), text("d")]);
        assert_eq!(split(9, &["a\n"]), [text("a")]);
        assert_eq!(split(9, &[]), []);
    }

    #[test]
    fn a_long_line_is_skipped_and_the_next_is_read() {
        assert_eq!(split(3, &["ab", "cd", "e", "f\nxyz\n"]), [Line::TooLong, text("xyz")]);
        assert_eq!(split(3, &["abcd"]), [Line::TooLong]);
        assert_eq!(split(3, &["abc\nabcd\nab"]), [text("abc"), Line::TooLong, text("ab")]);
    }

    #[test]
    fn the_thread_delivers_all_and_ends() {
        let data: String = (0..30_000).map(|number| format!("{number}\n")).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines = Lines::of(std::io::Cursor::new(data));
            for number in 0..30_000 {
                assert_eq!(lines.next().await, Some(text(&number.to_string())));
            }
            assert_eq!(lines.next().await, None);
        });
    }
}
