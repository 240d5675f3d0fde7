//! Builds every program that the tests, the demo and the benchmark run, and says where each lies.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use testenv::tools::{self, Tool};

fn main() -> anyhow::Result<()> {
    let started = Instant::now();
    for (tool, path) in Tool::ALL.iter().zip(tools::paths(&Tool::ALL)?) {
        println!("{:<24} {}", tool.name(), path.display());
    }
    println!("ready after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}
