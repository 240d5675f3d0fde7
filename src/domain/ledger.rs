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
    /// The value of the annotation that asked for a refresh when it was issued, as the status echoes it. It is what was asked
    /// for, and is not issued again.
    pub request: Option<String>,
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
    /// Since when a successor stood where it had been delivered; none while that is told by the status, of the last successor.
    pub succeeded_at: Option<Timestamp>,
}

impl Retired {
    /// When it may be revoked: after the grace, which counts from when its successor was delivered, as far as that is known.
    /// `since` is that of the last successor.
    pub fn end(&self, since: Option<Timestamp>, grace: SignedDuration) -> Timestamp {
        if self.undelivered {
            return self.at;
        }
        let from = self.succeeded_at.or(since).map_or(self.at, |since| since.max(self.at));
        from.saturating_add(grace).unwrap_or(Timestamp::MAX)
    }
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

    /// The candidate takes the place of the current credential. `since` is since when that one has been delivered, if it is.
    pub fn promote(&mut self, since: Option<Timestamp>, now: Timestamp) {
        let Some(candidate) = self.candidate.take() else { return };
        for retired in self.retired.iter_mut().filter(|retired| retired.succeeded_at.is_none()) {
            retired.succeeded_at = since.map(|since| since.max(retired.at));
        }
        // At renewals only, or where a ledger was lost.
        let is_renewal = self.current.is_some();
        let since = is_renewal.then_some(now).or(self.stray_since);
        self.stray_since = since.filter(|_| candidate.issuer.lists());
        if let Some(entry) = self.current.replace(candidate) {
            self.retired.push(Retired { entry, at: now, undelivered: false, succeeded_at: None });
        }
    }

    /// The registry refused the candidate for good.
    pub fn refuse(&mut self, now: Timestamp) {
        if let Some(candidate) = &mut self.candidate {
            candidate.refused = true;
        }
        self.reject(now);
    }

    /// The last candidate, if it was refused for good and is not revoked yet, and when that was.
    pub fn refusal(&self) -> Option<(&Entry, Timestamp)> {
        let last = self.retired.iter().rev().find(|retired| retired.undelivered && retired.entry.refused)?;
        Some((&last.entry, last.at))
    }

    /// The current credential is not delivered any more, and nothing takes its place.
    pub fn retire_all(&mut self, now: Timestamp) {
        self.reject(now);
        if let Some(entry) = self.current.take() {
            self.retired.push(Retired { entry, at: now, undelivered: false, succeeded_at: None });
        }
    }

    /// The candidate came to nothing.
    pub fn reject(&mut self, now: Timestamp) {
        if let Some(entry) = self.candidate.take() {
            self.retired.push(Retired { entry, at: now, undelivered: true, succeeded_at: None });
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
        let strays = self.stray_since.filter(|_| self.is_succeeded());
        let strays = strays.map(|since| since.saturating_add(grace).unwrap_or(Timestamp::MAX));
        self.revocable().map(|retired| retired.end(None, grace)).chain(strays).min()
    }

    /// What is to be revoked, now or later.
    pub fn revocable(&self) -> impl Iterator<Item = &Retired> {
        let is_succeeded = self.is_succeeded();
        self.retired.iter().filter(move |retired| retired.undelivered || is_succeeded)
    }

    /// Nothing better than what was replaced may be lost with it.
    fn is_succeeded(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.proven)
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
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded_at: Option<Timestamp>,
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
    request: Option<String>,
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
            request: entry.request.clone(),
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
            request: stored.request,
            api_digest: stored.api_digest,
        })
    }
}

impl From<&Retired> for StoredRetired {
    fn from(retired: &Retired) -> Self {
        let Retired { entry, at, undelivered, succeeded_at } = retired;
        Self { entry: entry.into(), retired_at: *at, undelivered: *undelivered, succeeded_at: *succeeded_at }
    }
}

impl TryFrom<StoredRetired> for Retired {
    type Error = Damaged;

