//! `exec`: a database for scripts in any language, one JSON request per line in, one JSON reply per line out.
//!
//! Requests start in the order of their lines and are answered as they complete. Nothing here grows without bound:
//! while too many requests are on their way, or nobody reads the replies, no further line is read.

mod codec;
mod iterators;
mod request;
mod session;
mod snapshots;

use crate::{
    cli::ExecArgs,
    database,
    failure::Failure,
    input::{Line, Lines},
    output::Output,
    roles::Roles,
};
use codec::Codec;
use futures::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use request::{Action, Refusal, parse};
use session::{Session, failure_line};
use std::task::Poll;

/// Requests on their way at once.
const IN_FLIGHT: usize = 1024;
/// Bytes of the lines of requests on their way; one line may exceed it.
const IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;

/// `exec DB`
pub async fn run(args: ExecArgs) -> Result<(), Failure> {
    let codec = if args.binary { Codec::Base64 } else { Codec::Text };
    let mut output = Output::stdout();
    let outcome = database::with(&args.database, async |db| {
        let session = Session::new(db.view.clone(), db.handle.clone(), codec);
        let roles = Roles::of(&db.handle);
        serve(&session, roles, Lines::of(std::io::stdin()), &mut output).await
    })
    .await;
    let finished = output.finish().await;
    outcome.and(finished)
}

/// What a request left behind: its reply and the length of its line.
type Answered = (Vec<u8>, usize);

async fn serve(session: &Session, mut roles: Roles, mut lines: Lines, output: &mut Output) -> Result<(), Failure> {
    let mut in_flight: FuturesUnordered<LocalBoxFuture<'_, Answered>> = FuturesUnordered::new();
    let mut bytes = 0;
    let mut roles_ended = false;
    // The present role comes before any reply.
    if let Poll::Ready(Some(news)) = futures::poll!(std::pin::pin!(roles.next())) {
        push_line(output, news.json().as_bytes());
    }
    let close = loop {
        let (full, empty) = (output.is_full(), output.is_empty());
        let room = in_flight.len() < IN_FLIGHT && bytes < IN_FLIGHT_BYTES && !full;
        tokio::select! {
            biased;
            Some((reply, length)) = in_flight.next(), if !in_flight.is_empty() && !full => {
                bytes -= length;
                output.buffer().extend_from_slice(&reply);
            }
            news = roles.next(), if !roles_ended && !full => match news {
                Some(news) => push_line(output, news.json().as_bytes()),
                None => roles_ended = true,
            },
            line = lines.next(), if room => {
                let text = match line {
                    None => break None,
                    Some(Line::Text(text)) => text,
                    Some(Line::TooLong) => {
                        push_line(output, &failure_line(&Refusal::without_id("the line is too long")));
                        continue;
                    }
                    Some(Line::Failed(error)) => return Err(Failure::Usage(format!("reading stdin: {error}"))),
                };
                let request = match parse(&text, session.codec()) {
                    Ok(request) => request,
                    Err(refusal) => {
                        push_line(output, &failure_line(&refusal));
                        continue;
                    }
                };
                if matches!(request.action, Action::Close) {
                    break Some(request.id);
                }
                let length = text.len();
                let mut answer: LocalBoxFuture<'_, Answered> =
                    Box::pin(async move { (session.answer(request).await, length) });
                // Operations take effect in the order of their first polls: so poll now, before the next line.
                match futures::poll!(answer.as_mut()) {
                    Poll::Ready((reply, _)) => output.buffer().extend_from_slice(&reply),
                    Poll::Pending => {
                        bytes += length;
                        in_flight.push(answer);
                    }
                }
            }
            // Last, so that all that is ready goes out at once.
            handed_over = output.hand_over(), if !empty => handed_over?,
        }
    };
    while let Some((reply, _)) = in_flight.next().await {
        output.buffer().extend_from_slice(&reply);
        output.spill().await?;
    }
    if let Some(id) = close {
        let reply = session.close(id).await;
        output.buffer().extend_from_slice(&reply);
    }
    Ok(())
}

fn push_line(output: &mut Output, line: &[u8]) {
    output.buffer().extend_from_slice(line);
    if !line.ends_with(b"\n") {
        output.buffer().push(b'\n');
    }
}
