//! What the program at the far end does with its directory.

use crate::relay::{PASSING, relay};
use rave_level::{AbstractLevel, Code, RaveLevel, Result, transport::IpcTransport};
use std::{path::Path, process::ExitCode};

/// Opens the database in `directory` as any process does, and passes on what comes by stdin and stdout until one side ends.
/// For a `main` that has nothing else to do: when this returns, a thread may still be waiting for stdin.
pub fn far_end(directory: &Path) -> ExitCode {
    let outcome = tokio::runtime::Runtime::new().map(|runtime| {
        let outcome = runtime.block_on(serve(directory));
        runtime.shutdown_background();
        outcome
    });
    let (error, code) = match outcome {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) if error.code() == Code::Locked => (error.to_string(), ExitCode::from(PASSING)),
        Ok(Err(error)) => (error.to_string(), ExitCode::FAILURE),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    // Stdout belongs to the guest.
    eprintln!("rave-stdio: {error}");
    code
}

async fn serve(directory: &Path) -> Result<()> {
    let transport = IpcTransport::for_directory(directory)?;
    // Somebody has to lead: this process does, if nobody else is there.
    let db = RaveLevel::open(directory).await?;
    let relayed = relay(&transport, tokio::io::stdin(), tokio::io::stdout()).await;
    db.close().await.and(relayed)
}
