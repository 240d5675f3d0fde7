//! One connection of the cluster to many namespaces (S2) and its renewal (S4), and in which order the rest is measured on it.
//!
//! What ends in idleness comes before the renewal: ten minutes after that the replaced credential is revoked.

use anyhow::Result;
use tokio::time::sleep;

use crate::audit::{Who, seconds};
use crate::cluster::{CLUSTER, CONNECTION};
use crate::figures::{Check, Figures, Report};
use crate::floor::{CONCURRENCY, Floor, Verb};
use crate::measure::{Measure, Samples};
use crate::options::Scenario;
use crate::options::Scenario::{S2, S4, S6, S8, S10};
use crate::sample::other_name;
use crate::stage::Stage;
use crate::{arrivals, foreign, repair, still};

const ABOUT: &str = "one connection of the cluster";

/// How many ledgers a credential may cost, from its request to its delivery.
const LEDGERS: std::ops::RangeInclusive<usize> = 2..=3;

/// Runs what is wanted of it.
pub async fn run(stage: &mut Stage, report: &mut Report, samples: &Samples) -> Result<()> {
    let targets = stage.options.targets;
    stage.create_teams(0..targets, CONCURRENCY).await?;
    let mut floor = Floor::default();
    beside(stage, &mut floor, samples, (S2, Verb::Post)).await?;
    stage.start().await?;
    let measured = report.scenarios.len();
    let delivered = delivery(stage, report, targets).await?;
    report.scenarios.push(delivered);
    still::idle(stage, report, ABOUT, targets).await?;
    stage.kill().await?;
    beside(stage, &mut floor, samples, (S2, Verb::Post)).await?;
    report.scenarios[measured].beside(&floor);
    still::restart(stage, report, ABOUT, targets).await?;
    if stage.options.wants(&[S4]) {
        renewed(stage, report, samples, targets).await?;
    }
    if stage.options.wants(&[S6, S8, S10]) {
        stage.start().await?;
    }
    if stage.options.wants(&[S10]) {
        repair::run(stage, report, &floor).await?;
    }
    if stage.options.wants(&[S6]) {
        arrivals::run(stage, report).await?;
    }
    if stage.options.wants(&[S8]) {
        foreign::run(stage, report).await?;
    }
    Ok(())
}

/// Runs the bare loop beside a scenario, if that is wanted.
async fn beside(
    stage: &mut Stage,
    floor: &mut Floor,
    samples: &Samples,
    (scenario, verb): (Scenario, Verb),
) -> Result<()> {
    if stage.options.wants(&[scenario]) {
        let targets: Vec<_> =
            (0..stage.options.targets).map(|number| (Stage::team(number), other_name(CONNECTION))).collect();
        let writes = targets.len();
        let (wall, cpu) = stage.bare_loop(verb, samples.cluster.clone(), targets).await?;
        floor.add(writes, wall, cpu);
    }
    Ok(())
}

async fn delivery(stage: &mut Stage, report: &mut Report, targets: usize) -> Result<Figures> {
    let measure = Measure::begin(stage)?;
    stage.connect_cluster().await?;
    stage.until_written("create", CONNECTION, targets).await?;
    stage.until_told(targets).await?;
    let title = format!("{ABOUT} to {targets} namespaces, cold: from the creation of the connection");
    let mut figures = measure.end(stage, "S2", &title, targets).await?;
    let cause = stage.window.first(Who::Others, "create", CLUSTER, CONNECTION)?;
    written(stage, &mut figures, "create", cause)?;
    let told = stage.window.last(Who::Operator, "patch", &format!("{CLUSTER}/status"), CONNECTION)?;
    figures.more.insert("ms from the cause to the last status".to_owned(), seconds(cause, told) * 1000.0);
    counted(stage, report, &figures, "create");
    sleep(stage.options.settle).await;
    figures.memory = Some(stage.operator()?.memory()?);
    Ok(figures)
}

async fn renewed(stage: &mut Stage, report: &mut Report, samples: &Samples, targets: usize) -> Result<()> {
    let mut floor = Floor::default();
    beside(stage, &mut floor, samples, (S4, Verb::Put)).await?;
    stage.start().await?;
    let measure = Measure::begin(stage)?;
    stage.request_renewal("once").await?;
    stage.until_written("update", CONNECTION, targets).await?;
    stage.until_told(targets).await?;
    let title = format!("renewal for {targets} namespaces: from the request for it");
    let mut figures = measure.end(stage, "S4", &title, targets).await?;
    let cause = stage.window.first(Who::Others, "patch", CLUSTER, CONNECTION)?;
    written(stage, &mut figures, "update", cause)?;
    counted(stage, report, &figures, "update");
    figures.memory = Some(stage.operator()?.memory()?);
    stage.kill().await?;
    beside(stage, &mut floor, samples, (S4, Verb::Put)).await?;
    figures.beside(&floor);
    report.scenarios.push(figures);
    Ok(())
}

/// Takes down when the Secrets were written.
fn written(stage: &Stage, figures: &mut Figures, verb: &str, cause: jiff::Timestamp) -> Result<()> {
    let first = stage.window.first(Who::Operator, verb, "secrets", CONNECTION)?;
    let last = stage.window.last(Who::Operator, verb, "secrets", CONNECTION)?;
    figures.wall_seconds = Some(seconds(cause, last));
    figures.more.insert("ms from the cause to the first Secret".to_owned(), seconds(cause, first) * 1000.0);
    figures.more.insert("ms from the first Secret to the last".to_owned(), seconds(first, last) * 1000.0);
    Ok(())
}

/// Compares the counts of a delivery or a renewal, which writes Secrets with the first verb and never with the second.
fn counted(stage: &Stage, report: &mut Report, figures: &Figures, verb: &str) {
    let (id, targets) = (&figures.id, figures.targets);
    let count = |verb| stage.window.count(Who::Operator, verb, "secrets", CONNECTION);
    let others = ["create", "update", "patch", "delete"].into_iter().filter(|other| *other != verb).map(count).sum();
    report.checks.extend([
        Check::new(&format!("{id} Secrets: {verb}"), targets..=targets, count(verb)),
        Check::new(&format!("{id} Secrets: any other write"), 0..=0, others),
        Check::new(&format!("{id} ledgers"), LEDGERS, stage.window.ledgers()),
        Check::new(&format!("{id} statuses"), 1..=2, stage.window.statuses(CLUSTER)),
        Check::new(&format!("{id} credentials issued"), 1..=1, figures.calls.mints),
    ]);
}
