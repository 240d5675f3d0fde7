//! The benchmark: the shipped operator on a real control plane, beside a bare loop that writes the same Secrets.
//!
//! This file is the frame: arguments, signals, the order of the groups, and where the report goes. Times are measured and
//! told, never asserted; counts that must be exact are, and the exit code says so.
#![allow(clippy::print_stdout)]

mod arrivals;
mod audit;
mod bars;
mod cluster;
mod figures;
mod floor;
mod foreign;
mod machine;
mod markdown;
mod measure;
mod namespaced;
mod operator;
mod options;
mod pods;
mod repair;
mod sample;
mod setup;
mod stage;
mod still;
mod wide;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use figures::{Report, count};
use machine::{Machine, Memory};
use options::{Options, Scenario};
use stage::Stage;

/// The argument with which this program runs itself as the bare loop.
const FLOOR: &str = "--floor";

fn main() -> ExitCode {
    // The same runtime as the operator's: the bare loop runs on it, too.
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run());
    // A build of the tools may still run in a thread; it ends with us.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        eprintln!("\nbench: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == FLOOR).is_some() {
        let job = arguments.next().context("the bare loop needs a job")?;
        return floor::run(Path::new(&job)).await.map(|()| ExitCode::SUCCESS);
    }
    let options = Options::parse(arguments)?;
    let mut report = tokio::select! {
        report = measure(&options) => report?,
        // Letting go of the stage has ended every process and removed every folder of it.
        signal = interrupted() => {
            println!("\n{}: everything is ended and removed.", signal?);
            return Ok(ExitCode::from(130));
        }
    };
    println!("\n{}", save(&options, &mut report)?);
    let wrong = report.checks.iter().filter(|check| !check.is_met).count();
    if wrong > 0 {
        eprintln!("bench: {wrong} counts are not what they must be");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs all that is wanted, each group on a control plane of its own, so that none carries what another has left.
async fn measure(options: &Options) -> Result<Report> {
    let binary = std::fs::metadata(&options.operator).context("look at the operator's binary")?;
    let bytes = usize::try_from(binary.len())?;
    let mut report = Report {
        machine: Machine::read()?,
        kubernetes: String::new(),
        targets: options.targets,
        binary_mb: count(bytes) / 1e6,
        arguments: operator::ARGUMENTS.map(str::to_owned).into(),
        empty: None,
        scenarios: Vec::new(),
        checks: Vec::new(),
        bars: Vec::new(),
    };
    if options.wants(&[
        Scenario::S2,
        Scenario::S4,
        Scenario::S5,
        Scenario::S6,
        Scenario::S7,
        Scenario::S8,
        Scenario::S10,
    ]) {
        let mut stage = set(options).await?;
        report.kubernetes = stage.client.apiserver_version().await.context("ask for the version")?.git_version;
        report.empty = Some(empty(&mut stage).await?);
        let samples = stage.rehearse().await?;
        wide::run(&mut stage, &mut report, &samples).await?;
        // The other group may take long.
        save(options, &mut report)?;
    }
    if options.wants(&[Scenario::S1, Scenario::S5, Scenario::S7]) {
        let mut stage = set(options).await?;
        report.kubernetes = stage.client.apiserver_version().await.context("ask for the version")?.git_version;
        let samples = stage.rehearse().await?;
        namespaced::run(&mut stage, &mut report, &samples).await?;
    }
    if options.wants(&[Scenario::S9]) {
        save(options, &mut report)?;
        let mut stage = set(options).await?;
        report.kubernetes = stage.client.apiserver_version().await.context("ask for the version")?.git_version;
        pods::run(&mut stage, &mut report).await?;
    }
    Ok(report)
}

/// Writes what was measured so far into the folder for it; returns it in words.
fn save(options: &Options, report: &mut Report) -> Result<String> {
    report.scenarios.sort_by_key(|figures| figures.id.parse::<Scenario>().ok());
    report.bars.clear();
    bars::fill(report);
    let text = markdown::report(report).context("put the report together")?;
    std::fs::create_dir_all(&options.out).with_context(|| format!("make {}", options.out.display()))?;
    let write = |name: &str, content: &str| {
        let path = options.out.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    };
    write("bench.md", &text)?;
    write("bench.json", &(serde_json::to_string_pretty(report)? + "\n"))?;
    Ok(text)
}

async fn set(options: &Options) -> Result<Stage> {
    println!("A control plane, a registry and a provider are started.");
    Stage::set(options).await.context("the stage could not be set; with REGCRED_KEEP=1 the folders with the logs stay")
}

/// The memory of an operator that has nothing to do at all.
async fn empty(stage: &mut Stage) -> Result<Memory> {
    stage.start().await?;
    tokio::time::sleep(stage.options.settle).await;
    let memory = stage.operator()?.memory()?;
    stage.kill().await?;
    Ok(memory)
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
