//! The ledger of a connection whose provider issues credentials: which of them is delivered, which was just issued, and which
//! are to be revoked. Pure: the text of a ledger, and how it changes from step to step.
//!
//! Every entry holds all that its end needs, so a ledger outlives its connection, and the API credential it was issued with.

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{credential::Credential, host::RegistryHost};

/// How many replaced credentials a ledger keeps: so many fit into a Secret, however long each is. While it is full, nothing is
/// issued before it has to be.
pub const MAX_RETIRED: usize = 24;

/// The form of the text. Another number is another form, which this program does not know.
const VERSION: u32 = 1;

/// See the module. It has no Debug and no Display: it is made of secrets.
#[derive(Clone, Default)]
pub struct Ledger {
    /// Names that were chosen for credentials about to be issued. One that stays here may or may not exist at the provider.
    pub names: Vec<ChosenName>,
    /// Issued, and not judged for good yet.
    pub candidate: Option<Entry>,
    /// What the targets are rendered from.
    pub current: Option<Entry>,
    /// What was replaced, the oldest first, until it is revoked or expires.
    pub retired: Vec<Retired>,
    /// Since when credentials of ours that nobody knows are to be looked for at the provider: from the last change of the
    /// current one on, once.
    pub stray_since: Option<Timestamp>,
}

/// An issued credential.
#[derive(Clone)]
pub struct Entry {
    /// Its revision as it stands in status and on targets.
    pub revision: String,
    /// The provider's name for it, if it has one.
    pub id: Option<String>,
    /// The login.
    pub credential: Credential,
    /// When it was asked for.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The registry it is for.
    pub registry: RegistryHost,
    /// The registry speaks plain http: only on the machine of a test.
    pub plain_http: bool,
    /// The key in the docker config under which it was rendered last; none if it never was.
    pub config_key: Option<String>,
    /// The registry accepted it in a test that could have failed.
    pub proven: bool,
    /// The registry refused it since.
    pub refused: bool,
    /// How to end it.
    pub issuer: Issuer,
    /// What was asked of the provider: the provider's part of the spec without its Secret.
    pub terms: Value,
    /// Stands for the API credential it was issued with, salted with the time of that. None where that may be a password, which
    /// a digest would give away.
    pub api_digest: Option<String>,
}

/// A credential that was replaced, or that never became the current one.
#[derive(Clone)]
pub struct Retired {
    /// The credential.
    pub entry: Entry,
    /// When it was retired.
    pub at: Timestamp,
    /// It was never delivered, so nobody has to be given time to change over.
    pub undelivered: bool,
}

/// A name for a credential about to be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChosenName {
    /// The name.
    pub name: String,
    /// When it was chosen.
    pub at: Timestamp,
    /// Where it would be found.
    pub issuer: Issuer,
}

/// Where a credential comes from, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Issuer {
    /// DigitalOcean: the credential itself is all it takes.
    Digitalocean {
        /// Where it is revoked.
        revoke_url: String,
    },
    /// IONOS: the API credential of the connection ends it.
    Ionos {
        /// Where the API is, without a slash at the end.
        api_url: String,
        /// Which registry it is for.
        registry_id: String,
        /// Whose registry that is.
        #[serde(skip_serializing_if = "Option::is_none")]
        contract_number: Option<i64>,
        /// Where the API credential is.
        secret: SecretPlace,
    },
}

impl Issuer {
    /// The provider's key under `spec.provider`.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Digitalocean { .. } => "digitalocean",
            Self::Ionos { .. } => "ionos",
        }
    }

    /// Whether the provider lists what it issued, and lets us name it.
    pub fn lists(&self) -> bool {
        match self {
            Self::Digitalocean { .. } => false,
            Self::Ionos { .. } => true,
        }
    }
}

/// Where an API credential is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretPlace {
    /// The Secret's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key of the user name, if it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,
    /// The key of the password, if it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,
    /// The key of the token, if it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_key: Option<String>,
}

/// The text is no ledger. What it holds is not told: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Not of this form at all.
    #[error("it is not what a ledger looks like")]
    Form,
    /// Of a form that came later.
    #[error("it was written by a newer version of the operator")]
    Version,
    /// An entry that no provider could have issued.
    #[error("a credential in it cannot be one")]
    Entry,
}

