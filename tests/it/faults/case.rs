//! One run of a story with one fault at one request, or with none.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use regcred::{
    api::names::{
        CONNECTION_ANNOTATION, CONNECTION_LABEL, DOCKER_CONFIG_JSON_KEY, DOCKER_CONFIG_JSON_TYPE, MANAGED_BY_LABEL,
        NAMESPACE_ANNOTATION,
    },
    domain::reference::ConnectionReference,
};
use serde_json::{Value, json};
use testenv::{Fault, Faults, Relay, eventually};

use super::{
    operator::{Operator, Shape},
    state::{OF_OTHERS, State, differences, state},
    story::{CONNECTION, Story},
};
use crate::scenario::{DEADLINE, Scenario};

/// By when the operator has tried again what the API server cut short for the first time.
const NEXT_TRY: Duration = Duration::from_millis(1500);

/// How long nothing may be sent after the end without a fault, so that every request was counted.
pub const QUIET: Duration = Duration::from_millis(500);

/// On which way a fault happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Between the operator and the API server.
    Api,
    /// Between the operator and the registry.
    Registry,
}

impl Side {
    /// What can happen to a request there. An API server that cannot be reached shows as one that loses its answers does,
    /// and a registry answers a login neither with 409 nor with 422.
    pub fn faults(self) -> &'static [Fault] {
        use Fault::{Answer, AnswerLost, NotSent, StopAfter, StopBefore};
        match self {
            Self::Api => &[StopBefore, StopAfter, AnswerLost, Answer(409), Answer(422), Answer(429), Answer(500)],
            Self::Registry => &[StopBefore, StopAfter, AnswerLost, NotSent, Answer(429), Answer(500)],
        }
    }
}

/// A fault at one request.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub side: Side,
    /// Which request, from 1.
    pub number: usize,
    pub fault: Fault,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} request {} {}", self.side, self.number, self.fault)
    }
}

/// What a run came to.
pub struct Ran {
    pub namespace: String,
    /// The requests of the part in which faults happen.
    pub api: Vec<String>,
    pub registry: Vec<String>,
    pub state: State,
    /// How many revisions of the credential the statuses named.
    pub revisions: usize,
    /// How long it took, by the operator's clock.
    pub lasted: Duration,
}

/// Runs a story. Without a fault it must end as the story says; with one, in the state of the run without.
pub async fn run(story: &Story, case: Option<(Case, &State)>, shape: Shape) -> Result<Ran> {
    let started = Instant::now();
    let mut scenario = Scenario::prepare(story.prefix().trim_end_matches('-')).await?;
    let relay = Relay::start(&scenario.shared.registry.host()).await?;
    let faults = Faults::new();
    let mut operator = Operator::new(shape, &mut scenario, &faults)?;
    write_foreign(&scenario).await?;
    operator.start(&mut scenario, &faults).await?;
    let spec = spec(&scenario, &relay);
    for step in story.before {
        step.take(&scenario, &spec).await.with_context(|| format!("before: {step:?}"))?;
    }
    at_rest(&scenario).await?;
    let on = |side| match side {
        Side::Api => &faults,
        Side::Registry => relay.faults(),
    };
    faults.count();
    relay.faults().count();
    if let Some((Case { side, number, fault }, _)) = case {
        on(side).arm(number, fault);
    }
    let passes = passes(&scenario).await?;
    for step in story.told {
        step.take(&scenario, &spec).await.with_context(|| format!("told: {step:?}"))?;
    }
    let foreign = versions(&scenario).await?;

    if let Some((Case { side, fault, .. }, _)) = case {
        let met = tokio::time::timeout(DEADLINE, on(side).met()).await.context("there was no such request")?;
        if fault.stops() {
            operator.kill(&mut scenario).await;
            faults.release();
            relay.faults().release();
            operator.start(&mut scenario, &faults).await?;
            scenario.until_all_looked_at().await?;
        } else if story.end.ready.is_some() {
            settled(&scenario, passes).await.with_context(|| format!("after {met}"))?;
        }
    }
    let end = async |scenario: &Scenario| {
        match case {
            None => story.end.check(scenario).await?,
            Some((_, clean)) => {
                let differences = differences(clean, &state(scenario, &relay.host()).await?);
                ensure!(differences.is_empty(), "{differences:?}");
            }
        }
        Ok(())
    };
    eventually("the end", operator.patience(), async || end(&scenario).await.map(Some)).await?;
    at_rest(&scenario).await?;
    if case.is_none() {
        let quiet = scenario.calls.quiet_for(QUIET).await;
        ensure!(quiet.is_ok(), "it went on after the end: {quiet:?}");
    }
    end(&scenario).await.context("it did not stay as it was in the end")?;
    ensure!(versions(&scenario).await? == foreign, "something foreign was written: {foreign:?}");
    scenario.judge().await?;
    let state = state(&scenario, &relay.host()).await?;
    let (api, registry) = match case {
        Some(_) => (vec![], vec![]),
        None => (faults.seen(), relay.faults().seen()),
    };
    let revisions = revisions(&scenario);
    operator.kill(&mut scenario).await;
    let lasted = started.elapsed() * operator.speed();
    Ok(Ran { namespace: scenario.namespace.clone(), api, registry, state, revisions, lasted })
}

