//! `batch`, `load` and `dump`: many entries as JSON lines.

use crate::{
    cli::{BatchArgs, DumpArgs, LoadArgs},
    database,
    failure::Failure,
    input::{LONGEST_LINE, Line, Lines},
    output::Output,
    record::{Encodings, read_batch, write_internal},
};
use indicatif::{ProgressBar, ProgressStyle};
use rave_level::{AbstractLevelExt, Batch, IteratorOptions, RESERVED, WriteOptions};
use std::{fs::File, path::Path, time::Duration};

/// Entries written or fetched at once.
const PAGE: usize = 1000;
/// Bytes written at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// `batch DB`
pub async fn batch(args: BatchArgs) -> Result<(), Failure> {
    let encodings = Encodings { key: args.keys.key, value: args.values.value };
    let mut lines = Lines::of(std::io::stdin());
    let mut texts = Vec::new();
    while let Some(line) = lines.next().await {
        let text = text_of(line).map_err(|error| bad_line("stdin", texts.len() + 1, &error, "nothing was applied"))?;
        texts.push(text);
    }
    let batch = read_batch(encodings, texts.iter().map(Vec::as_slice))
        .map_err(|(number, error)| bad_line("stdin", number, &error, "nothing was applied"))?;
    let options = WriteOptions { sync: args.sync.sync };
    database::with(&args.database, async |db| Ok(db.view.write_opts(batch, options).await?)).await
}

/// `load DB [FILE]`
pub async fn load(args: LoadArgs) -> Result<(), Failure> {
    let encodings = Encodings { key: args.keys.key, value: args.values.value };
    let file = args.file.as_deref().filter(|path| *path != Path::new("-"));
    let (mut lines, name, size) = match file {
        None => (Lines::of(std::io::stdin()), "stdin".to_owned(), None),
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| Failure::io(&format!("opening {name}"), &error))?;
            let size = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
            (Lines::of(file), name, size)
        }
    };
    let bar = progress(size);
    let options = WriteOptions { sync: args.sync.sync };
    let loaded = database::with(&args.database, async |db| {
        let (mut number, mut loaded, mut batch, mut bytes) = (0_usize, 0_usize, Batch::new(), 0);
        while let Some(line) = lines.next().await {
            number += 1;
            let read = text_of(line).and_then(|text| {
                bar.inc(if size.is_some() { text.len() as u64 + 1 } else { 1 });
                encodings.read_entry(&text)
            });
            let operation = read.map_err(|error| {
                bad_line(&name, number, &error, &format!("the first {loaded} entries were loaded, no others"))
            })?;
            bytes += operation.byte_len();
            batch.push(operation);
            if batch.len() >= PAGE || bytes >= PAGE_BYTES {
                let count = batch.len();
                db.view.write_opts(std::mem::take(&mut batch), options).await.map_err(|error| partly(error, loaded))?;
                loaded += count;
                bytes = 0;
            }
        }
        let count = batch.len();
        db.view.write_opts(batch, options).await.map_err(|error| partly(error, loaded))?;
        Ok(loaded + count)
    })
    .await;
    bar.finish_and_clear();
    let loaded = loaded?;
    tracing::info!("{loaded} entries loaded");
    Ok(())
}

/// `dump DB`
pub async fn dump(args: DumpArgs) -> Result<(), Failure> {
    use std::io::IsTerminal;
    let encodings = Encodings { key: args.keys.key, value: args.values.value };
    let mut output = Output::stdout();
    // On one terminal the bar would be mixed with the entries.
    let bar = if std::io::stdout().is_terminal() { ProgressBar::hidden() } else { progress(None) };
    let options = IteratorOptions { internal: args.internal, ..IteratorOptions::default() };
    let outcome = database::with(&args.database, async |db| {
        let mut iterator = db.view.iterator(options).await?;
        loop {
            let page = iterator.next_many(PAGE).await?;
            if page.is_empty() {
                return Ok(iterator.close().await?);
            }
            for entry in &page {
                match entry.key.strip_prefix(RESERVED.as_bytes()) {
                    Some(name) if args.internal => write_internal(output.buffer(), name, &entry.value)?,
                    _ => encodings.write_entry(output.buffer(), entry, true, true)?,
                }
            }
            bar.inc(page.len() as u64);
            output.hand_over().await?;
        }
    })
    .await;
    bar.finish_and_clear();
    let finished = output.finish().await;
    outcome.and(finished)
}

fn text_of(line: Line) -> Result<Vec<u8>, String> {
    match line {
        Line::Text(text) => Ok(text),
        Line::TooLong => Err(format!("longer than {LONGEST_LINE} bytes")),
        Line::Failed(error) => Err(error),
    }
}

fn bad_line(name: &str, number: usize, error: &str, consequence: &str) -> Failure {
    Failure::Usage(format!("{name}, line {number}: {error}; {consequence}"))
}

fn partly(error: rave_level::Error, loaded: usize) -> Failure {
    error.context(format!("writing the entries behind the first {loaded}")).into()
}

/// A bar on stderr, if that is a terminal: of bytes if their number is known, else of entries.
fn progress(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(size) => (ProgressBar::new(size), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} entries, {per_sec}"),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
