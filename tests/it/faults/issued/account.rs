//! The account at a provider that a run uses. Whatever is asked of the provider's API, its token server and its registry, comes
//! through relays that count it in one row.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use jiff::Timestamp;
use regcred::clock::Clock;
use serde_json::{Value, json};
use testenv::{
    DigitalOcean, Faults, Ionos,
    provider::{digital_ocean, ionos},
};

use crate::issued::SCOPES;

/// Whose credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provider {
    DigitalOcean,
    Ionos,
}

/// See the module.
pub struct Account {
    pub faults: Faults,
    fake: Fake,
    /// What was there before the present run.
    issued: usize,
    alive: usize,
}

enum Fake {
    DigitalOcean(DigitalOcean),
    Ionos(Ionos),
}

impl Provider {
    /// How much faster than real time clocks run: the grace and the minute before what is orphaned goes pass within a second,
    /// and the 15 minutes in which a token of IONOS may be another operator's in four. The first refresh, three hours after
    /// the creation at the earliest, is further away than a run takes on a busy machine.
    pub fn speed(self) -> u32 {
        match self {
            Self::DigitalOcean => 60,
            Self::Ionos => 240,
        }
    }

    /// Whether a request, in words, makes something.
    pub fn is_mint(self, words: &str) -> bool {
        match self {
            Self::DigitalOcean => words.contains("/docker-credentials"),
            Self::Ionos => words.starts_with("POST ") && words.contains("/tokens"),
        }
    }

    /// How many writes of the ledger it takes until what was issued is written down.
    pub fn record(self) -> usize {
        match self {
            Self::DigitalOcean => 1,
            // The name comes first.
            Self::Ionos => 2,
        }
    }

    /// Whether what nobody wrote down can be found and ended.
    pub fn lists(self) -> bool {
        match self {
            Self::DigitalOcean => false,
            Self::Ionos => true,
        }
    }
}

impl Account {
    async fn open(provider: Provider) -> Result<Self> {
        let (faults, speed) = (Faults::new(), provider.speed());
        let fake = match provider {
            Provider::DigitalOcean => {
                let faults = Some(faults.clone());
                Fake::DigitalOcean(
                    DigitalOcean::start(digital_ocean::Options { speed, faults, ..Default::default() }).await?,
                )
            }
            Provider::Ionos => {
                let faults = Some(faults.clone());
                Fake::Ionos(Ionos::start(ionos::Options { speed, faults, ..Default::default() }).await?)
            }
        };
        Ok(Self { faults, fake, issued: 0, alive: 0 })
    }

    /// Counts from now on, in the time of an operator.
    fn begin(&mut self, now: Timestamp) {
        match &self.fake {
            Fake::DigitalOcean(fake) => {
                fake.clock().set(now);
                fake.delay(Duration::ZERO);
            }
            Fake::Ionos(fake) => fake.clock().set(now),
        }
        (self.issued, self.alive) = (0, 0);
        (self.issued, self.alive) = (self.issued(), self.alive());
    }

    /// The provider's part of a spec.
    pub fn spec(&self) -> Value {
        let mut spec = json!({"registryName": "shop", "apiUrl": "", "secretRef": {"name": "api"}});
        match &self.fake {
            Fake::DigitalOcean(fake) => {
                spec["apiUrl"] = fake.api_url().into();
                json!({"digitalocean": spec})
            }
            Fake::Ionos(fake) => {
                spec["apiUrl"] = fake.api_url().into();
                json!({"ionos": spec})
            }
        }
    }

    /// Host and port of API and token server.
    pub fn door(&self) -> String {
        let url = match &self.fake {
            Fake::DigitalOcean(fake) => fake.api_url(),
            Fake::Ionos(fake) => fake.api_url(),
        };
        url.split('/').nth(2).unwrap_or_default().to_owned()
    }

    /// Another API token.
    pub fn add_token(&self) -> String {
        match &self.fake {
            Fake::DigitalOcean(fake) => fake.add_token(SCOPES),
            Fake::Ionos(fake) => fake.add_token(),
        }
    }

    /// From now on the registry refuses what is issued.
    pub fn refuse(&self) {
        match &self.fake {
            Fake::DigitalOcean(fake) => fake.delay(Duration::from_secs(1_000_000)),
            Fake::Ionos(_) => {}
        }
    }

    /// How many credentials were issued in this run.
    pub fn issued(&self) -> usize {
        let issued = match &self.fake {
            Fake::DigitalOcean(fake) => fake.issued(),
            Fake::Ionos(fake) => fake.issued(),
        };
        issued - self.issued
    }

    /// How many credentials of this run work.
    pub fn alive(&self) -> usize {
        let alive = match &self.fake {
            Fake::DigitalOcean(fake) => fake.alive(),
            Fake::Ionos(fake) => fake.alive(),
        };
        alive - self.alive
    }

    /// The registry, as image names begin.
    pub fn host(&self) -> Result<String> {
        match &self.fake {
            Fake::DigitalOcean(fake) => Ok(fake.host()),
            Fake::Ionos(fake) => fake.host("shop"),
        }
    }

    /// Whether the registry lets in this login.
    pub async fn accepts(&self, user: &str, password: &str) -> Result<bool> {
        match &self.fake {
            Fake::DigitalOcean(fake) => fake.accepts(user, password).await,
            Fake::Ionos(fake) => fake.accepts("shop", user, password).await,
        }
    }
}

/// Accounts of one provider that are used one after another: each has a registry of its own, which is dear to start. They end
/// with the runtime of the test.
pub struct Accounts {
    pub provider: Provider,
    free: Mutex<Vec<Account>>,
}

impl Accounts {
    /// None yet.
    pub fn new(provider: Provider) -> Self {
        Self { provider, free: Mutex::default() }
    }

    /// One that nobody uses, in the time of an operator.
    pub async fn take(&self, clock: &Clock) -> Result<Account> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut account = match free {
            Some(account) => account,
            None => Account::open(self.provider).await?,
        };
        // To open one takes a while.
        account.begin(clock.now());
        Ok(account)
    }

    /// For the next one.
    pub fn give_back(&self, account: Account) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(account);
    }
}
