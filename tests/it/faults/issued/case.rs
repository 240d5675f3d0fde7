//! One run of a story with one fault at one request, or with none.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use testenv::{Faults, eventually, namespace};
use tokio::sync::MutexGuard;

use super::{
    account::{Account, Accounts},
    other::Other,
    state::{as_if_controlled, check_target, state},
    story::{Step, Story},
    window::{is_in_window, may_be_control},
};
use crate::{
    faults::{
        case::{Case, QUIET, Side, at_rest, passes, settled},
        operator::is_counted,
        state::{State, differences},
        story::CONNECTION,
    },
    issued::revision,
    scenario::{DEADLINE, Scenario, alone, shared},
};

/// After this time without the request in question it is asked whether the story came to its end without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the end may take to come.
const END: Duration = Duration::from_secs(150);

/// What a run came to.
pub struct Ran {
    /// The requests of the part in which faults happen, to the API server, and to the provider and its registry.
    pub api: Vec<String>,
    pub provider: Vec<String>,
    pub state: State,
    /// How many credentials were issued since the story was told.
    pub issued: usize,
    /// How many work in the end.
    pub alive: usize,
    /// Whether the fault lay between the provider's answer and its record.
    pub is_in_window: bool,
    /// Whether the fault happened; see [`Run::met`].
    pub is_faulty: bool,
    /// How long it took, by the operator's clock.
    pub lasted: Duration,
}

/// A story under way.
struct Run<'a> {
    story: &'a Story,
    case: Option<(Case, &'a Ran)>,
    scenario: Scenario,
    faults: Faults,
    account: Account,
    /// The revision before the story was told.
    before: Option<String>,
    /// Whether the fault lay between the provider's answer and its record.
    is_in_window: bool,
    /// Whether the fault may have kept a control from its answer: nothing is proven then, as src/registry/control.rs says.
    is_uncontrolled: bool,
    is_faulty: bool,
}

/// Runs a story. Without a fault it must end as the story says; with one, in the state of the run without.
pub async fn run(story: &Story, case: Option<(Case, &Ran)>, accounts: &Accounts) -> Result<Ran> {
    let started = Instant::now();
    let faults = Faults::new();
    let (mut scenario, _turn) = prepare(story, &faults).await?;
    scenario.start_operator().await?;
    let mut others = vec![];
    for _ in 1..story.operators {
        others.push(Other::start(&scenario).await?);
    }
    let clock = scenario.clock.clone().context("no clock")?;
    let account = accounts.take(&clock).await?;
    let mut run = Run {
        story,
        case,
        scenario,
        faults,
        account,
        before: None,
        is_in_window: false,
        is_uncontrolled: false,
        is_faulty: false,
    };
    run.take(story.before).await.context("before")?;
    at_rest(&run.scenario).await?;
    drop(run.scenario.calls.quiet_for(QUIET / 5).await);
    let connection = run.scenario.connections().get_opt(CONNECTION).await?;
    run.before = connection.as_ref().and_then(revision).map(str::to_owned);
    let issued = run.account.issued();
    run.tell().await?;
    if story.after.is_empty() || case.is_none() {
        eventually("the end", END, async || run.end().await.map(Some)).await?;
        at_rest(&run.scenario).await?;
    }
    if case.is_none() {
        // Of two, the one that came second tries again.
        eventually("nothing more to be sent", END, async || Ok(run.is_quiet().await.then_some(()))).await?;
    }
    let (api, provider) = (run.faults.seen(), run.account.faults.seen());
    run.take(story.after).await.context("after")?;
    eventually("the end", END, async || run.end().await.map(Some)).await?;
    at_rest(&run.scenario).await?;
    run.end().await.context("it did not stay as it was in the end")?;
    check_target(&run.scenario, &run.account).await?;
    run.scenario.judge().await?;
    if case.is_none_or(|(case, _)| case.fault.stops()) {
        if !others.is_empty() {
            // One that came second tries the login that the first one delivered.
            eventually("the others to be done", END, async || Ok(run.is_quiet().await.then_some(()))).await?;
            others.clear();
        }
        run.nothing_again().await?;
    }
    let ran = Ran {
        api,
        provider,
        state: state(&run.scenario, &run.account, run.before.as_deref()).await?,
        issued: run.account.issued() - issued,
        alive: run.account.alive(),
        is_in_window: run.is_in_window,
        is_faulty: run.is_faulty,
        lasted: started.elapsed() * story.provider.speed(),
    };
    run.scenario.kill_operator().await;
    drop(others);
    accounts.give_back(run.account);
    Ok(ran)
}