    fn try_from(stored: StoredRetired) -> Result<Self, Damaged> {
        let StoredRetired { entry, retired_at, undelivered, succeeded_at } = stored;
        Ok(Self { entry: entry.try_into()?, at: retired_at, undelivered, succeeded_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    /// Stands in every secret of these tests.
    const CANARY: &str = "canary-7f3a";

    const GRACE: SignedDuration = SignedDuration::from_mins(10);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + minutes * 60).unwrap()
    }

    fn digitalocean() -> Issuer {
        Issuer::Digitalocean { revoke_url: "https://cloud.digitalocean.com/v1/oauth/revoke".into() }
    }

    fn ionos() -> Issuer {
        Issuer::Ionos {
            api_url: "https://api.ionos.com/containerregistries".into(),
            registry_id: "8f2c".into(),
            contract_number: Some(31_415_926),
            secret: SecretPlace {
                namespace: "shop".into(),
                name: "ionos".into(),
                username_key: Some("user".into()),
                password_key: Some("word".into()),
                token_key: Some("key".into()),
            },
        }
    }

    /// One that was issued at a minute and lives for 90.
    fn entry(revision: &str, minute: i64) -> Entry {
        Entry {
            revision: revision.into(),
            id: Some(format!("id-{revision}")),
            credential: Credential::new(format!("{CANARY}-user"), format!("{CANARY}-{revision}")).unwrap(),
            issued_at: at(minute),
            expires_at: at(minute + 90),
            registry: RegistryHost::parse("r.example:5000").unwrap(),
            plain_http: true,
            config_key: Some("r.example:5000/team/".into()),
            proven: true,
            refused: false,
            issuer: digitalocean(),
            terms: json!({"digitalocean": {"registryName": "team", "readWrite": true}}),
            request: None,
            api_digest: Some("salted".into()),
        }
    }

    fn text(ledger: &Ledger) -> Value {
        serde_json::from_str(ledger.to_text().expose_secret()).unwrap()
    }

    fn full() -> Ledger {
        Ledger {
            names: vec![ChosenName { name: "regcred-u-1".into(), at: at(3), issuer: ionos() }],
            candidate: Some(Entry { proven: false, issuer: ionos(), api_digest: None, ..entry("r3", 60) }),
            current: Some(Entry { refused: true, plain_http: false, config_key: None, id: None, ..entry("r2", 30) }),
            retired: vec![
                Retired { entry: entry("r0", 0), at: at(30), undelivered: false, succeeded_at: None },
                Retired { entry: entry("r1", 20), at: at(21), undelivered: true, succeeded_at: None },
            ],
            stray_since: Some(at(30)),
        }
    }

    fn revisions(ledger: &Ledger) -> Vec<&str> {
        ledger.entries().map(|entry| entry.revision.as_str()).collect()
    }

    #[test]
    fn reads_back_all_that_it_wrote() {
        let written = full();
        let read = Ledger::parse(written.to_text().expose_secret().as_bytes()).unwrap();
        assert_eq!(text(&read), text(&written));
        let candidate = read.candidate.unwrap();
        assert_eq!(candidate.credential.username(), format!("{CANARY}-user"));
        assert_eq!(candidate.credential.password(), format!("{CANARY}-r3"));
        assert_eq!((candidate.issued_at, candidate.expires_at), (at(60), at(150)));
        assert_eq!((candidate.registry.as_str(), candidate.plain_http), ("r.example:5000", true));
        assert_eq!((candidate.issuer, candidate.proven, candidate.api_digest), (ionos(), false, None));
        let current = read.current.unwrap();
        assert_eq!((current.proven, current.refused, current.plain_http), (true, true, false));
        assert_eq!((current.id, current.config_key), (None, None));
        assert_eq!((current.issuer, current.api_digest.as_deref()), (digitalocean(), Some("salted")));
        assert_eq!(current.terms, json!({"digitalocean": {"registryName": "team", "readWrite": true}}));
        let retired: Vec<_> = read.retired.iter().map(|one| (one.at, one.undelivered)).collect();
        assert_eq!(retired, [(at(30), false), (at(21), true)]);
        assert_eq!((read.names, read.stray_since), (written.names, Some(at(30))));
    }

    #[test]
    fn the_text_is_of_the_documented_form() {
        let text = text(&full());
        assert_eq!(text["version"], 1);
        assert_eq!(text["retiring"][0]["retiredAt"], "2026-01-01T00:30:00Z");
        assert_eq!(text["retiring"][0]["revision"], "r0");
        assert_eq!(text["candidate"]["issuer"]["ionos"]["secret"]["name"], "ionos");
        assert_eq!(text["current"]["issuer"]["digitalocean"]["revokeUrl"].as_str().map(str::is_empty), Some(false));
        assert_eq!(self::text(&Ledger::default()), json!({"version": 1}), "what is absent is not written");
    }

    #[test]
    fn refuses_what_is_no_ledger_and_tells_one_that_came_later() {
        let good = full().to_text().expose_secret().to_owned();
        let changed = |change: fn(&mut Value)| {
            let mut text: Value = serde_json::from_str(&good).unwrap();
            change(&mut text);
            text.to_string()
        };
        let cases: [(&str, String, Damaged); 15] = [
            ("nothing", String::new(), Damaged::Form),
            ("no JSON", CANARY.into(), Damaged::Form),
            ("cut off", good[..good.len() / 2].into(), Damaged::Form),
            ("a list", "[]".into(), Damaged::Form),
            ("no version", "{}".into(), Damaged::Form),
            ("version zero", r#"{"version": 0}"#.into(), Damaged::Form),
            ("a version in words", r#"{"version": "1"}"#.into(), Damaged::Form),
            ("the next version", r#"{"version": 2}"#.into(), Damaged::Version),
            (
                "a later version of another form",
                r#"{"version": 9, "current": [1], "retiring": {}}"#.into(),
                Damaged::Version,
            ),
            ("no password", changed(|text| text["current"]["password"] = json!(null)), Damaged::Form),
            ("no times", changed(|text| text["current"]["expiresAt"] = json!("soon")), Damaged::Form),
            ("an unknown issuer", changed(|text| text["current"]["issuer"] = json!({"quay": {}})), Damaged::Form),
            ("an empty password", changed(|text| text["current"]["password"] = json!("")), Damaged::Entry),
            ("a line break in it", changed(|text| text["retiring"][1]["password"] = json!("a\nb")), Damaged::Entry),
            ("a registry that is none", changed(|text| text["candidate"]["registry"] = json!("a b")), Damaged::Entry),
        ];
        for (name, text, expected) in cases {
            let damaged = Ledger::parse(text.as_bytes()).err();
            assert_eq!(damaged, Some(expected), "{name}");
            assert!(!format!("{expected} {expected:?}").contains(CANARY), "{name}");
        }
        assert_eq!(Ledger::parse(&[0xff, 0xfe]).err(), Some(Damaged::Form), "no text at all");
    }

    #[test]
    fn what_may_be_absent_has_a_meaning() {
        let text = json!({"version": 1, "unknown": true, "current": {
            "revision": "r1", "username": "u", "password": "p", "issuedAt": "2026-01-01T00:00:00Z",
            "expiresAt": "2026-01-01T01:30:00Z", "registry": "r.example", "terms": null,
            "issuer": {"ionos": {"apiUrl": "https://api.ionos.com", "registryId": "i", "secret": {"namespace": "n", "name": "s"}}},
        }});
        let current = Ledger::parse(text.to_string().as_bytes()).unwrap().current.unwrap();
        assert!(!current.plain_http && !current.proven && !current.refused);
        assert_eq!((current.id, current.config_key, current.api_digest), (None, None, None));
    }

    #[test]
    fn a_huge_list_of_replaced_credentials_is_read_all_the_same() {
        let retired = |number: i64| Retired {
            entry: entry(&format!("r{number}"), number),
            at: at(number),
            undelivered: false,
            succeeded_at: None,
        };
        let ledger = Ledger { retired: (0..5_000).map(retired).collect(), ..Ledger::default() };
        let read = Ledger::parse(ledger.to_text().expose_secret().as_bytes()).unwrap();
        assert!(read.retired.len() == 5_000 && read.is_full());
    }

    #[test]
    fn a_full_ledger_fits_into_a_secret_however_long_its_credentials_are() {
        let long = || {
            Credential::new(
                "u".repeat(crate::domain::credential::MAX_LENGTH),
                "p".repeat(crate::domain::credential::MAX_LENGTH),
            )
        };
        let longest = || Entry { credential: long().unwrap(), issuer: ionos(), ..entry("r", 0) };
        let retired = (0..MAX_RETIRED)
            .map(|_| Retired { entry: longest(), at: at(0), undelivered: false, succeeded_at: None })
            .collect();
        let ledger = Ledger { candidate: Some(longest()), current: Some(longest()), retired, ..Ledger::default() };
        // The API server takes 1 MiB for the data of a Secret.
        assert!(ledger.is_full() && ledger.to_text().expose_secret().len() < 1024 * 1024 - 64 * 1024);
    }

    #[test]
    fn what_is_issued_becomes_the_candidate_and_its_name_is_accounted_for() {
        let chosen = |name: &str| ChosenName { name: name.into(), at: at(0), issuer: ionos() };
        let mut ledger = Ledger::default();
        assert!(ledger.is_empty());
        ledger.chose(chosen("a"));
        ledger.chose(chosen("b"));
        assert!(!ledger.is_empty(), "what a name stands for may exist");
        ledger.issued(entry("r1", 0), Some("b"), at(1));
        assert_eq!(ledger.names, [chosen("a")]);
        assert_eq!(ledger.candidate.as_ref().map(|entry| entry.revision.as_str()), Some("r1"));
        ledger.issued(entry("r2", 2), None, at(3));
        assert_eq!((revisions(&ledger), ledger.names.len()), (vec!["r2", "r1"], 1));
        assert!(ledger.retired[0].undelivered && ledger.retired[0].at == at(3), "the one before came to nothing");
    }

    #[test]
    fn the_candidate_takes_the_place_of_the_current_credential_which_is_kept_until_it_is_revoked() {
        let mut ledger = Ledger::default();
        ledger.promote(None, at(0));
        assert!(ledger.is_empty(), "without a candidate nothing changes");
        ledger.issued(entry("r1", 0), None, at(0));
        ledger.promote(None, at(1));
        assert_eq!((revisions(&ledger), ledger.retired.len(), ledger.stray_since), (vec!["r1"], 0, None));
        ledger.promote(None, at(2));
        assert_eq!(revisions(&ledger), ["r1"]);
        ledger.issued(Entry { issuer: ionos(), ..entry("r2", 30) }, None, at(30));
        ledger.promote(None, at(31));
        assert_eq!(revisions(&ledger), ["r2", "r1"]);
        assert_eq!((ledger.retired[0].at, ledger.retired[0].undelivered), (at(31), false));
        assert_eq!(ledger.stray_since, Some(at(31)), "only where the provider lists what it issued");
        ledger.ended("r2");
        assert_eq!(revisions(&ledger), ["r2", "r1"], "only what was replaced ends");
        ledger.ended("r1");
        assert_eq!(revisions(&ledger), ["r2"]);
    }

    #[test]
    fn what_comes_to_nothing_is_to_be_revoked_at_once() {
        let mut ledger =
            Ledger { current: Some(entry("r1", 0)), candidate: Some(entry("r2", 30)), ..Ledger::default() };
        ledger.reject(at(31));
        ledger.reject(at(32));
        assert_eq!((revisions(&ledger), ledger.retired[0].undelivered), (vec!["r1", "r2"], true));
        assert_eq!(ledger.revoke_from(GRACE), Some(at(31)));
        ledger.candidate = Some(entry("r3", 40));
        ledger.retire_all(at(50));
        let retired: Vec<_> = ledger.retired.iter().map(|one| (one.entry.revision.as_str(), one.undelivered)).collect();
        assert_eq!(retired, [("r2", true), ("r3", true), ("r1", false)]);
        assert!(ledger.current.is_none() && ledger.candidate.is_none() && !ledger.is_empty());
    }

    #[test]
    fn says_from_when_on_there_is_something_to_revoke() {
        let retired = |at, undelivered| Retired { entry: entry("r0", 0), at, undelivered, succeeded_at: None };
        let proven = Some(entry("r9", 60));
        let unproven = Some(Entry { proven: false, ..entry("r9", 60) });
        let (delivered, vain) = (|minute| retired(at(minute), false), |minute| retired(at(minute), true));
        type Case<'a> = (&'a str, &'a Option<Entry>, Vec<Retired>, Option<Timestamp>, Option<Timestamp>);
        let cases: [Case<'_>; 10] = [
            ("nothing", &proven, vec![], None, None),
            ("after the grace", &proven, vec![delivered(30)], None, Some(at(40))),
            ("the first of several", &proven, vec![delivered(30), delivered(25)], None, Some(at(35))),
            ("never delivered", &proven, vec![delivered(30), vain(32)], None, Some(at(32))),
            ("the successor is not proven", &unproven, vec![delivered(30)], None, None),
            ("not proven, but one was never delivered", &unproven, vec![delivered(30), vain(32)], None, Some(at(32))),
            ("no successor at all", &None, vec![delivered(30)], None, Some(at(40))),
            ("unknown ones may be about", &proven, vec![], Some(at(30)), Some(at(40))),
            ("they may be, before", &proven, vec![delivered(35)], Some(at(30)), Some(at(40))),
            ("they may be, and it is not proven", &unproven, vec![], Some(at(30)), None),
        ];
        for (name, current, retired, stray_since, expected) in cases {
            let ledger = Ledger { current: current.clone(), retired, stray_since, ..Ledger::default() };
            assert_eq!(ledger.revoke_from(GRACE), expected, "{name}");
        }
        let late = Ledger { current: proven, retired: vec![retired(Timestamp::MAX, false)], ..Ledger::default() };
        assert_eq!(late.revoke_from(GRACE), Some(Timestamp::MAX));
    }

    #[test]
    fn replaced_credentials_that_have_expired_are_forgotten_and_nothing_else() {
        let retired = |minute| Retired {
            entry: entry(&format!("r{minute}"), minute),
            at: at(minute),
            undelivered: false,
            succeeded_at: None,
        };
        let mut ledger =
            Ledger { current: Some(entry("old", -500)), retired: vec![retired(0), retired(10)], ..Ledger::default() };
        assert!(!ledger.forget_expired(at(90) - SignedDuration::from_nanos(1)));
        assert!(ledger.forget_expired(at(90)));
        assert_eq!(revisions(&ledger), ["old", "r10"], "what is delivered stays");
        assert!(!ledger.forget_expired(at(90)));
    }

    #[test]
    fn is_full_when_no_further_one_may_be_retired() {
        let retired = |_| Retired { entry: entry("r", 0), at: at(0), undelivered: false, succeeded_at: None };
        let of = |count| Ledger { retired: (0..count).map(retired).collect(), ..Ledger::default() };
        assert!(!of(MAX_RETIRED - 1).is_full() && of(MAX_RETIRED).is_full());
    }

    #[test]
    fn what_can_be_printed_of_it_holds_no_secret() {
        let ledger = full();
        assert!(ledger.to_text().expose_secret().contains(CANARY));
        let printed = format!(
            "{:?} {:?} {:?}",
            ledger.to_text(),
            ledger.names,
            ledger.entries().map(|entry| &entry.issuer).collect::<Vec<_>>()
        );
        assert!(!printed.contains(CANARY), "{printed}");
        assert_eq!(ionos().provider(), "ionos");
        assert!(ionos().lists() && !digitalocean().lists() && digitalocean().provider() == "digitalocean");
    }
}