impl Ledger {
    /// Reads the text of a ledger.
    ///
    /// # Errors
    /// [`Damaged`] if it is none.
    pub fn parse(text: &[u8]) -> Result<Self, Damaged> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(text).map_err(|_| Damaged::Form)?;
        if version != VERSION {
            return Err(if version > VERSION { Damaged::Version } else { Damaged::Form });
        }
        let Stored { version: _, names, candidate, current, retired, stray_since } =
            serde_json::from_slice(text).map_err(|_| Damaged::Form)?;
        Ok(Self {
            names,
            candidate: candidate.map(Entry::try_from).transpose()?,
            current: current.map(Entry::try_from).transpose()?,
            retired: retired.into_iter().map(Retired::try_from).collect::<Result<_, _>>()?,
            stray_since,
        })
    }

    /// The text of the ledger.
    pub fn to_text(&self) -> SecretString {
        let stored = Stored {
            version: VERSION,
            names: self.names.clone(),
            candidate: self.candidate.as_ref().map(StoredEntry::from),
            current: self.current.as_ref().map(StoredEntry::from),
            retired: self.retired.iter().map(StoredRetired::from).collect(),
            stray_since: self.stray_since,
        };
        // Strings, numbers and lists always serialise.
        serde_json::to_string(&stored).unwrap_or_default().into()
    }

    /// True if it holds nothing that anybody could still use or end.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.candidate.is_none() && self.current.is_none() && self.retired.is_empty()
    }

    /// True if no further credential may be retired.
    pub fn is_full(&self) -> bool {
        self.retired.len() >= MAX_RETIRED
    }

    /// Takes note of a name before anything of that name exists.
    pub fn chose(&mut self, name: ChosenName) {
        self.names.push(name);
    }

    /// Takes in what was issued, under the name that was chosen for it, if one was. A candidate that was there has come to
    /// nothing.
    pub fn issued(&mut self, entry: Entry, name: Option<&str>, now: Timestamp) {
        self.reject(now);
        self.names.retain(|chosen| Some(chosen.name.as_str()) != name);
        self.candidate = Some(entry);
    }

    /// The candidate takes the place of the current credential.
    pub fn promote(&mut self, now: Timestamp) {
        let Some(candidate) = self.candidate.take() else { return };
        self.stray_since = candidate.issuer.lists().then_some(now);
        if let Some(entry) = self.current.replace(candidate) {
            self.retired.push(Retired { entry, at: now, undelivered: false });
        }
    }

    /// The current credential is not delivered any more, and nothing takes its place.
    pub fn retire_all(&mut self, now: Timestamp) {
        self.reject(now);
        if let Some(entry) = self.current.take() {
            self.retired.push(Retired { entry, at: now, undelivered: false });
        }
    }

    /// The candidate came to nothing.
    pub fn reject(&mut self, now: Timestamp) {
        if let Some(entry) = self.candidate.take() {
            self.retired.push(Retired { entry, at: now, undelivered: true });
        }
    }

    /// All credentials in it.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let retired = self.retired.iter().map(|retired| &retired.entry);
        self.candidate.iter().chain(&self.current).chain(retired)
    }

    /// From when on there is something to revoke, at the earliest. What was delivered keeps working for `grace`; while its
    /// successor is not proven, until it expires.
    pub fn revoke_from(&self, grace: SignedDuration) -> Option<Timestamp> {
        let is_succeeded = self.current.as_ref().is_none_or(|current| current.proven);
        let later = |time: Timestamp| time.saturating_add(grace).unwrap_or(Timestamp::MAX);
        let retired = self.retired.iter().filter_map(|retired| match retired.undelivered {
            true => Some(retired.at),
            false => is_succeeded.then(|| later(retired.at)),
        });
        retired.chain(self.stray_since.filter(|_| is_succeeded).map(later)).min()
    }

    /// Forgets replaced credentials that have expired. True if there were any.
    pub fn forget_expired(&mut self, now: Timestamp) -> bool {
        let before = self.retired.len();
        self.retired.retain(|retired| retired.entry.expires_at > now);
        self.retired.len() != before
    }

    /// Forgets one that was revoked.
    pub fn ended(&mut self, revision: &str) {
        self.retired.retain(|retired| retired.entry.revision != revision);
    }
}

/// The text, with its secrets in the clear.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<ChosenName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<StoredEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<StoredEntry>,
    #[serde(default, rename = "retiring", skip_serializing_if = "Vec::is_empty")]
    retired: Vec<StoredRetired>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stray_since: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRetired {
    #[serde(flatten)]
    entry: StoredEntry,
    retired_at: Timestamp,
    #[serde(default)]
    undelivered: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEntry {
    revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    username: String,
    password: String,
    issued_at: Timestamp,
    expires_at: Timestamp,
    registry: String,
    #[serde(default)]
    plain_http: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_key: Option<String>,
    #[serde(default)]
    proven: bool,
    #[serde(default)]
    refused: bool,
    issuer: Issuer,
    terms: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_digest: Option<String>,
}

impl From<&Entry> for StoredEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            revision: entry.revision.clone(),
            id: entry.id.clone(),
            username: entry.credential.username().to_owned(),
            password: entry.credential.password().to_owned(),
            issued_at: entry.issued_at,
            expires_at: entry.expires_at,
            registry: entry.registry.to_string(),
            plain_http: entry.plain_http,
            config_key: entry.config_key.clone(),
            proven: entry.proven,
            refused: entry.refused,
            issuer: entry.issuer.clone(),
            terms: entry.terms.clone(),
            api_digest: entry.api_digest.clone(),
        }
    }
}

impl TryFrom<StoredEntry> for Entry {
    type Error = Damaged;

    fn try_from(stored: StoredEntry) -> Result<Self, Damaged> {
        Ok(Self {
            revision: stored.revision,
            id: stored.id,
            credential: Credential::new(stored.username, stored.password).map_err(|_| Damaged::Entry)?,
            issued_at: stored.issued_at,
            expires_at: stored.expires_at,
            registry: RegistryHost::parse(&stored.registry).map_err(|_| Damaged::Entry)?,
            plain_http: stored.plain_http,
            config_key: stored.config_key,
            proven: stored.proven,
            refused: stored.refused,
            issuer: stored.issuer,
            terms: stored.terms,
            api_digest: stored.api_digest,
        })
    }
}

impl From<&Retired> for StoredRetired {
    fn from(retired: &Retired) -> Self {
        Self { entry: (&retired.entry).into(), retired_at: retired.at, undelivered: retired.undelivered }
    }
}

impl TryFrom<StoredRetired> for Retired {
    type Error = Damaged;

    fn try_from(stored: StoredRetired) -> Result<Self, Damaged> {
        Ok(Self { entry: stored.entry.try_into()?, at: stored.retired_at, undelivered: stored.undelivered })
    }
}
