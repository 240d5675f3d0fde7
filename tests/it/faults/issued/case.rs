//! One run of a story with one fault at one request, or with none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt;
use jiff::SignedDuration;
use regcred::{api::names::LEDGER_PREFIX, run::Outside};
use testenv::{Fault, Faults, eventually};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    account::{Account, Accounts, Provider},
    state::{check_target, state},
    story::Story,
};
use crate::{
    faults::{
        case::{Case, QUIET, Side, at_rest, passes, settled},
        operator::is_counted,
        state::{State, differences},
        story::CONNECTION,
    },
    issued::revision,
    scenario::{DEADLINE, Scenario},
};

/// How long a request may be awaited that need not come: which of two operators does what is not up to us.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the end may take to come.
const END: Duration = Duration::from_secs(45);

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
    /// How long it took, by the operator's clock.
    pub lasted: Duration,
}

/// The faults of an issued credential's stories: every other one shows as one of these, or is met by the stories of credentials
/// that are given.
const FAULTS: [Fault; 4] = [Fault::StopBefore, Fault::StopAfter, Fault::AnswerLost, Fault::Answer(500)];

/// What can happen to a request, in words, that has others before it. Whoever is stopped at one that changes nothing leaves
/// what the one before it left; and whether no answer comes or one that says nothing is the same to who only asks.
pub fn faults(provider: Provider, side: Side, requests: &[String], number: usize) -> &'static [Fault] {
    let words = &requests[number - 1];
    let is_anybody = |words: &str| words.contains("client_id") && !words.ends_with(" login");
    let is_control = is_anybody(words) || requests[..number - 1].last().is_some_and(|before| is_anybody(before));
    let has_effect = match side {
        Side::Api => !["get ", "list ", "create events"].iter().any(|verb| words.starts_with(verb)),
        Side::Registry => provider.is_mint(words) || !words.starts_with("GET ") || words.contains("client_id"),
    };
    match (has_effect, number) {
        // A control without an answer is never repeated, and leaves a credential that is not proven (src/registry/control.rs).
        _ if side == Side::Registry && is_control => &FAULTS[..2],
        (true, _) => &FAULTS,
        (false, 1) => &[Fault::StopBefore, Fault::Answer(500)],
        (false, _) => &FAULTS[3..],
    }
}

/// Whether a request to the API server, in words, changes a ledger.
fn is_record(words: &str) -> bool {
    words.starts_with(&format!("patch secrets {LEDGER_PREFIX}"))
}

/// Whether a fault lies between the provider's answer and its record; `seen` ends with the request that met with it.
fn is_in_window(story: &Story, case: Case, seen: &[String]) -> bool {
    let Some(words) = seen.last() else { return false };
    if story.operators > 1 && case.fault.stops() {
        // Which of the two was about to write, and for the how manieth time, is not up to us.
        return true;
    }
    match (case.side, case.fault) {
        (Side::Registry, Fault::StopAfter | Fault::AnswerLost) => story.provider.is_mint(words),
        (Side::Api, Fault::StopBefore) => {
            // The first Secret created is the ledger where there is none.
            let first = seen.iter().position(|words| words == "create secrets").filter(|_| !story.has_ledger);
            let is_record = |(at, words): &(usize, &String)| is_record(words) || first == Some(*at);
            let records = seen.iter().enumerate().filter(is_record).count();
            is_record(&(seen.len() - 1, words)) && records == story.provider.record()
        }
        (
            Side::Api | Side::Registry,
            Fault::StopBefore
            | Fault::StopAfter
            | Fault::AnswerLost
            | Fault::NotSent
            | Fault::NeverAnswered
            | Fault::Answer(_),
        ) => false,
    }
}

