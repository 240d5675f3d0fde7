//! Sets up the cases of a test, all at once, and judges each by what the operator says and by what the listeners heard.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{Api, ResourceExt};
use regcred::api::{Reason, RegistryConnection};
use serde_json::Value;
use testenv::{Listener, certificates::Authority, eventually};

use super::{
    MARKER,
    case::{ApiServer, Case, Outcome},
    log,
    reply::is_first,
    stage::{Stage, World},
};
use crate::scenario::{DEADLINE, PASSWORD, Scenario, is_ready};

/// The cases of one test, set up.
pub struct Court {
    pub world: World,
    trials: Vec<Trial>,
    /// Logins that were let through to where they belong.
    seen: usize,
}

/// A case that is set up, and what was counted before its present step.
pub struct Trial {
    pub case: Case,
    pub stage: Stage,
    before: Counts,
    /// The Secret that was delivered, which nothing that happens later may touch.
    delivered: Option<Secret>,
}

/// What a listener of one's own has counted.
#[derive(Clone, Copy, Default)]
struct Counts {
    logins: usize,
    tests: usize,
}

impl Court {
    /// Sets up the cases and creates their connections. The operator may run or not.
    pub async fn open(scenario: &Scenario, cases: Vec<Case>) -> Result<Self> {
        log::read();
        let authority = Authority::new()?;
        scenario.write_login("login", PASSWORD).await?;
        scenario.write_authority("authority", authority.certificate()).await?;
        let world = World {
            names: scenario.names.clone(),
            user: scenario.namespace.clone(),
            authority,
            api_server: scenario.api_server()?,
            turned: Arc::default(),
        };
        let trials: Result<Vec<Trial>> = cases
            .into_iter()
            .map(|case| {
                let stage = case.stage(&world).context(case.name)?;
                Ok(Trial { case, stage, before: Counts::default(), delivered: None })
            })
            .collect();
        let court = Self { world, trials: trials?, seen: 0 };
        for trial in &court.trials {
            let created = scenario.connect(trial.case.name, trial.stage.spec.clone()).await;
            created.context(trial.case.name)?;
        }
        Ok(court)
    }

    /// The listeners that the operator takes for the API server.
    pub fn api_servers(&self) -> Vec<SocketAddr> {
        let listener = |trial: &Trial| {
            Some(match trial.case.api_server? {
                ApiServer::Registry => trial.stage.registry.address(),
                ApiServer::Foreign => trial.stage.foreign.address(),
            })
        };
        self.trials.iter().filter_map(listener).collect()
    }

    /// Waits for the first outcome of every case and judges it.
    pub async fn judge_first(&mut self, scenario: &Scenario) -> Result<()> {
        self.judge(scenario, |case| Some(&case.first)).await
    }

    /// Deletes the connections of those cases after which nothing follows.
    pub async fn dismiss_the_settled(&mut self, scenario: &Scenario) -> Result<()> {
        for trial in self.trials.extract_if(.., |trial| trial.case.then.is_none()) {
            scenario.connections().delete(trial.case.name, &Default::default()).await?;
        }
        Ok(())
    }

    /// Makes the changes that follow, and judges what comes of them.
    pub async fn judge_then(&mut self, scenario: &Scenario) -> Result<()> {
        for trial in &self.trials {
            if let Some((patch, _)) = &trial.case.then {
                let patch = trial.stage.filled(patch);
                if patch != Value::Null {
                    scenario.edit(trial.case.name, patch).await.context(trial.case.name)?;
                }
            }
        }
        self.judge(scenario, |case| case.then.as_ref().map(|(_, outcome)| outcome)).await
    }

    /// The end: the harness is worth something only if a login came through somewhere. The restarted operator tries again
    /// what came to no verdict, and no foreign listener hears of that either.
    pub async fn close(self, mut scenario: Scenario) -> Result<()> {
        ensure!(self.seen > 0, "no login was ever heard: this harness proves nothing");
        ensure!(log::read().changes() > 0, "nothing was logged: this harness proves nothing");
        // So that it sees the same as the one before, which must not look any more.
        scenario.stop_operator().await?;
        for trial in self.trials.iter().filter(|trial| trial.case.then.is_none()) {
            trial.case.name_listeners(&self.world, &trial.stage);
        }
        scenario.finish().await?;
        for trial in &self.trials {
            trial.heard_nothing_foreign(trial.case.last()).context(trial.case.name)?;
        }
        no_leaks()
    }