impl Run<'_> {
    async fn take(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            step.take(&self.scenario, &self.account).await.with_context(|| format!("{step:?}"))?;
        }
        Ok(())
    }

    /// Tells the story, lets the fault happen, and starts the operator again if it was stopped.
    async fn tell(&mut self) -> Result<()> {
        self.faults.count();
        self.account.faults.count();
        if let Some((Case { side, number, fault }, _)) = self.case {
            self.on(side).arm(number, fault);
        }
        let passes = passes(&self.scenario).await?;
        self.take(self.story.told).await.context("told")?;
        let Some((case, _)) = self.case else { return Ok(()) };
        let Some(met) = self.met(case.side).await? else { return Ok(()) };
        self.is_faulty = true;
        let seen = self.on(case.side).seen();
        let seen = &seen[..case.number.min(seen.len())];
        self.is_in_window = is_in_window(self.story, case, seen);
        self.is_uncontrolled = may_be_control(self.story, case.side, seen);
        if case.fault.stops() {
            self.scenario.tried_again += 1;
            self.scenario.kill_operator().await;
            self.faults.release();
            self.account.faults.release();
            self.scenario.start_operator().await?;
            self.scenario.until_all_looked_at().await?;
        } else if self.story.end.ready.is_some() {
            settled(&self.scenario, passes).await.with_context(|| format!("after {met}"))?;
        }
        Ok(())
    }

    /// The request that met with the fault; none if the story came to its end with fewer requests. Which of two operators does
    /// what is not up to us, nor how often one that is woken by time looks into its ledger.
    async fn met(&self, side: Side) -> Result<Option<String>> {
        let faults = self.on(side);
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            if let Ok(met) = tokio::time::timeout(PATIENCE, faults.met()).await {
                return Ok(Some(met));
            }
            // What is found only later does not keep anybody from ending.
            let has_ended = !self.story.after.is_empty() || self.end().await.is_ok();
            if has_ended && self.is_quiet().await && faults.disarm() {
                return Ok(None);
            }
        }
        bail!("there was no such request, and no end: {:?}", self.end().await)
    }

    /// Whether it is as it must be in the end.
    async fn end(&self) -> Result<()> {
        if self.story.end.is_told {
            ensure!(!self.scenario.told("NotRevoked").await?.is_empty(), "no event says what could not be revoked");
        }
        let before = self.before.as_deref();
        let Some((_, clean)) = self.case else {
            return self.story.end.check(&self.scenario, &self.account, before).await;
        };
        let mut found = state(&self.scenario, &self.account, before).await?;
        if self.is_uncontrolled {
            found = as_if_controlled(found, &clean.state);
        }
        let differences = differences(&clean.state, &found);
        ensure!(differences.is_empty(), "{differences:?}");
        // What nobody wrote down works on, where nobody can find it.
        let leaked = usize::from(self.is_in_window && !self.story.provider.lists());
        let (alive, most) = (self.account.alive(), clean.alive + leaked);
        ensure!(alive >= clean.alive && alive <= most, "{alive} credentials work instead of {}", clean.alive);
        Ok(())
    }

    async fn is_quiet(&self) -> bool {
        self.scenario.calls.quiet_for(QUIET).await.is_ok()
    }

    /// A fresh operator that finds everything done writes nothing, and asks the provider for nothing.
    async fn nothing_again(&mut self) -> Result<()> {
        self.no_refresh_is_near().await?;
        self.scenario.kill_operator().await;
        self.faults.count();
        self.account.faults.count();
        self.scenario.start_operator().await?;
        self.scenario.until_all_looked_at().await?;
        at_rest(&self.scenario).await?;
        let is_write = |words: &&String| !["get ", "list "].iter().any(|verb| words.starts_with(verb));
        let (api, provider) = (self.faults.seen(), self.account.faults.seen());
        let writes: Vec<&String> = api.iter().filter(is_write).chain(&provider).collect();
        ensure!(writes.is_empty(), "a fresh operator at rest did {writes:?}");
        Ok(())
    }

    /// Waits for a refresh that would come while a fresh operator is looked at.
    async fn no_refresh_is_near(&self) -> Result<()> {
        let clock = self.scenario.clock.as_ref().context("no clock")?;
        let time = Duration::from_secs(10) * self.story.provider.speed();
        eventually("no refresh to be near", END, async || {
            let connection = self.scenario.connections().get_opt(CONNECTION).await?;
            let next = connection.and_then(|connection| connection.status?.next_refresh_at);
            Ok(next.is_none_or(|next| next.0 > clock.now() + time).then_some(()))
        })
        .await
    }

    fn on(&self, side: Side) -> &Faults {
        match side {
            Side::Api => &self.faults,
            Side::Registry => &self.account.faults,
        }
    }
}

async fn prepare(story: &Story, faults: &Faults) -> Result<(Scenario, Option<MutexGuard<'static, ()>>)> {
    let (shared, turn) = match story.is_alone {
        false => (shared().await?, None),
        true => alone().await.map(|(shared, turn)| (shared, Some(turn)))?,
    };
    let mut scenario = Scenario::prepare_on(shared, &story.prefix()).await?;
    scenario.faults = Some((faults.clone(), is_counted));
    scenario.set_speed(story.provider.speed());
    if story.is_alone {
        scenario.confined = &[];
        scenario.arguments.namespace = namespace(&scenario.client, "regcred-system").await?;
    } else {
        // Each operator sees one namespace, so that is where its ledgers are.
        scenario.arguments.namespace.clone_from(&scenario.namespace);
    }
    scenario.arguments.revocation_grace = story.grace;
    Ok((scenario, turn))
}
