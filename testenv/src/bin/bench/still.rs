//! Nothing to do: the idle operator (S5), and one that was killed and comes back (S7).

use anyhow::Result;
use tokio::time::sleep;

use crate::audit::{Who, seconds};
use crate::figures::{Check, Report};
use crate::measure::Measure;
use crate::options::Scenario;
use crate::stage::Stage;

/// Looks at an operator that has nothing to do, if that is wanted. `about` says what it has to keep an eye on.
pub async fn idle(stage: &mut Stage, report: &mut Report, about: &str, targets: usize) -> Result<()> {
    if !stage.options.wants(&[Scenario::S5]) {
        return Ok(());
    }
    let measure = Measure::begin(stage)?;
    sleep(stage.options.idle).await;
    let title = format!("idle for {} s: {about}", stage.options.idle.as_secs());
    let mut figures = measure.close(stage, "S5", &title, targets)?;
    figures.memory = Some(stage.operator()?.memory()?);
    report.checks.push(Check::new(&format!("S5 requests, idle ({about})"), 0..=0, figures.requests.total));
    report.scenarios.push(figures);
    Ok(())
}

/// Kills the operator and starts it again, if that is wanted. It is killed at the end, too: a watch is in the audit log only
/// when it has ended.
pub async fn restart(stage: &mut Stage, report: &mut Report, about: &str, targets: usize) -> Result<()> {
    stage.kill().await?;
    if !stage.options.wants(&[Scenario::S7]) {
        return Ok(());
    }
    let measure = Measure::begin(stage)?;
    let (started, ready_after) = {
        let operator = stage.start_at_once().await?;
        (operator.started, operator.ready_after)
    };
    stage.quiet(Some(Who::Operator)).await?;
    sleep(stage.options.settle.saturating_sub(ready_after)).await;
    let mut figures = measure.close(stage, "S7", &format!("kill -9 and restart: {about}"), targets)?;
    figures.memory = Some(stage.operator()?.memory()?);
    stage.kill().await?;
    figures.requests = stage.window.requests();
    figures.more.insert("ms from start to ready (all lists complete)".to_owned(), ready_after.as_secs_f64() * 1000.0);
    let opened = stage.window.of(Who::Operator).filter(|event| event.verb == "watch");
    if let Some(last) = opened.filter(|event| event.uri.contains("sendInitialEvents")).map(|event| event.received).max()
    {
        figures
            .more
            .insert("ms from start to the request of the last list".to_owned(), seconds(started, last) * 1000.0);
    }
    report.checks.push(Check::new(&format!("S7 writes ({about})"), 0..=0, figures.requests.writes));
    report.scenarios.push(figures);
    Ok(())
}
