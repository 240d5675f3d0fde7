//! The stories as data: what users do, and what must come of it whatever happens on the way.

use anyhow::{Result, ensure};
use regcred::api::names::{DOCKER_CONFIG_JSON_KEY, TABLE};
use serde_json::{Value, json};

use crate::{
    linking::{named, told},
    scenario::{PASSWORD, Scenario, WRONG, is_ready},
};

/// The name of the connection in every story.
pub const CONNECTION: &str = "images";

/// The name of the Secret that `renamed` asks for.
const RENAMED: &str = "renamed";

/// The password after the one in force.
const NEXT: &str = "right-password-3";

/// What a user does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Writes the source with this password.
    Source(&'static str),
    /// Lets the registry take this password and no other.
    Registry(&'static str),
    /// Creates the connection.
    Connect,
    /// Asks for a Secret of another name.
    Rename,
    /// Asks for links: of the account `default`, and by image.
    Link,
    /// Asks for none any more.
    Unlink,
    /// Deletes the connection.
    Delete,
    /// Waits until the links are made.
    UntilLinked,
    /// Waits for the Ready condition with this value and reason.
    Until(&'static str, &'static str),
}

/// How a story ends, told without having run it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The value and the reason of the Ready condition; none if there is no connection.
    pub ready: Option<(&'static str, &'static str)>,
    /// Each Secret of the connection with the password in it. There are no others.
    pub secrets: &'static [(&'static str, &'static str)],
}

/// A story. Faults happen in what follows from `told`.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub name: &'static str,
    pub before: &'static [Step],
    pub told: &'static [Step],
    pub end: End,
    /// The spec is edited. A process that takes over in the middle cannot know that the login is the delivered one: it makes
    /// another revision.
    pub edits_spec: bool,
    /// How many passwords that the registry does not take the user has written.
    pub wrong_passwords: usize,
}

use Step::{Connect, Delete, Link, Registry, Rename, Source, Unlink, Until, UntilLinked};

const CONNECTED: [Step; 3] = [Source(PASSWORD), Connect, Until("True", "LoginProven")];
const GOOD: Option<(&str, &str)> = Some(("True", "LoginProven"));
const REFUSED: Option<(&str, &str)> = Some(("False", "InvalidCredentials"));

pub const CREATED: Story = Story {
    name: "created",
    before: &[Source(PASSWORD)],
    told: &[Connect],
    end: End { ready: GOOD, secrets: &[(CONNECTION, PASSWORD)] },
    edits_spec: false,
    wrong_passwords: 0,
};

pub const SOURCE_CHANGED: Story = Story {
    name: "source-changed",
    before: &CONNECTED,
    told: &[Registry(NEXT), Source(NEXT)],
    end: End { ready: GOOD, secrets: &[(CONNECTION, NEXT)] },
    edits_spec: false,
    wrong_passwords: 0,
};

pub const REFUSED_LATER: Story = Story {
    name: "refused",
    before: &CONNECTED,
    told: &[Source(WRONG)],
    end: End { ready: REFUSED, secrets: &[(CONNECTION, PASSWORD)] },
    edits_spec: false,
    wrong_passwords: 1,
};

pub const REPAIRED: Story = Story {
    name: "repaired",
    before: &[
        Source(PASSWORD),
        Connect,
        Until("True", "LoginProven"),
        Source(WRONG),
        Until("False", "InvalidCredentials"),
    ],
    told: &[Registry(NEXT), Source(NEXT)],
    end: End { ready: GOOD, secrets: &[(CONNECTION, NEXT)] },
    edits_spec: false,
    wrong_passwords: 1,
};

pub const RENAMED_SECRET: Story = Story {
    name: "renamed",
    before: &CONNECTED,
    told: &[Rename],
    end: End { ready: GOOD, secrets: &[(RENAMED, PASSWORD)] },
    edits_spec: true,
    wrong_passwords: 0,
};

pub const DELETED: Story = Story {
    name: "deleted",
    before: &CONNECTED,
    told: &[Delete],
    end: End { ready: None, secrets: &[] },
    edits_spec: false,
    wrong_passwords: 0,
};

pub const ADOPTED: Story = Story {
    name: "adopted",
    before: &CONNECTED,
    told: &[Delete, Connect],
    end: End { ready: GOOD, secrets: &[(CONNECTION, PASSWORD)] },
    edits_spec: false,
    wrong_passwords: 0,
};

const LINKED: [Step; 5] = [Source(PASSWORD), Connect, Until("True", "LoginProven"), Link, UntilLinked];

