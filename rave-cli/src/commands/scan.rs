//! `scan` and `clear`: a range of keys.

use crate::{
    cli::{ClearArgs, Format, ScanArgs},
    database,
    failure::Failure,
    output::Output,
    record::Encodings,
};
use rave_level::{AbstractLevelExt, Entry, IteratorOptions, encoding::Encoding};

/// Entries fetched at once.
const PAGE: usize = 1000;

/// `scan DB`
pub async fn scan(args: ScanArgs) -> Result<(), Failure> {
    let (keys, values) = (!args.values_only, !args.keys_only);
    let options = IteratorOptions { keys, values, ..args.range.iterator(args.keys.key)? };
    let encodings = Encodings { key: args.keys.key, value: args.values.value };
    let mut output = Output::stdout();
    let outcome = database::with(&args.database, async |db| {
        let mut iterator = db.view.iterator(options).await?;
        loop {
            let page = iterator.next_many(PAGE).await?;
            if page.is_empty() {
                return Ok(iterator.close().await?);
            }
            for entry in page {
                match args.format.chosen() {
                    Format::Json => encodings.write_entry(output.buffer(), &entry, keys, values)?,
                    Format::Text => write_text(output.buffer(), encodings, &entry, keys, values)?,
                }
            }
            output.hand_over().await?;
        }
    })
    .await;
    let finished = output.finish().await;
    outcome.and(finished)
}

fn write_text(
    buffer: &mut Vec<u8>,
    encodings: Encodings,
    entry: &Entry,
    keys: bool,
    values: bool,
) -> Result<(), Failure> {
    if keys {
        buffer.extend_from_slice(encodings.key.decode_key(&entry.key)?.as_bytes());
    }
    if keys && values {
        buffer.push(b'\t');
    }
    if values {
        buffer.extend_from_slice(encodings.value.decode_value(&entry.value)?.as_bytes());
    }
    buffer.push(b'\n');
    Ok(())
}

/// `clear DB`
pub async fn clear(args: ClearArgs) -> Result<(), Failure> {
    let options = args.range.clear(args.keys.key, args.sync)?;
    database::with(&args.database, async |db| Ok(db.view.clear_opts(options).await?)).await
}
