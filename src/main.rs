//! The `regcred` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match regcred::cli::main(std::env::args_os()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes on one line, as the log collectors want it.
            eprintln!("regcred: {error:#}");
            ExitCode::FAILURE
        }
    }
}
