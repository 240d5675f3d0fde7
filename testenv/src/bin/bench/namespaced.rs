//! Many connections of namespaces (S1), idle (S5) and after a restart (S7).

use anyhow::Result;

use crate::audit::{Who, seconds};
use crate::cluster::{EACH, IMAGES, NAMESPACED, each};
use crate::figures::{Check, Report};
use crate::floor::{Floor, Verb};
use crate::measure::{Measure, Samples};
use crate::options::Scenario;
use crate::sample::other_name;
use crate::stage::Stage;
use crate::still;

const ABOUT: &str = "connections of namespaces";

/// Runs what is wanted of it.
pub async fn run(stage: &mut Stage, report: &mut Report, samples: &Samples) -> Result<()> {
    let tenants = stage.options.targets.div_ceil(EACH);
    let targets = tenants * EACH;
    each(0..tenants, async |number| stage.create_tenant(tenant(number), EACH).await).await?;
    let mut floor = Floor::default();
    beside(stage, &mut floor, samples, tenants).await?;
    delivery(stage, report, targets).await?;
    let measured = report.scenarios.len() - 1;
    still::idle(stage, report, ABOUT, targets).await?;
    stage.kill().await?;
    beside(stage, &mut floor, samples, tenants).await?;
    report.scenarios[measured].beside(&floor);
    still::restart(stage, report, ABOUT, targets).await
}

fn tenant(number: usize) -> String {
    format!("tenant-{number:05}")
}

async fn beside(stage: &mut Stage, floor: &mut Floor, samples: &Samples, tenants: usize) -> Result<()> {
    if stage.options.wants(&[Scenario::S1]) {
        let names = |number| (0..EACH).map(move |one| (tenant(number), other_name(&format!("{IMAGES}{one}"))));
        let targets: Vec<_> = (0..tenants).flat_map(names).collect();
        let writes = targets.len();
        let (wall, cpu) = stage.bare_loop(Verb::Post, samples.namespaced.clone(), targets).await?;
        floor.add(writes, wall, cpu);
    }
    Ok(())
}

async fn delivery(stage: &mut Stage, report: &mut Report, targets: usize) -> Result<()> {
    let name = format!("{IMAGES}*");
    let measure = Measure::begin(stage)?;
    stage.start_at_once().await?;
    stage.until_written("create", &name, targets).await?;
    let title = format!("{targets} {ABOUT}, {EACH} in each, cold: from the start of the process");
    let mut figures = measure.end(stage, "S1", &title, targets).await?;
    let operator = stage.operator()?;
    let since = |moment| seconds(operator.started, moment);
    let more = [
        ("ms from start to ready (all lists complete)", Some(operator.ready_after.as_secs_f64())),
        ("ms from start to the first write", stage.window.first_write().map(since)),
        ("ms from start to the last request", stage.window.last_work(Some(Who::Operator)).map(since)),
    ];
    let more = more.into_iter().filter_map(|(what, seconds)| Some((what.to_owned(), seconds? * 1000.0)));
    figures.more.extend(more);
    figures.wall_seconds = Some(since(stage.window.last(Who::Operator, "create", "secrets", &name)?));
    let created = stage.window.count(Who::Operator, "create", "secrets", &name);
    let others = ["patch", "update", "delete"].map(|verb| stage.window.count(Who::Operator, verb, "secrets", ""));
    report.checks.extend([
        Check::new("S1 Secrets created", targets..=targets, created),
        Check::new("S1 Secrets changed or deleted", 0..=0, others.iter().sum()),
        Check::new("S1 statuses", targets..=2 * targets, stage.window.statuses(NAMESPACED)),
        Check::new("S1 connections that are ready", targets..=targets, stage.ready_connections().await?),
    ]);
    tokio::time::sleep(stage.options.settle).await;
    figures.memory = Some(stage.operator()?.memory()?);
    report.scenarios.push(figures);
    Ok(())
}
