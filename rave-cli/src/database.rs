//! Opening the database that the command line names, and closing it whatever comes of the command.

use crate::{
    cli::{DatabaseArgs, OpeningArgs, PlaceArgs},
    failure::Failure,
};
use rave_level::{
    AbstractLevel, Code, Error, RaveLevel, Sublevel, SublevelOptions,
    leveldb::{LevelDb, Options},
};
use std::{path::Path, sync::Arc};

/// The handle of the database and the part of it that the command works on.
pub struct Opened {
    /// The whole database.
    pub handle: RaveLevel,
    /// The sublevel asked for, or the whole.
    pub view: Arc<dyn AbstractLevel>,
}

impl Opened {
    async fn new(args: &DatabaseArgs) -> Result<Self, Failure> {
        let handle = open(&args.place, &args.opening).await?;
        let view: Arc<dyn AbstractLevel> = match &args.sublevel {
            None => Arc::new(handle.clone()),
            Some(path) => {
                let names: Vec<&str> = path.split('/').collect();
                match Sublevel::new(Arc::new(handle.clone()), &names, SublevelOptions::default()) {
                    Ok(sublevel) => Arc::new(sublevel),
                    Err(error) => {
                        handle.close().await?;
                        return Err(error.into());
                    }
                }
            }
        };
        Ok(Self { handle, view })
    }
}

/// Opens a database as the options say.
pub async fn open(place: &PlaceArgs, opening: &OpeningArgs) -> Result<RaveLevel, Failure> {
    let mut builder = place.builder()?;
    builder = builder.open_timeout(opening.open_timeout).retry(opening.retry.into()).read_only(opening.read_only);
    if let Some(timeout) = opening.timeout {
        builder = builder.operation_timeout(timeout);
    }
    Ok(builder.open().await?)
}

/// Opens, works, closes. The failure of the work counts more than that of the closing.
pub async fn with<R>(args: &DatabaseArgs, work: impl AsyncFnOnce(&Opened) -> Result<R, Failure>) -> Result<R, Failure> {
    let opened = Opened::new(args).await?;
    let outcome = work(&opened).await;
    let closed = opened.handle.close().await;
    let value = outcome?;
    closed?;
    Ok(value)
}

/// The database for this process alone, for what cannot be done while others have it open. Never creates one.
pub fn alone(path: &Path, read_only: bool) -> LevelDb {
    LevelDb::with_options(path, Options { create_if_missing: false, read_only, ..Options::default() })
}

/// Says what to do if another process has the database that this one wants for itself.
pub fn advise(error: Error) -> Failure {
    if error.code() != Code::Locked {
        return error.into();
    }
    let advice = "stop that process first, since this command needs the database for itself";
    Failure::Database(Error::new(Code::Locked, format!("{}; {advice}", error.full_message())))
}