    async fn judge(&mut self, scenario: &Scenario, outcome: impl Fn(&Case) -> Option<&Outcome>) -> Result<()> {
        let wanted: Vec<(&'static str, Outcome)> =
            self.trials.iter().filter_map(|trial| Some((trial.case.name, outcome(&trial.case)?.clone()))).collect();
        let connections = connections(scenario, &wanted).await?;
        let events = events(scenario, &wanted).await?;
        ensure!(!events.contains(MARKER), "an event says what a server said: {events}");
        ensure!(!events.contains(PASSWORD), "an event holds the password");
        no_leaks()?;
        for trial in &mut self.trials {
            let Some(outcome) = outcome(&trial.case).cloned() else { continue };
            let name = trial.case.name;
            let connection = connections.iter().find(|one| one.name_any() == name).context("gone")?;
            says(connection, &outcome).context(name)?;
            let target = scenario.secrets().get_opt(name).await?;
            let must_be = trial.delivered.is_some() || outcome.ready == "True";
            ensure!(target.is_some() == must_be, "{name}: a Secret that must not be, or none");
            ensure!(trial.delivered.is_none() || trial.delivered == target, "{name}: the Secret was touched");
            trial.delivered = target;
            self.seen += trial.heard(&outcome).context(name)?;
        }
        Ok(())
    }
}

impl Trial {
    /// Judges what the listeners heard, and returns how many logins.
    fn heard(&mut self, outcome: &Outcome) -> Result<usize> {
        let registry = &self.stage.registry;
        self.heard_nothing_foreign(outcome)?;
        if self.case.is_out_of_reach && outcome.ready == "False" {
            ensure!(registry.connections() == 0, "the registry was connected to");
        }
        let now = self.count(outcome.told);
        let (logins, tests) = (now.logins - self.before.logins, now.tests - self.before.tests);
        self.before = now;
        // What came to no verdict may have been tried again by now.
        let expected = outcome.logins..=outcome.logins * tests.max(1);
        ensure!(expected.contains(&logins), "{logins} logins in {tests} tests, not {expected:?}");
        let were_told = self.was_told(registry) || self.was_told(&self.stage.foreign);
        ensure!(logins == 0 || were_told, "the listeners do not know what they heard");
        ensure!(now.logins > 0 || !self.was_told(registry), "the registry heard a login that is none");
        Ok(logins)
    }

    /// The foreign listener heard no login, unless it is trusted now: then it has heard it.
    fn heard_nothing_foreign(&self, outcome: &Outcome) -> Result<()> {
        let foreign = &self.stage.foreign;
        if outcome.told {
            ensure!(self.was_told(foreign), "the trusted listener heard no login");
        } else if self.case.is_visited {
            ensure!(!self.was_told(foreign), "the foreign listener heard the login");
            ensure!(foreign.requests().is_empty(), "the foreign listener heard a request");
        } else {
            ensure!(foreign.connections() == 0, "the foreign listener was connected to");
        }
        Ok(())
    }

    fn was_told(&self, listener: &Listener) -> bool {
        listener.was_told(PASSWORD) || listener.was_told(&self.stage.pair())
    }

    fn count(&self, with_foreign: bool) -> Counts {
        let mut requests = self.stage.registry.requests();
        let tests = requests.iter().filter(|seen| is_first(seen)).count();
        if with_foreign {
            requests.extend(self.stage.foreign.requests());
        }
        Counts { tests, logins: requests.iter().filter(|seen| self.stage.is_login(seen)).count() }
    }
}

/// Judges the log of this whole process.
fn no_leaks() -> Result<()> {
    let leaks = log::read().leaks();
    ensure!(leaks.is_empty(), "the log says what a server said, or holds a login: {leaks:?}");
    Ok(())
}

/// Judges the status itself.
fn says(connection: &RegistryConnection, outcome: &Outcome) -> Result<()> {
    let status = connection.status.as_ref().context("no status")?;
    let text = serde_json::to_string(status)?;
    ensure!(!text.contains(MARKER), "the status says what a server said: {text}");
    ensure!(!text.contains(PASSWORD), "the status holds the password");
    ensure!(text.contains(outcome.says), "{:?} is not in {text}", outcome.says);
    let Some(error) = &status.last_error else { return Ok(()) };
    ensure!(error.field.as_deref() == Some(field(error.code)), "another field: {text}");
    ensure!(error.hint.as_ref().is_some_and(|hint| !hint.is_empty()) || error.code == Reason::InvalidSpec, "{text}");
    Ok(())
}

/// The field that a reason points to.
fn field(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenServerNotTrusted => "spec.provider.generic.trustedTokenHosts",
        Reason::InvalidCredentials => "spec.provider.generic.secretRef",
        Reason::InsufficientScope | Reason::RepositoryNotFound => "spec.test.repositories",
        _ => "spec.provider.generic.registryUrl",
    }
}

/// Waits until all connections are as wanted.
async fn connections(scenario: &Scenario, wanted: &[(&str, Outcome)]) -> Result<Vec<RegistryConnection>> {
    eventually("the verdicts", DEADLINE, async || {
        let found = scenario.connections().list(&Default::default()).await?.items;
        let missing = wanted.iter().find_map(|(name, outcome)| {
            let one = found.iter().find(|one| one.name_any() == *name)?;
            let error = one.status.as_ref().and_then(|status| status.last_error.as_ref()).map(|error| error.code);
            let text = serde_json::to_string(&one.status).unwrap_or_default();
            let is_it = is_ready(one, outcome.ready, outcome.reason.as_str())
                && error == outcome.error()
                && text.contains(outcome.says);
            (!is_it).then_some((*name, outcome, one))
        });
        if let Some((name, outcome, one)) = missing {
            let status = serde_json::to_string(&one.status)?;
            bail!("{name} is not yet {} {}: {status}", outcome.ready, outcome.reason);
        }
        Ok(Some(found))
    })
    .await
}

/// Waits until there is an Event for each, and returns all as text.
async fn events(scenario: &Scenario, wanted: &[(&str, Outcome)]) -> Result<String> {
    let events: Api<Event> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    eventually("the events", DEADLINE, async || {
        let found = events.list(&Default::default()).await?.items;
        let told: HashSet<(String, String)> = found
            .iter()
            .filter_map(|event| Some((event.regarding.as_ref()?.name.clone()?, event.reason.clone()?)))
            .collect();
        for (name, outcome) in wanted {
            let reason = outcome.error().unwrap_or(outcome.reason);
            if !told.contains(&((*name).to_owned(), reason.to_string())) {
                bail!("no event {reason} of {name}");
            }
        }
        Ok(Some(serde_json::to_string(&found)?))
    })
    .await
}