pub const LINKS_MADE: Story = Story {
    name: "linked",
    before: &CONNECTED,
    told: &[Link],
    end: End { ready: GOOD, secrets: &[(CONNECTION, PASSWORD)] },
    edits_spec: true,
    wrong_passwords: 0,
};

pub const LINKS_ENDED: Story = Story {
    name: "unlinked",
    before: &LINKED,
    told: &[Unlink],
    end: End { ready: GOOD, secrets: &[(CONNECTION, PASSWORD)] },
    edits_spec: true,
    wrong_passwords: 0,
};

pub const LINKED_AND_DELETED: Story = Story {
    name: "gone",
    before: &LINKED,
    told: &[Delete],
    end: End { ready: None, secrets: &[] },
    edits_spec: false,
    wrong_passwords: 0,
};

impl Story {
    /// How the names of its namespaces begin.
    pub fn prefix(&self) -> String {
        format!("fault-{}-", self.name)
    }
}

impl Step {
    /// Does it; `spec` is that of the connection.
    pub async fn take(self, scenario: &Scenario, spec: &Value) -> Result<()> {
        match self {
            Self::Source(password) => drop(scenario.write_login("login", password).await?),
            Self::Registry(password) => scenario.shared.registry.set_password(&scenario.namespace, password)?,
            Self::Connect => drop(scenario.connect(CONNECTION, spec.clone()).await?),
            Self::Rename => {
                drop(scenario.edit(CONNECTION, json!({"spec": {"secret": {"name": RENAMED}}})).await?);
            }
            Self::Link => {
                let links = json!({"spec": {"isDefault": true, "autoLinkPattern": "r.example/team/*"}});
                drop(scenario.edit(CONNECTION, links).await?);
            }
            Self::Unlink => {
                let links = json!({"spec": {"isDefault": null, "autoLinkPattern": null}});
                drop(scenario.edit(CONNECTION, links).await?);
            }
            Self::Delete => drop(scenario.connections().delete(CONNECTION, &Default::default()).await?),
            Self::UntilLinked => drop(scenario.until_linked(CONNECTION, "True/Linked").await?),
            Self::Until(status, reason) => drop(scenario.ready(CONNECTION, status, reason).await?),
        }
        Ok(())
    }
}

impl End {
    /// Says what is not as it must be in the end.
    pub async fn check(&self, scenario: &Scenario) -> Result<()> {
        let connection = scenario.connections().get_opt(CONNECTION).await?;
        match (&connection, self.ready) {
            (Some(connection), Some((status, reason))) => {
                ensure!(is_ready(connection, status, reason), "{}", serde_json::to_string(&connection.status)?);
                let linked = if connection.spec.is_default.is_some() { "True/Linked" } else { "-" };
                ensure!(told(connection).0 == linked, "{}", serde_json::to_string(&connection.status)?);
            }
            (found, wanted) => ensure!(found.is_none() && wanted.is_none(), "the connection is {found:?}"),
        }
        // The condition goes with the wish; the links go after it.
        let is_wanted = connection.is_some_and(|connection| connection.spec.is_default.is_some());
        let accounts = scenario.accounts().list(&Default::default()).await?.items;
        let is_named = accounts.iter().any(|account| named(account).iter().any(|name| name == CONNECTION));
        ensure!(is_named == is_wanted, "ServiceAccounts are {accounts:?}");
        let table = scenario.config_maps().get_opt(TABLE).await?;
        ensure!(table.is_some() == is_wanted, "the table is {table:?}");
        for name in [CONNECTION, RENAMED] {
            let secret = scenario.secrets().get_opt(name).await?;
            let wanted = self.secrets.iter().find(|(wanted, _)| *wanted == name);
            let Some(secret) = secret else {
                ensure!(wanted.is_none(), "there is no Secret {name}");
                continue;
            };
            let Some((_, password)) = wanted else { anyhow::bail!("there is a Secret {name}") };
            let data = secret.data.unwrap_or_default();
            let config = data.get(DOCKER_CONFIG_JSON_KEY).map(|config| config.0.clone()).unwrap_or_default();
            let config: Value = serde_json::from_slice(&config)?;
            let entries: Vec<&Value> =
                config["auths"].as_object().into_iter().flat_map(|auths| auths.values()).collect();
            ensure!(
                entries.iter().any(|entry| super::state::login(entry).ends_with(&format!(":{password}"))),
                "Secret {name} holds another password"
            );
        }
        Ok(())
    }
}
