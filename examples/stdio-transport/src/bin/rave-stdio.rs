//! The program at the far end: `rave-stdio DB` opens the database as any process does, and passes on what comes by stdin
//! and stdout.

use rave_level::{AbstractLevel, Code, RaveLevel, Result, transport::IpcTransport};
use std::{ffi::OsString, process::ExitCode};
use stdio_transport::{PASSING, relay};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: rave-stdio DB");
        return ExitCode::from(2);
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rave-stdio: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(serve(path));
    // A thread of it may be waiting for stdin, and nothing more need come.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rave-stdio: {error}");
            if error.code() == Code::Locked { ExitCode::from(PASSING) } else { ExitCode::FAILURE }
        }
    }
}

async fn serve(path: OsString) -> Result<()> {
    let transport = IpcTransport::for_directory(&path)?;
    // Somebody has to lead: this process does, if nobody else is there.
    let db = RaveLevel::open(&path).await?;
    let relayed = relay(&transport, tokio::io::stdin(), tokio::io::stdout()).await;
    db.close().await.and(relayed)
}
