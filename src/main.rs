//! The `regcred` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(regcred::cli::main(std::env::args_os()));
        // A name that is still being resolved must not keep the process from ending.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            // The chain of causes on one line, as the log collectors want it.
            eprintln!("regcred: {error:#}");
            ExitCode::FAILURE
        }
    }
}
