//! The stories as data: what users do, and what must come of it whatever happens on the way.

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use regcred::api::names::LEDGER_PREFIX;
use serde_json::{Value, json};
use testenv::eventually;

use super::{
    account::{Account, Provider},
    state::Ledger,
};
use crate::{
    faults::story::CONNECTION,
    issued::revision,
    scenario::{DEADLINE, Scenario, is_ready},
};

/// After this time a token that no ledger knows is nobody's.
const OLD: SignedDuration = SignedDuration::from_mins(16);

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The source gets a fresh API token.
    Token,
    /// Somebody creates the connection.
    Connect,
    /// Somebody asks for a refresh, with this word.
    Refresh(&'static str),
    /// The registry takes no further credential.
    Refuse,
    /// Somebody deletes the Secret that holds the credential.
    DeleteTarget,
    /// Somebody deletes the ledger.
    DeleteLedger,
    /// Somebody deletes the connection.
    DeleteConnection,
    /// Somebody deletes the namespace, with all that is in it.
    DeleteNamespace,
    /// Waits for the Ready condition with this value and reason.
    Until(&'static str, &'static str),
    /// Waits until nothing is left to be revoked or looked for.
    UntilSettled,
    /// Waits until what was issued so far is old enough for anything.
    UntilOld,
    /// Waits until a refresh that was asked for with this word is done.
    UntilRefreshed(&'static str),
}

/// How a story ends, told without having run it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The value and the reason of the Ready condition; none if there is no connection.
    pub ready: Option<(&'static str, &'static str)>,
    /// How many credentials work at the provider.
    pub alive: usize,
    /// How many were issued since the story was told.
    pub issued: usize,
    /// Whether what is delivered is another credential than before.
    pub is_renewed: bool,
    /// Whether an event says that something could not be revoked.
    pub is_told: bool,
}

/// A story. Faults happen in what follows from `told`.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub name: &'static str,
    pub provider: Provider,
    /// How many operators work on it, none of which knows of the others.
    pub operators: usize,
    /// Whether the operator sees a whole cluster and has a namespace of its own, where its ledgers are. One run at a time.
    pub is_alone: bool,
    /// How long what was replaced works on.
    pub grace: SignedDuration,
    pub before: &'static [Step],
    /// Whether there is a ledger when the faults begin.
    pub has_ledger: bool,
    pub told: &'static [Step],
    pub end: End,
    /// What happens after it, without faults, and must come to the same, with one more credential issued.
    pub after: &'static [Step],
}

use Step::{
    Connect, DeleteConnection, DeleteLedger, DeleteNamespace, DeleteTarget, Refresh, Refuse, Token, Until, UntilOld,
    UntilRefreshed, UntilSettled,
};

const CONNECTED: [Step; 4] = [Token, Connect, Until("True", "LoginProven"), UntilSettled];
const GOOD: Option<(&str, &str)> = Some(("True", "LoginProven"));
const RENEWED: End = End { ready: GOOD, alive: 1, issued: 1, is_renewed: true, is_told: false };

/// A later renewal, at which whatever is nobody's is found.
const LATER: &[Step] = &[UntilOld, Refresh("later"), UntilRefreshed("later"), UntilSettled];

pub const FIRST: Story = Story {
    name: "first",
    provider: Provider::DigitalOcean,
    operators: 1,
    is_alone: false,
    grace: SignedDuration::from_mins(1),
    before: &[Token],
    has_ledger: false,
    told: &[Connect],
    end: RENEWED,
    after: &[],
};

pub const RENEWAL: Story =
    Story { name: "renewal", before: &CONNECTED, has_ledger: true, told: &[Refresh("now")], ..FIRST };

pub const REFUSED: Story = Story {
    name: "refused",
    before: &CONNECTED,
    has_ledger: true,
    told: &[Refuse, Refresh("now")],
    end: End { ready: Some(("False", "InvalidCredentials")), alive: 1, issued: 1, is_renewed: false, is_told: false },
    ..FIRST
};

pub const TOKEN_CHANGED: Story =
    Story { name: "token-changed", before: &CONNECTED, has_ledger: true, told: &[Token], ..FIRST };

pub const TARGET_DELETED: Story = Story {
    name: "target-deleted",
    before: &CONNECTED,
    has_ledger: true,
    told: &[DeleteTarget],
    end: End { ready: GOOD, alive: 1, issued: 0, is_renewed: false, is_told: false },
    ..FIRST
};

/// What the lost ledger held works on: DigitalOcean does not list it.
pub const LEDGER_DELETED: Story = Story {
    name: "ledger-deleted",
    before: &CONNECTED,
    has_ledger: false,
    told: &[DeleteLedger],
    end: End { ready: GOOD, alive: 2, issued: 1, is_renewed: true, is_told: false },
    ..FIRST
};

pub const CONNECTION_DELETED: Story = Story {
    name: "deleted",
    before: &CONNECTED,
    has_ledger: true,
    told: &[DeleteConnection],
    end: End { ready: None, alive: 0, issued: 0, is_renewed: true, is_told: false },
    ..FIRST
};

/// The API token dies with it, which DigitalOcean does not need to revoke a credential.
pub const NAMESPACE_DELETED: Story =
    Story { name: "namespace-deleted", is_alone: true, told: &[DeleteNamespace], ..CONNECTION_DELETED };

