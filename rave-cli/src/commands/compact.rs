//! `compact`: give back the space of what was overwritten and deleted.

use crate::{
    cli::{CompactArgs, Format},
    commands::stats::Size,
    database,
    failure::Failure,
    output::Output,
};
use rave_level::AbstractLevel;
use serde_json::json;

/// `compact DB`
pub async fn run(args: CompactArgs) -> Result<(), Failure> {
    let range = args.bounds.range(args.keys.key)?;
    let store = database::alone(&args.database.path()?, false).open_store().await.map_err(database::advise)?;
    let before = Size::of(&store.stats());
    let compacted = store.compact_range(range).await;
    let after = Size::of(&store.stats());
    let closed = store.close().await;
    compacted.and(closed).map_err(database::advise)?;
    let mut output = Output::stdout();
    let text = match args.format.chosen() {
        Format::Json => json!({"before": before.json(), "after": after.json()}).to_string(),
        Format::Text => format!("before: {before}\nafter: {after}"),
    };
    output.buffer().extend_from_slice(text.as_bytes());
    output.buffer().push(b'\n');
    output.finish().await
}
