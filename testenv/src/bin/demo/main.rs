//! The demo, on real parts: one connection from `kubectl apply` to a pulled image, through a wrong password and back; one
//! whose credential a provider issues, through a renewal; one for fifty namespaces; and Pods that name a Secret by themselves.
//!
//! This file is the frame: arguments, signals, and what happens when something fails. The story itself is in `story`.
#![allow(clippy::print_stdout)]

mod connection;
mod issued;
mod kubectl;
mod linked;
mod operator;
mod stage;
mod story;
mod told;
mod wide;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use stage::Stage;
use tokio::signal::unix::{SignalKind, signal};

/// How long anything that is waited for may take. Generous: it only says how long a failure takes.
const DEADLINE: Duration = Duration::from_secs(60);

const USAGE: &str = "usage: demo [--operator PATH] [--keep]

  --operator PATH  the regcred binary to show; absent means the one beside this program
  --keep           leave everything running at the end, until Enter or Ctrl-C";

/// What the command line says.
struct Options {
    operator: PathBuf,
    keep: bool,
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run());
    // A build of the tools may still run in a thread; it ends with us.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        eprintln!("\ndemo: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run() -> Result<ExitCode> {
    let options = options(std::env::args().skip(1))?;
    if !options.operator.is_file() {
        bail!("there is no regcred binary at {}: `make demo` builds it", options.operator.display());
    }
    let stage = tokio::select! {
        stage = play(&options.operator) => stage?,
        // Letting go of the play has ended every process and removed every folder of it.
        signal = interrupted() => {
            println!("\n{}: everything is ended and removed.", signal?);
            return Ok(ExitCode::from(130));
        }
    };
    if options.keep {
        stage.explain()?;
        tokio::select! {
            () = enter() => {}
            signal = interrupted() => println!("\n{}", signal?),
        }
    }
    stage.end()?;
    Ok(ExitCode::SUCCESS)
}

/// Sets the stage and tells the story.
async fn play(operator: &Path) -> Result<Stage> {
    let stage = Stage::set(operator).await;
    let mut stage = stage.context("the stage could not be set; with REGCRED_KEEP=1 the folders with the logs stay")?;
    let Err(error) = story::tell(&mut stage).await else { return Ok(stage) };
    Err(match stage.keep_logs() {
        Ok(folder) => error.context(format!("the demo failed; its logs are in {}", folder.display())),
        Err(lost) => error.context(format!("the demo failed, and its logs could not be kept ({lost:#})")),
    })
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let own = std::env::current_exe().context("find this program's own path")?;
    let mut options = Options { operator: own.with_file_name("regcred"), keep: false };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--operator" => options.operator = arguments.next().context(USAGE)?.into(),
            "--keep" => options.keep = true,
            _ => bail!("{argument:?} is not known\n{USAGE}"),
        }
    }
    Ok(options)
}

/// Completes when Enter is pressed; never if nobody can press it.
async fn enter() {
    let (pressed, waiting) = tokio::sync::oneshot::channel();
    // A thread of its own: nothing waits for it at the end.
    std::thread::spawn(move || {
        let stdin = std::io::stdin();
        let mut line = String::new();
        if stdin.read_line(&mut line).is_ok_and(|length| length > 0 || stdin.is_terminal()) {
            // If nobody waits any more, the end has already come.
            let _ = pressed.send(());
        } else {
            loop {
                std::thread::park();
            }
        }
    });
    // The sender is dropped only after it has sent.
    let _ = waiting.await;
}

/// Completes with the name of the first signal that asks to end.
async fn interrupted() -> Result<&'static str> {
    let listen = |kind| signal(kind).context("listen for signals");
    let (mut int, mut term) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = int.recv() => "SIGINT",
        _ = term.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    })
}
