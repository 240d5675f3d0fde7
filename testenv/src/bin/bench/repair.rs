//! Targets that others take away or change (S10).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use testenv::audit::AuditEvent;

use crate::audit::{Who, seconds};
use crate::cluster::{CONNECTION, each};
use crate::figures::{Check, Figures, Latency, Report};
use crate::floor::Floor;
use crate::measure::Measure;
use crate::stage::Stage;

/// One in so many is edited.
const EDITED: usize = 10;

/// `{"auths":{}}`: a docker config without any login, in base64.
const EMPTY: &str = "eyJhdXRocyI6e319";

/// Runs it, beside the floor of the delivery.
pub async fn run(stage: &mut Stage, report: &mut Report, floor: &Floor) -> Result<()> {
    let targets = stage.options.targets;
    let measure = Measure::begin(stage)?;
    each(0..targets, async |number| {
        let secrets = stage.secrets(&Stage::team(number));
        secrets.delete(CONNECTION, &DeleteParams::default()).await.map(drop).context("delete a target")
    })
    .await?;
    stage.until_written("create", CONNECTION, targets).await?;
    let mut figures = measure.end(stage, "S10", &format!("all {targets} Secrets deleted"), targets).await?;
    repaired(stage, &mut figures, "delete", "create")?;
    figures.beside(floor);
    let created = stage.window.count(Who::Operator, "create", "secrets", CONNECTION);
    report.checks.push(Check::new("S10 Secrets created anew", targets..=targets, created));
    report.scenarios.push(figures);

    let edited = targets.div_ceil(EDITED);
    let measure = Measure::begin(stage)?;
    each((0..targets).step_by(EDITED), async |number| {
        let patch = Patch::Merge(json!({"data": {".dockerconfigjson": EMPTY}}));
        let secrets = stage.secrets(&Stage::team(number));
        secrets.patch(CONNECTION, &PatchParams::default(), &patch).await.map(drop).context("edit a target")
    })
    .await?;
    stage.until_written("patch", CONNECTION, edited).await?;
    let mut figures = measure.end(stage, "S10", &format!("the data of {edited} Secrets edited"), edited).await?;
    repaired(stage, &mut figures, "patch", "patch")?;
    let changed = stage.window.count(Who::Operator, "patch", "secrets", CONNECTION);
    report.checks.push(Check::new("S10 Secrets restored", edited..=edited, changed));
    report.scenarios.push(figures);
    Ok(())
}

/// Takes down how long it took, all in all and for each.
fn repaired(stage: &Stage, figures: &mut Figures, harm: &str, repair: &str) -> Result<()> {
    let window = &stage.window;
    let first = window.first(Who::Others, harm, "secrets", CONNECTION)?;
    figures.wall_seconds = Some(seconds(first, window.last(Who::Operator, repair, "secrets", CONNECTION)?));
    let harmed = times(window.done(Who::Others, harm, "secrets", CONNECTION));
    let repaired = times(window.done(Who::Operator, repair, "secrets", CONNECTION));
    let both = harmed.iter().filter_map(|(namespace, from)| Some(seconds(*from, *repaired.get(namespace)?)));
    figures.latencies.push(Latency::new(&format!("{harm} answered until {repair} answered"), both.collect()));
    Ok(())
}

/// When each namespace's request was answered.
pub fn times<'a>(events: impl Iterator<Item = &'a AuditEvent>) -> BTreeMap<String, Timestamp> {
    events.map(|event| (event.object_ref.namespace.clone(), event.answered)).collect()
}
