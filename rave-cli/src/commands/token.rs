//! `token`: draw a new one.

use crate::{cli::TokenArgs, failure::Failure, output::Output};
use rave_level::transport::{Access, Token, Tokens};

/// `token NAME`
pub async fn run(args: TokenArgs) -> Result<(), Failure> {
    let access = if args.read_only { Access::ReadOnly } else { Access::ReadWrite };
    let token = Token::generate()?;
    // A host must be able to read it.
    Tokens::new().with(&args.name, access, &token).map_err(|error| Failure::Usage(error.full_message()))?;
    let mut output = Output::stdout();
    output.buffer().extend_from_slice(format!("{} {access} {}\n", args.name, token.reveal()).as_bytes());
    output.finish().await
}
