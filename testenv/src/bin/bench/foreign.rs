//! Secrets of others, small and large, that come, change and go (S8).

use anyhow::{Context as _, Result};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::audit::Who;
use crate::cluster::each;
use crate::figures::{Check, Report};
use crate::measure::Measure;
use crate::stage::Stage;

/// How many there are for each target.
const EACH: usize = 3;

/// One in so many is large.
const LARGE: usize = 100;

/// How many bytes of data a Secret has, a small and a large one. The API server takes a little more than the latter.
const BYTES: (usize, usize) = (1_000, 1_000_000);

/// How many namespaces they are spread over.
const NAMESPACES: usize = 10;

/// Runs it.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for number in 0..NAMESPACES {
        stage.create_namespace(namespace(number), false).await?;
    }
    stage.quiet(Some(Who::Operator)).await?;
    let count = EACH * stage.options.targets;
    step(stage, report, "created", async |stage, number| {
        let length = if number % LARGE == 0 { BYTES.1 } else { BYTES.0 };
        let object = json!({"metadata": {"name": name(number)}, "stringData": {"data": "x".repeat(length)}});
        stage.write_secret(&namespace(number), object).await
    })
    .await?;
    step(stage, report, "relabelled", async |stage, number| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"team": "other"}}}));
        let secrets = stage.secrets(&namespace(number));
        secrets.patch(&name(number), &PatchParams::default(), &patch).await.map(drop).context("relabel a Secret")
    })
    .await?;
    step(stage, report, "deleted", async |stage, number| {
        let secrets = stage.secrets(&namespace(number));
        secrets.delete(&name(number), &DeleteParams::default()).await.map(drop).context("delete a Secret")
    })
    .await?;
    let asked = report.scenarios.iter().rev().take(3).map(|figures| figures.requests.total).sum();
    report.checks.push(Check::new(&format!("S8 requests about {count} foreign Secrets"), 0..=0, asked));
    Ok(())
}

/// Does one thing to all of them, and looks at the operator's memory before and afterwards.
async fn step(
    stage: &mut Stage,
    report: &mut Report,
    what: &str,
    work: impl AsyncFn(&Stage, usize) -> Result<()>,
) -> Result<()> {
    let count = EACH * stage.options.targets;
    let before = stage.operator()?.memory()?;
    let measure = Measure::begin(stage)?;
    {
        let stage = &*stage;
        each(0..count, async |number| work(stage, number).await).await?;
    }
    let mut figures = measure.end(stage, "S8", &format!("{count} foreign Secrets {what}"), count).await?;
    let after = stage.operator()?.memory()?;
    figures.more.insert("MB resident memory before".to_owned(), before.resident_mb);
    figures.more.insert("MB more resident memory".to_owned(), after.resident_mb - before.resident_mb);
    figures.memory = Some(after);
    report.scenarios.push(figures);
    Ok(())
}

fn namespace(number: usize) -> String {
    format!("foreign-{}", number % NAMESPACES)
}

fn name(number: usize) -> String {
    format!("other-{number:06}")
}
