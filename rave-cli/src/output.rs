//! Writing to stdout from a thread of its own: a reader who does not read must not stop a process that serves others.

use crate::failure::Failure;
use std::{
    io::{self, Write},
    thread::JoinHandle,
};
use tokio::sync::{mpsc, oneshot};

/// How much is gathered before it is handed over.
const CHUNK: usize = 64 * 1024;
/// How many chunks may wait for the reader.
const WAITING: usize = 4;

/// Stdout.
pub struct Output {
    buffer: Vec<u8>,
    chunks: mpsc::Sender<Vec<u8>>,
    written: oneshot::Receiver<io::Result<()>>,
    _thread: JoinHandle<()>,
}

impl Output {
    /// Starts the thread.
    pub fn stdout() -> Self {
        Self::to(io::stdout())
    }

    fn to(mut sink: impl Write + Send + 'static) -> Self {
        let (chunks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (done, written) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let mut write_all = || {
                while let Some(chunk) = waiting.blocking_recv() {
                    sink.write_all(&chunk)?;
                    sink.flush()?;
                }
                Ok(())
            };
            let result = write_all();
            // Nobody waits for the result of a command that has failed otherwise.
            let _ = done.send(result);
        });
        Self { buffer: Vec::new(), chunks, written, _thread: thread }
    }

    /// Where to append what is to be written.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Whether nothing waits to be handed over.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether so much was gathered that it should be handed over before more is produced.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= CHUNK
    }

    /// Hands over what was gathered if there is enough of it; waits for a slow reader.
    pub async fn spill(&mut self) -> Result<(), Failure> {
        if self.is_full() { self.hand_over().await } else { Ok(()) }
    }

    /// Hands over what was gathered; waits for a slow reader. Dropping the future loses nothing.
    ///
    /// Errors: [`Failure::NobodyReads`] once writing has failed; [`finish`](Self::finish) says why.
    pub async fn hand_over(&mut self) -> Result<(), Failure> {
        if !self.buffer.is_empty() {
            let place = self.chunks.reserve().await.map_err(|_| Failure::NobodyReads)?;
            place.send(std::mem::take(&mut self.buffer));
        }
        Ok(())
    }

    /// The same for what need not be read: once nobody reads any more, it is forgotten.
    pub async fn offer(&mut self) {
        if self.hand_over().await.is_err() {
            self.buffer.clear();
        }
    }

    /// Waits until everything is written.
    pub async fn finish(mut self) -> Result<(), Failure> {
        let handed_over = self.hand_over().await;
        drop(self.chunks);
        match self.written.await {
            Ok(Err(error)) => Err(Failure::io("writing to stdout", &error)),
            Ok(Ok(())) => handed_over,
            Err(_) => Err(Failure::Usage("writing to stdout: the writer has gone".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink {
        written: Arc<Mutex<Vec<u8>>>,
        broken: bool,
    }

    impl Write for Sink {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            if self.broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.lock().unwrap().extend_from_slice(data);
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn everything_is_written_in_order() {
        let sink = Sink::default();
        block_on(async {
            let mut output = Output::to(sink.clone());
            for number in 0..50_000 {
                writeln!(output.buffer(), "{number}").unwrap();
                output.spill().await.unwrap();
            }
            output.finish().await.unwrap();
        });
        let expected: String = (0..50_000).map(|number| format!("{number}\n")).collect();
        assert!(*sink.written.lock().unwrap() == expected.into_bytes());
    }

    #[test]
    fn a_reader_who_left_is_no_panic() {
        block_on(async {
            let mut output = Output::to(Sink { broken: true, ..Sink::default() });
            let failure = loop {
                output.buffer().extend_from_slice(&[0; CHUNK]);
                if let Err(failure) = output.spill().await {
                    break failure;
                }
            };
            assert!(matches!(failure, Failure::NobodyReads));
            assert!(matches!(output.finish().await, Err(Failure::NobodyReads)));
        });
    }
}
