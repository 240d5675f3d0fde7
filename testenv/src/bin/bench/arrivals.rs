//! New namespaces: one by one, many at once, and one by one while a renewal runs (S6).

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use crate::audit::{CHANGE, Who, seconds};
use crate::cluster::CONNECTION;
use crate::figures::{Check, Latency, Report};
use crate::measure::Measure;
use crate::repair::times;
use crate::stage::Stage;

/// How many come each time.
const COUNT: usize = 100;

/// How many renewals there are at most while namespaces come: each leaves a credential that waits for its revocation.
const RENEWALS: usize = 10;

/// What is measured.
const WHAT: &str = "creation of the namespace answered until creation of the Secret answered";

/// Runs it.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let first = stage.options.targets;
    one_by_one(stage, report, first).await?;
    at_once(stage, report, first + COUNT).await?;
    meanwhile(stage, report, first + 2 * COUNT).await
}

async fn one_by_one(stage: &mut Stage, report: &mut Report, first: usize) -> Result<()> {
    let measure = Measure::begin(stage)?;
    for number in 0..COUNT {
        stage.create_teams(first + number..first + number + 1, 1).await?;
        stage.until_written("create", CONNECTION, number + 1).await?;
    }
    let mut figures = measure.end(stage, "S6", &format!("{COUNT} new namespaces, one by one"), COUNT).await?;
    figures.latencies.push(Latency::new(WHAT, served(stage)?.into_values().map(|(_, took)| took).collect()));
    counted(stage, report, "one by one");
    report.scenarios.push(figures);
    Ok(())
}

async fn at_once(stage: &mut Stage, report: &mut Report, first: usize) -> Result<()> {
    let measure = Measure::begin(stage)?;
    stage.create_teams(first..first + COUNT, COUNT).await?;
    stage.until_written("create", CONNECTION, COUNT).await?;
    let mut figures = measure.end(stage, "S6", &format!("{COUNT} new namespaces at once"), COUNT).await?;
    let cause = stage.window.first(Who::Others, "create", "namespaces", "")?;
    figures.wall_seconds = Some(seconds(cause, stage.window.last(Who::Operator, "create", "secrets", CONNECTION)?));
    figures.latencies.push(Latency::new(WHAT, served(stage)?.into_values().map(|(_, took)| took).collect()));
    counted(stage, report, "at once");
    report.scenarios.push(figures);
    Ok(())
}

async fn meanwhile(stage: &mut Stage, report: &mut Report, first: usize) -> Result<()> {
    let (mut came, mut during) = (0, Vec::new());
    let measure = Measure::begin(stage)?;
    let mut renewals = 0;
    // Each renewal is a window of its own; requests and CPU seconds are those of all of them.
    let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
    let mut patched = 0;
    while came < COUNT && renewals < RENEWALS {
        renewals += 1;
        let targets = first + came;
        stage.request_renewal(&format!("meanwhile-{renewals}")).await?;
        while came < COUNT && stage.window.count(Who::Operator, CHANGE, "secrets", CONNECTION) < patched + targets {
            stage.create_teams(first + came..first + came + 1, 1).await?;
            came += 1;
            stage.until_written("create", CONNECTION, came).await?;
        }
        // Those that came meanwhile were created with the new credential, or with the one before and changed then.
        stage.until_written(CHANGE, CONNECTION, patched + targets).await?;
        stage.quiet(Some(Who::Operator)).await?;
        let answers: Vec<_> = stage.window.done(Who::Operator, CHANGE, "secrets", CONNECTION).skip(patched).collect();
        let begun = answers.iter().map(|event| event.received).min();
        spans.extend(begun.zip(answers.iter().map(|event| event.answered).max()));
        patched += answers.len();
    }
    let title = format!("{came} new namespaces, one by one, during {renewals} renewals");
    let mut figures = measure.end(stage, "S6", &title, came).await?;
    for (at, took) in served(stage)?.into_values() {
        if spans.iter().any(|(begun, ended)| (*begun..*ended).contains(&at)) {
            during.push(took);
        }
    }
    let met = during.len();
    figures
        .latencies
        .push(Latency::new(&format!("{WHAT}, of those created between a renewal's first and last Secret"), during));
    figures.latencies.push(Latency::new(WHAT, served(stage)?.into_values().map(|(_, took)| took).collect()));
    let created = stage.window.count(Who::Operator, "create", "secrets", CONNECTION);
    report.checks.push(Check::new("S6 namespaces that came in the midst of a renewal", 1..=came, met));
    report.checks.push(Check::new("S6 Secrets created, during renewals", came..=came, created));
    report.checks.push(Check::new("S6 credentials issued, during renewals", renewals..=renewals, figures.calls.mints));
    report.scenarios.push(figures);
    Ok(())
}

fn counted(stage: &Stage, report: &mut Report, how: &str) {
    let created = stage.window.count(Who::Operator, "create", "secrets", CONNECTION);
    report.checks.push(Check::new(&format!("S6 Secrets created, {how}"), COUNT..=COUNT, created));
    let changed = ["patch", "update"].map(|verb| stage.window.count(Who::Operator, verb, "secrets", "")).iter().sum();
    report.checks.push(Check::new(&format!("S6 Secrets changed, {how}"), 0..=0, changed));
}

/// When each new namespace was there, and after how many seconds it had its Secret.
fn served(stage: &Stage) -> Result<BTreeMap<String, (Timestamp, f64)>> {
    let created = stage.window.done(Who::Others, "create", "namespaces", "");
    let secrets = times(stage.window.done(Who::Operator, "create", "secrets", CONNECTION));
    let pairs = created.filter_map(|event| {
        let name = &event.object_ref.name;
        Some((name.clone(), (event.answered, seconds(event.answered, *secrets.get(name)?))))
    });
    Ok(pairs.collect())
}
