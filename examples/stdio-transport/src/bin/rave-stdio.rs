//! The program at the far end: `rave-stdio DB` is what `ssh` starts there.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(directory), None) => stdio_transport::far_end(directory.as_ref()),
        _ => {
            eprintln!("usage: rave-stdio DB");
            ExitCode::from(2)
        }
    }
}