/// Runs a story. Without a fault it must end as the story says; with one, in the state of the run without.
pub async fn run(story: &Story, case: Option<(Case, &Ran)>, accounts: &Accounts) -> Result<Ran> {
    let started = Instant::now();
    let faults = Faults::new();
    let mut scenario = prepare(story, &faults).await?;
    scenario.start_operator().await?;
    let mut others = vec![];
    for _ in 1..story.operators {
        others.push(Other::start(&scenario).await?);
    }
    let clock = scenario.clock.clone().context("no clock")?;
    let account = accounts.take(clock.now()).await?;
    for step in story.before {
        step.take(&scenario, &account).await.with_context(|| format!("before: {step:?}"))?;
    }
    at_rest(&scenario).await?;
    drop(scenario.calls.quiet_for(QUIET / 5).await);
    let connection = scenario.connections().get_opt(CONNECTION).await?;
    let before = connection.as_ref().and_then(revision).map(str::to_owned);
    let before = before.as_deref();
    let issued = account.issued();
    let on = |side| match side {
        Side::Api => &faults,
        Side::Registry => &account.faults,
    };
    faults.count();
    account.faults.count();
    if let Some((Case { side, number, fault }, _)) = case {
        on(side).arm(number, fault);
    }
    let passes = passes(&scenario).await?;
    for step in story.told {
        step.take(&scenario, &account).await.with_context(|| format!("told: {step:?}"))?;
    }

    let mut window = false;
    if let Some((case, _)) = case {
        let patience = if story.operators == 1 { DEADLINE } else { PATIENCE };
        match tokio::time::timeout(patience, on(case.side).met()).await {
            Ok(met) => {
                let seen = on(case.side).seen();
                window = is_in_window(story, case, &seen[..case.number.min(seen.len())]);
                if case.fault.stops() {
                    scenario.tried_again += 1;
                    scenario.kill_operator().await;
                    faults.release();
                    account.faults.release();
                    scenario.start_operator().await?;
                    scenario.until_all_looked_at().await?;
                } else if story.end.ready.is_some() {
                    settled(&scenario, passes).await.with_context(|| format!("after {met}"))?;
                }
            }
            Err(_) => {
                ensure!(story.operators > 1, "there was no such request");
                // Nor may our own requests meet with it.
                on(case.side).disarm();
            }
        }
    }
    // What nobody wrote down works on, where nobody can find it.
    let leaked = usize::from(window && !story.provider.lists());
    let end = async || match case {
        None => story.end.check(&scenario, &account, before).await,
        Some((_, clean)) => {
            let differences = differences(&clean.state, &state(&scenario, &account, before).await?);
            ensure!(differences.is_empty(), "{differences:?}");
            let (alive, most) = (account.alive(), clean.alive + leaked);
            ensure!(alive >= clean.alive && alive <= most, "{alive} credentials work instead of {}", clean.alive);
            Ok(())
        }
    };
    let (api, provider);
    if story.after.is_empty() || case.is_none() {
        eventually("the end", END, async || end().await.map(Some)).await?;
        at_rest(&scenario).await?;
    }
    if case.is_none() && story.operators == 1 {
        let quiet = scenario.calls.quiet_for(QUIET).await;
        ensure!(quiet.is_ok(), "it went on after the end: {quiet:?}");
    } else if case.is_none() {
        // Whoever came second tries again.
        let quiet = async || Ok(scenario.calls.quiet_for(QUIET).await.ok());
        eventually("nothing more to be sent", END, quiet).await?;
    }
    (api, provider) = (faults.seen(), account.faults.seen());
    for step in story.after {
        step.take(&scenario, &account).await.with_context(|| format!("after: {step:?}"))?;
    }
    eventually("the end", END, async || end().await.map(Some)).await?;
    at_rest(&scenario).await?;
    end().await.context("it did not stay as it was in the end")?;
    check_target(&scenario, &account).await?;
    scenario.judge().await?;
    if case.is_none_or(|(case, _)| case.fault.stops()) {
        nothing_again(&mut scenario, &faults, &account).await?;
    }
    let state = state(&scenario, &account, before).await?;
    let ran = Ran {
        api,
        provider,
        state,
        issued: account.issued() - issued,
        alive: account.alive(),
        is_in_window: window,
        lasted: started.elapsed() * story.provider.speed(),
    };
    scenario.kill_operator().await;
    drop(others);
    accounts.give_back(account);
    Ok(ran)
}

async fn prepare(story: &Story, faults: &Faults) -> Result<Scenario> {
    let mut scenario = Scenario::prepare(&story.prefix()).await?;
    scenario.faults = Some((faults.clone(), is_counted));
    scenario.set_speed(story.provider.speed());
    // Each operator sees one namespace, so that is where its ledgers are.
    scenario.arguments.namespace.clone_from(&scenario.namespace);
    scenario.arguments.revocation_grace = SignedDuration::from_mins(1);
    Ok(scenario)
}

/// A fresh operator that finds everything done writes nothing, and asks the provider for nothing.
async fn nothing_again(scenario: &mut Scenario, faults: &Faults, account: &Account) -> Result<()> {
    scenario.kill_operator().await;
    faults.count();
    account.faults.count();
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;
    at_rest(scenario).await?;
    let is_write = |words: &&String| !["get ", "list "].iter().any(|verb| words.starts_with(verb));
    let (api, provider) = (faults.seen(), account.faults.seen());
    let writes: Vec<&String> = api.iter().filter(is_write).chain(&provider).collect();
    ensure!(writes.is_empty(), "a fresh operator at rest did {writes:?}");
    Ok(())
}

/// One more operator, of which the first one knows nothing. It ends when it is dropped.
struct Other {
    task: JoinHandle<Result<()>>,
}

impl Other {
    async fn start(scenario: &Scenario) -> Result<Self> {
        let config = scenario.shared.plane.config();
        let (confined, calls) = (&testenv::client::CONFINED, &scenario.calls);
        let client = testenv::client::confined_client(config, &scenario.namespace, confined, calls)?;
        let clock = scenario.clock.as_ref().context("no clock")?.of_successor();
        let outside = Outside { api_server: vec![scenario.api_server()?], lookup: scenario.names.clone() };
        let context = Arc::new(regcred::run::context(client, &scenario.arguments, clock, outside)?);
        let listener = TcpListener::bind(scenario.arguments.metrics_addr).await?;
        let shutdown = futures::future::pending().boxed().shared();
        let task = tokio::spawn(regcred::run::run(Arc::clone(&context), listener, shutdown));
        eventually("the other operator to be synced", DEADLINE, async || Ok(context.index.is_synced().then_some(())))
            .await?;
        Ok(Self { task })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.task.abort();
    }
}