fn spec(scenario: &Scenario, relay: &Relay) -> Value {
    let mut spec = scenario.spec_at(&format!("http://{}", relay.host()));
    spec["refreshIntervalMinutes"] = 1440.into();
    spec
}

/// A Secret of somebody's, and a copy of a Secret of ours that was made for another namespace.
async fn write_foreign(scenario: &Scenario) -> Result<()> {
    let reference = ConnectionReference::namespaced(&scenario.namespace, CONNECTION);
    scenario.write_secret("foreign", "Opaque", json!({"key": "value"})).await?;
    let copy: Secret = serde_json::from_value(json!({
        "metadata": {
            "name": "copy",
            "labels": {MANAGED_BY_LABEL: "regcred", CONNECTION_LABEL: reference.label_value()},
            "annotations": {CONNECTION_ANNOTATION: reference.to_string(), NAMESPACE_ANNOTATION: "elsewhere"},
        },
        "type": DOCKER_CONFIG_JSON_TYPE,
        "stringData": {DOCKER_CONFIG_JSON_KEY: r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#},
    }))?;
    scenario.secrets().create(&Default::default(), &copy).await?;
    Ok(())
}

/// The versions of what is not the operator's.
async fn versions(scenario: &Scenario) -> Result<Vec<(String, Option<String>)>> {
    let secrets = scenario.secrets().list(&Default::default()).await?.items;
    let foreign = secrets.iter().filter(|secret| OF_OTHERS.contains(&secret.name_any().as_str()));
    Ok(foreign.map(|secret| (secret.name_any(), secret.resource_version())).collect())
}

/// How many passes were completed and how many were cut short.
pub async fn passes(scenario: &Scenario) -> Result<(f64, f64)> {
    Ok((
        scenario.metric("regcred_reconciles_total{result=\"completed\"}").await?,
        scenario.metric("regcred_reconciles_total{result=\"cut_short\"}").await?,
    ))
}

/// Waits for a pass that was completed, and, if the fault cut one short, for the try after it.
pub async fn settled(scenario: &Scenario, before: (f64, f64)) -> Result<()> {
    let now = eventually("a completed pass", DEADLINE, async || {
        let now = passes(scenario).await?;
        Ok((now.0 > before.0).then_some(now))
    })
    .await?;
    at_rest(scenario).await?;
    if now.1 > before.1 {
        // It may have been the one that was completed; what matters is that the other ways have the time to go wrong.
        let again = async || Ok((passes(scenario).await?.0 > now.0).then_some(()));
        drop(eventually("another pass", NEXT_TRY, again).await);
    }
    Ok(())
}

pub async fn at_rest(scenario: &Scenario) -> Result<()> {
    eventually("the operator to be at rest", DEADLINE, async || {
        Ok((scenario.metric("regcred_reconciles_under_way").await? == 0.0).then_some(()))
    })
    .await
}

fn revisions(scenario: &Scenario) -> usize {
    let seen = scenario.seen.all();
    let mut revisions: Vec<&str> =
        seen.iter().filter_map(|object| object["status"]["credential"]["revision"].as_str()).collect();
    revisions.sort_unstable();
    revisions.dedup();
    revisions.len()
}