/// IONOS needs it, and it is surely gone once the grace is over. What was issued is kept in mind until it expires.
pub const IONOS_NAMESPACE_DELETED: Story = Story {
    name: "ionos-namespace-deleted",
    provider: Provider::Ionos,
    grace: SignedDuration::from_mins(30),
    end: End { alive: 1, is_told: true, ..CONNECTION_DELETED.end },
    ..NAMESPACE_DELETED
};

pub const FIRST_OF_TWO: Story = Story { name: "two-first", operators: 2, ..FIRST };

pub const RENEWAL_OF_TWO: Story = Story { name: "two-renewal", operators: 2, ..RENEWAL };

pub const IONOS_FIRST: Story = Story { name: "ionos-first", provider: Provider::Ionos, after: LATER, ..FIRST };

pub const IONOS_RENEWAL: Story = Story { name: "ionos-renewal", provider: Provider::Ionos, after: LATER, ..RENEWAL };

/// Whoever lists tokens meets with those of the other, which are not in the ledger yet.
pub const IONOS_RENEWAL_OF_TWO: Story = Story { name: "ionos-two-renewal", operators: 2, ..IONOS_RENEWAL };

pub const IONOS_DELETED: Story = Story { name: "ionos-deleted", provider: Provider::Ionos, ..CONNECTION_DELETED };

impl Story {
    /// How many credentials may be issued if nothing goes wrong: each operator may answer the same wish, before it sees what the
    /// other one did.
    pub fn most(&self) -> usize {
        (self.end.issued + usize::from(!self.after.is_empty())) * self.operators
    }

    /// How the names of its namespaces begin.
    pub fn prefix(&self) -> String {
        format!("issued-fault-{}", self.name)
    }
}

impl Step {
    /// Does it.
    pub async fn take(self, scenario: &Scenario, account: &Account) -> Result<()> {
        match self {
            Self::Token => {
                drop(scenario.write_secret("api", "Opaque", json!({"token": account.add_token()})).await?);
            }
            Self::Connect => {
                let spec = json!({
                    "provider": account.spec(), "refreshIntervalMinutes": 1440, "renewalPolicy": "NearExpiry",
                });
                drop(scenario.connect(CONNECTION, spec).await?);
            }
            Self::Refresh(word) => {
                let annotations = json!({"regcred.dev/refresh-requested-at": word});
                scenario.edit(CONNECTION, json!({"metadata": {"annotations": annotations}})).await?;
            }
            Self::Refuse => account.refuse(),
            Self::DeleteTarget => drop(scenario.secrets().delete(CONNECTION, &Default::default()).await?),
            Self::DeleteLedger => {
                let ledger = scenario.ledger().await?.context("no ledger")?;
                let name = ledger.metadata.name.context("no name")?;
                ensure!(name.starts_with(LEDGER_PREFIX), "{name} is no ledger");
                drop(scenario.secrets().delete(&name, &Default::default()).await?);
            }
            Self::DeleteNamespace => {
                let namespaces: Api<Namespace> = Api::all(scenario.client.clone());
                drop(namespaces.delete(&scenario.namespace, &Default::default()).await?);
            }
            Self::DeleteConnection => drop(scenario.connections().delete(CONNECTION, &Default::default()).await?),
            Self::Until(status, reason) => drop(scenario.ready(CONNECTION, status, reason).await?),
            Self::UntilSettled => {
                eventually("the ledger to be settled", DEADLINE, async || {
                    let ledger = Ledger::read(scenario).await?;
                    ensure!(ledger.is_settled(), "{ledger:?}");
                    Ok(Some(()))
                })
                .await?;
            }
            Self::UntilOld => {
                let clock = scenario.clock.as_ref().context("no clock")?;
                let end = clock.now() + OLD;
                eventually("time to pass", DEADLINE, async || Ok((clock.now() >= end).then_some(()))).await?;
            }
            Self::UntilRefreshed(word) => {
                let is_handled = |status: &Value| status["lastHandledRefreshAt"] == word;
                scenario
                    .until(CONNECTION, |now| {
                        is_ready(now, "True", "LoginProven")
                            && now.status.as_ref().is_some_and(|status| {
                                serde_json::to_value(status).is_ok_and(|status| is_handled(&status))
                            })
                    })
                    .await?;
            }
        }
        Ok(())
    }
}

impl End {
    /// Says what is not as it must be in the end; `before` is the revision before the story was told.
    pub async fn check(&self, scenario: &Scenario, account: &Account, before: Option<&str>) -> Result<()> {
        let connection = scenario.connections().get_opt(CONNECTION).await?;
        let ledger = Ledger::read(scenario).await?;
        match (&connection, self.ready) {
            (Some(connection), Some((status, reason))) => {
                ensure!(is_ready(connection, status, reason), "{}", serde_json::to_string(&connection.status)?);
                ensure!(
                    (revision(connection) != before) == self.is_renewed,
                    "is it renewed? {:?}",
                    revision(connection)
                );
                ensure!(ledger.is_settled() && ledger.has_current(), "{ledger:?}");
            }
            (found, wanted) => {
                ensure!(found.is_none() && wanted.is_none(), "the connection is {found:?}");
                ensure!(ledger.exists() == (self.alive > 0), "{ledger:?}");
                let target = scenario.secrets().get_opt(CONNECTION).await?;
                ensure!(target.is_none(), "there is a target");
            }
        }
        ensure!(account.alive() == self.alive, "{} credentials work instead of {}", account.alive(), self.alive);
        Ok(())
    }
}
