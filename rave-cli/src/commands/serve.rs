//! `serve`: keep the database open, and leave it in good order.

use crate::{
    cli::{Format, ServeArgs},
    database,
    failure::Failure,
    interrupt::Interrupt,
    output::Output,
    roles::Roles,
};
use rave_level::AbstractLevel;

/// `serve DB`
pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    // Before the database opens, so that there is no moment in which a signal leaves without order.
    let mut interrupt = Interrupt::new()?;
    let handle = tokio::select! {
        opened = database::open(&args.place, &args.opening) => opened?,
        () = interrupt.wait() => return Ok(()),
    };
    let mut roles = Roles::of(&handle);
    let mut output = Output::stdout();
    let outcome = loop {
        tokio::select! {
            biased;
            () = interrupt.wait() => break Ok(()),
            // That nobody reads the roles any more is no reason to stop serving.
            () = output.offer(), if !output.is_empty() => {}
            news = roles.next() => match news {
                Some(news) if output.is_full() => tracing::warn!("nobody reads what is told: {news}"),
                Some(news) => {
                    let line = if args.format.chosen() == Format::Json { news.json() } else { news.to_string() };
                    output.buffer().extend_from_slice(line.as_bytes());
                    output.buffer().push(b'\n');
                }
                None => break Err(Failure::Check("the database was closed".to_owned())),
            },
        }
    };
    handle.close().await?;
    outcome
}
