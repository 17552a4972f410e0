//! `put`, `get` and `del`: one key.

use crate::{
    cli::{DelArgs, KeyArgs, PutArgs},
    database,
    failure::Failure,
    output::Output,
};
use rave_level::{AbstractLevelExt, Batch, WriteOptions, encoding::Encoding};

/// `put DB KEY VALUE`
pub async fn put(args: PutArgs) -> Result<(), Failure> {
    let batch = Batch::new().put(args.keys.key.encode_key(&args.key)?, args.values.value.encode_value(&args.value)?);
    let options = WriteOptions { sync: args.sync.sync };
    database::with(&args.database, async |db| Ok(db.view.write_opts(batch, options).await?)).await
}

/// `get DB KEY`
pub async fn get(args: KeyArgs) -> Result<(), Failure> {
    let key = args.keys.key.encode_key(&args.key)?;
    let value = database::with(&args.database, async |db| Ok(db.view.get(&key).await?)).await?;
    let value = value.ok_or_else(|| Failure::NotFound(format!("no such key: {}", args.key)))?;
    let mut output = Output::stdout();
    output.buffer().extend_from_slice(args.values.value.decode_value(&value)?.as_bytes());
    output.buffer().push(b'\n');
    output.finish().await
}

/// `del DB KEY`
pub async fn del(args: DelArgs) -> Result<(), Failure> {
    let batch = Batch::new().del(args.keys.key.encode_key(&args.key)?);
    let options = WriteOptions { sync: args.sync.sync };
    database::with(&args.database, async |db| Ok(db.view.write_opts(batch, options).await?)).await
}
