//! A random walk of edits by other hands: after every few of them the namespace must look like one that was built from
//! scratch with the same specs and sources.
//!
//! `REGCRED_WALK_SECONDS` says how long it goes on, `REGCRED_WALK_SEED` which way; the seed of a walk is printed.

mod compare;
mod model;
mod step;

use std::{
    collections::BTreeSet,
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use kube::ResourceExt;
use testenv::{Registry, eventually};

use self::{
    compare::{Reference, heal},
    model::{CONNECTIONS, Model, SOURCES, Source},
    step::Step,
};
use crate::scenario::{DEADLINE, Scenario};

/// How long a walk is in `make test`.
const USUAL: Duration = Duration::from_secs(15);

/// How much faster than real time the operator's clock runs: all pauses are over soon, and no refresh comes near in a batch.
const SPEED: u32 = 60;

/// The most steps between two comparisons.
const LONGEST_BATCH: usize = 6;

/// A namespace, its registry, and what users have asked for in it.
pub struct World {
    pub scenario: Scenario,
    pub registry: Registry,
    pub model: Model,
    pub rng: Rng,
    /// How many logins may have been refused by now.
    pub excuses: usize,
    pub started: Instant,
    /// The Secrets that a step took something away from which they are known by.
    pub stripped: BTreeSet<String>,
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|value| value.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_edits_by_other_hands_the_end_is_as_if_built_from_scratch() -> Result<()> {
    let seed = setting("REGCRED_WALK_SEED").unwrap_or_else(|| fastrand::u64(..));
    let length = setting("REGCRED_WALK_SECONDS").map_or(USUAL, Duration::from_secs);
    println!("walk: seed {seed}, {} s", length.as_secs());
    walk(seed, length).await.with_context(|| format!("REGCRED_WALK_SEED={seed}"))
}

async fn walk(seed: u64, length: Duration) -> Result<()> {
    let started = Instant::now();
    let mut scenario = Scenario::prepare("walk").await?;
    scenario.set_speed(SPEED);
    let registry = Registry::start().await?;
    let model = Model::begin();
    registry.set_password(&scenario.namespace, &model.password())?;
    scenario.start_operator().await?;
    let mut world =
        World { scenario, registry, model, rng: Rng::with_seed(seed), excuses: 0, started, stripped: BTreeSet::new() };
    world.model.apply(&world.scenario, &world.registry).await?;
    let (mut batches, mut steps) = (0, 0);
    while started.elapsed() < length {
        let mut batch = vec![];
        for _ in 0..world.rng.usize(1..=LONGEST_BATCH) {
            let step = Step::choose(&mut world);
            batch.push(step.clone());
            step.take(&mut world).await.with_context(|| format!("{batch:?}"))?;
            // Some steps follow at once, some find a pass under way, some an operator at rest.
            let pause = [0, 0, 5, 20, 50, 300][world.rng.usize(0..6)];
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        steps += batch.len();
        batches += 1;
        settle(&mut world).await.with_context(|| format!("batch {batches}: {batch:?}"))?;
        if batches % 50 == 0 {
            println!("walk: {batches} batches, {steps} steps, {} s", started.elapsed().as_secs());
        }
    }
    mend_all(&mut world).await.context("the end")?;
    world.scenario.judge().await?;
    println!("walk: {batches} batches, {steps} steps, all ends as if built from scratch");
    world.scenario.stop_operator().await
}

/// Makes every source right and takes away every other Secret: what nobody wrote or cannot be written now is no matter for
/// the judges.
async fn mend_all(world: &mut World) -> Result<()> {
    for name in SOURCES {
        Step::Write(name, Source::Right).take(world).await?;
    }
    for secret in world.scenario.secrets().list(&Default::default()).await? {
        if !SOURCES.contains(&secret.name_any().as_str()) {
            // The operator may have been quicker.
            drop(world.scenario.delete_secret(&secret.name_any()).await);
        }
    }
    settle(world).await
}

/// Takes away what only time or a user's hand can mend, then compares.
async fn settle(world: &mut World) -> Result<()> {
    world.registry.resume().await?;
    if !world.scenario.has_operator() {
        Step::Start.take(world).await?;
    }
    Step::mend_passwords(world).await?;
    let reference = Reference::build(world).await?;
    eventually("the state of a namespace built from scratch", DEADLINE, async || {
        heal(world).await?;
        reference.compare(world).await.map(Some)
    })
    .await?;
    let failed = world.registry.failed_logins(&world.scenario.namespace)?;
    // A refused login is tried again every 30 minutes.
    let by_time = world.started.elapsed().as_secs() * u64::from(SPEED) / (30 * 60);
    let most = world.excuses + CONNECTIONS.len() * usize::try_from(by_time)?;
    ensure!(failed <= most, "{failed} refused logins, at most {most} are the users'");
    Ok(())
}
