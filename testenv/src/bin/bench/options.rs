//! The command line.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

const USAGE: &str =
    "usage: bench [--operator PATH] [--targets N] [--only S2,S4] [--idle SECONDS] [--settle SECONDS] [--out FOLDER]

  --operator PATH   the regcred binary that is measured; absent means the one beside this program
  --targets N       how many namespaces or connections there are; absent means 1000
  --only LIST       the scenarios, separated by commas; absent means all
  --idle SECONDS    how long S5 looks on; absent means 300
  --settle SECONDS  how long after it is ready the operator's memory is read; absent means 60
  --out FOLDER      where bench.md and bench.json go; absent means target/bench";

/// How long after it is ready the operator's memory is read.
const SETTLE: Duration = Duration::from_secs(60);

/// How long an idle operator is looked at.
const IDLE: Duration = Duration::from_secs(300);

/// How many targets there are.
const TARGETS: usize = 1000;

/// The fewest targets that a tenth of, or ten of in one namespace, means something with.
const FEWEST: usize = 10;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scenario {
    /// Many connections of namespaces, cold.
    S1,
    /// One connection of the cluster to many namespaces, cold.
    S2,
    /// Its renewal.
    S4,
    /// Nothing happens.
    S5,
    /// New namespaces.
    S6,
    /// Killed and started again.
    S7,
    /// Secrets of others.
    S8,
    /// Pods that are linked by their images.
    S9,
    /// Targets deleted and edited by others.
    S10,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::S1, Self::S2, Self::S4, Self::S5, Self::S6, Self::S7, Self::S8, Self::S9, Self::S10];
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|one| one.to_string().eq_ignore_ascii_case(text.trim()));
        found.with_context(|| format!("{text:?} is no scenario; there are {:?}", Self::ALL))
    }
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary that is measured.
    pub operator: PathBuf,
    /// How many namespaces or connections there are.
    pub targets: usize,
    /// What is measured.
    pub only: BTreeSet<Scenario>,
    /// How long an idle operator is looked at.
    pub idle: Duration,
    /// How long after it is ready the operator's memory is read.
    pub settle: Duration,
    /// Where the report goes.
    pub out: PathBuf,
}

impl Options {
    /// Reads the arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let own = std::env::current_exe().context("find this program's own path")?;
        let mut options = Self {
            operator: own.with_file_name("regcred"),
            targets: TARGETS,
            only: Scenario::ALL.into(),
            idle: IDLE,
            settle: SETTLE,
            out: PathBuf::from("target/bench"),
        };
        while let Some(argument) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{argument:?} alone says nothing\n{USAGE}"))?;
            let what = || format!("{argument} {value}");
            match argument.as_str() {
                "--operator" => options.operator = value.into(),
                "--targets" => options.targets = value.parse().with_context(what)?,
                "--only" => options.only = value.split(',').map(str::parse).collect::<Result<_>>()?,
                "--idle" => options.idle = Duration::from_secs(value.parse().with_context(what)?),
                "--settle" => options.settle = Duration::from_secs(value.parse().with_context(what)?),
                "--out" => options.out = value.into(),
                _ => bail!("{argument:?} is not known\n{USAGE}"),
            }
        }
        ensure!(options.targets >= FEWEST, "at least {FEWEST} targets are needed");
        ensure!(
            options.operator.is_file(),
            "there is no regcred binary at {}: `make bench` builds it",
            options.operator.display()
        );
        Ok(options)
    }

    /// Whether one of these is measured.
    pub fn wants(&self, scenarios: &[Scenario]) -> bool {
        scenarios.iter().any(|one| self.only.contains(one))
    }
}
