//! The Secret that holds a ledger: read at the start of a pass that acts, and written before anything rests on it. Every
//! write is of the very form that was read, so of two operators one is told that it came second. IO.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ObjectMeta, Status},
};
use secrecy::ExposeSecret;
use std::sync::Arc;

use crate::{
    api::{
        Reason,
        connection::DeletionPolicy,
        names::{
            CANDIDATE_ANNOTATION, CONNECTION_ANNOTATION, CONNECTION_CREATED_ANNOTATION, CONNECTION_LABEL,
            DELETION_POLICY_ANNOTATION, EXPIRES_AT_ANNOTATION, FIELD_MANAGER, LEDGER_KEY, LEDGER_TYPE,
            MANAGED_BY_LABEL, REVISION_ANNOTATION, REVOKE_FROM_ANNOTATION,
        },
    },
    controller::{
        Context,
        error::Error,
        plan::ledger_patch,
        remove::is_decision,
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
    },
    domain::{
        ledger::{Damaged, Ledger},
        reference::ConnectionReference,
    },
    problem::{Problem, shortened},
};

/// The longest words of the API server that are shown, in bytes.
const MAX_WORDS: usize = 300;

/// A ledger and the Secret it stands in.
pub(super) struct Book {
    pub(super) key: ObjectKey,
    pub(super) ledger: Ledger,
    /// As it was read or written last; none if there is none.
    secret: Option<Secret>,
    /// What the Secret held was none.
    damaged: Option<Damaged>,
    /// Whose it is, and what the end of that connection does.
    owner: Owner,
}

/// What a ledger says of its connection.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) reference: ConnectionReference,
    /// None leaves what stands there.
    pub(super) created: Option<jiff::Timestamp>,
    /// None leaves what stands there.
    pub(super) deletion_policy: Option<DeletionPolicy>,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// It was written.
    Now,
    /// Somebody wrote it since it was read.
    Conflict,
}

/// What keeps a step from being taken.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// Somebody decided against it; what to tell.
    Told(Problem),
    /// The API server did not answer as expected; trying again may help.
    Cut(Error),
}

impl Obstacle {
    /// Whether it stays until something changes, or a while has passed.
    pub(super) fn is_for_good(&self) -> bool {
        match self {
            Self::Told(problem) => is_for_good(problem),
            Self::Cut(_) => false,
        }
    }
}

/// Whether a provider refused, so that asking again soon would be of no use.
pub(super) fn is_for_good(problem: &Problem) -> bool {
    matches!(problem.reason, Reason::InvalidCredentials | Reason::InsufficientScope | Reason::InvalidSpec)
}

impl Book {
    /// Reads the ledger of a connection. One that is not there is empty.
    pub(super) async fn open(context: &Context, owner: Owner) -> Result<Self, Obstacle> {
        let key = ObjectKey::of_ledger(&context.namespace, &owner.reference);
        let mut book = Self { key, ledger: Ledger::default(), secret: None, damaged: None, owner };
        book.reopen(context).await?;
        Ok(book)
    }

    /// Reads it anew, in place of what is known of it.
    pub(super) async fn reopen(&mut self, context: &Context) -> Result<(), Obstacle> {
        let found = self.api(context).get_opt(&self.key.name).await;
        let found = found.map_err(|error| self.failure("get", error, |error| Error::Read(error.into())))?;
        (self.ledger, self.damaged) = match &found {
            None => (Ledger::default(), None),
            Some(secret) => self.read(secret)?,
        };
        let state = match &found {
            None => SecretState::Absent,
            Some(secret) => SecretState::Present(Arc::new(SecretMeta::from_secret(secret))),
        };
        context.index.learn(&self.key, state);
        self.secret = found;
        Ok(())
    }

    fn read(&self, secret: &Secret) -> Result<(Ledger, Option<Damaged>), Obstacle> {
        if secret.type_.as_deref() != Some(LEDGER_TYPE) || secret.immutable == Some(true) {
            let message = format!("Secret {} is not a ledger that can be written", self.key);
            let problem = Problem::new(Reason::Forbidden, message);
            return Err(Obstacle::Told(problem.hint("nobody else may use that name: delete the Secret")));
        }
        let text = secret.data.as_ref().and_then(|data| data.get(LEDGER_KEY)).map_or(&[][..], |text| &text.0);
        match Ledger::parse(text) {
            Ok(ledger) => Ok((ledger, None)),
            Err(damaged @ Damaged::Version) => {
                let message = format!("the ledger {} cannot be read: {damaged}", self.key);
                let problem = Problem::new(Reason::Forbidden, message);
                Err(Obstacle::Told(problem.hint("run a version of the operator that is at least as new as that one")))
            }
            Err(damaged @ (Damaged::Form | Damaged::Entry)) => Ok((Ledger::default(), Some(damaged))),
        }
    }

    /// Why what the Secret held was no ledger, if it was not.
    pub(super) fn damaged(&self) -> Option<Damaged> {
        self.damaged
    }

    /// Whether it says something else of its connection than is true: it was taken over from one of the same name.
    pub(super) fn is_outdated(&self) -> bool {
        let annotations = self.secret.as_ref().and_then(|secret| secret.metadata.annotations.as_ref());
        let says = |key: &str, value: Option<String>| {
            value.is_none_or(|value| annotations.and_then(|annotations| annotations.get(key)) == Some(&value))
        };
        let Owner { reference, created, deletion_policy } = &self.owner;
        !says(CONNECTION_ANNOTATION, Some(reference.to_string()))
            || !says(CONNECTION_CREATED_ANNOTATION, created.map(|time| time.to_string()))
            || !says(DELETION_POLICY_ANNOTATION, deletion_policy.map(|policy| policy.as_str().to_owned()))
    }

    /// Whether there is one.
    pub(super) fn exists(&self) -> bool {
        self.secret.is_some()
    }

    /// Writes the ledger, if it still is what was read.
    pub(super) async fn save(&mut self, context: &Context) -> Result<Saved, Obstacle> {
        let secret = self.to_secret(context.revocation_grace);
        let manager = Some(FIELD_MANAGER.to_owned());
        let (verb, written) = match &self.secret {
            None => {
                let parameters = PostParams { field_manager: manager, ..PostParams::default() };
                ("create", self.api(context).create(&parameters, &secret).await)
            }
            Some(before) => {
                let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
                let patch = Patch::<()>::Json(ledger_patch(before, &secret));
                ("patch", self.api(context).patch(&self.key.name, &parameters, &patch).await)
            }
        };
        match written {
            Ok(written) => {
                let meta = SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&written) };
                context.index.learn(&self.key, SecretState::Present(Arc::new(meta)));
                (self.secret, self.damaged) = (Some(written), None);
                Ok(Saved::Now)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Saved::Conflict),
            // It went since it was read.
            Err(kube::Error::Api(status)) if status.code == 404 && self.secret.is_some() => Ok(Saved::Conflict),
            Err(error) => Err(self.failure(verb, error, |error| Error::Ledger(error.into()))),
        }
    }

    /// Removes the Secret, if it still is what was read. It must hold nothing any more.
    pub(super) async fn remove(&mut self, context: &Context) -> Result<Saved, Obstacle> {
        let Some(secret) = &self.secret else { return Ok(Saved::Now) };
        let preconditions = Preconditions {
            uid: secret.metadata.uid.clone(),
            resource_version: secret.metadata.resource_version.clone(),
        };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api(context).delete(&self.key.name, &parameters).await {
            Ok(_) => Ok(Saved::Now),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Saved::Now),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Saved::Conflict),
            Err(error) => Err(self.failure("delete", error, |error| Error::Ledger(error.into()))),
        }
    }

    /// What is known of it to others.
    pub(super) fn state(&self, context: &Context) -> SecretState {
        context.index.secret(&self.key)
    }

    fn api(&self, context: &Context) -> Api<Secret> {
        Api::namespaced(context.client.clone(), &self.key.namespace)
    }

    fn to_secret(&self, grace: SignedDuration) -> Secret {
        let mut secret = self.secret.clone().unwrap_or_default();
        let Owner { reference, created, deletion_policy } = &self.owner;
        let metadata = ObjectMeta {
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            managed_fields: None,
            ..secret.metadata
        };
        let mut labels = metadata.labels.unwrap_or_default();
        labels.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
        labels.insert(CONNECTION_LABEL.into(), reference.label_value());
        let mut annotations = metadata.annotations.unwrap_or_default();
        let current = self.ledger.current.as_ref();
        let values = [
            (CONNECTION_ANNOTATION, Some(reference.to_string())),
            (REVISION_ANNOTATION, current.map(|entry| entry.revision.clone())),
            (EXPIRES_AT_ANNOTATION, current.map(|entry| entry.expires_at.to_string())),
            (CANDIDATE_ANNOTATION, self.ledger.candidate.as_ref().map(|entry| entry.revision.clone())),
            (REVOKE_FROM_ANNOTATION, self.ledger.revoke_from(grace).map(|time| time.to_string())),
        ];
        for (key, value) in values {
            match value {
                Some(value) => annotations.insert(key.into(), value),
                None => annotations.remove(key),
            };
        }
        if let Some(created) = created {
            annotations.insert(CONNECTION_CREATED_ANNOTATION.into(), created.to_string());
        }
        if let Some(policy) = deletion_policy {
            annotations.insert(DELETION_POLICY_ANNOTATION.into(), policy.as_str().into());
        }
        secret.metadata = ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..metadata };
        secret.type_ = Some(LEDGER_TYPE.into());
        let text = self.ledger.to_text();
        secret.data = Some(BTreeMap::from([(LEDGER_KEY.into(), ByteString(text.expose_secret().as_bytes().to_vec()))]));
        secret
    }

    fn failure(&self, verb: &str, error: kube::Error, unanswered: impl FnOnce(kube::Error) -> Error) -> Obstacle {
        match error {
            kube::Error::Api(status) if status.code == 404 || is_decision(&status) => {
                Obstacle::Told(self.denied(verb, &status))
            }
            error => Obstacle::Cut(unanswered(error)),
        }
    }

    /// What to tell of a write that the API server decided against. Its words are not shown where they may quote the ledger.
    fn denied(&self, verb: &str, status: &Status) -> Problem {
        let ObjectKey { namespace, name } = &self.key;
        if status.code == 404 {
            let message = format!("the operator's namespace {namespace:?}, where ledgers are kept, does not exist");
            let hint =
                format!("create it: kubectl create namespace {namespace}; or name another one with POD_NAMESPACE");
            return Problem::new(Reason::Forbidden, message).hint(hint);
        }
        let is_quote = self.ledger.entries().any(|entry| entry.credential.appears_in(&status.message));
        let words = if is_quote { "(its words contain a credential and are withheld)" } else { &status.message };
        let words = shortened(words.to_owned(), MAX_WORDS);
        let message = format!("the operator may not {verb} the ledger {name} in namespace {namespace:?}: {words}");
        Problem::new(Reason::Forbidden, message)
            .hint("grant the operator's ServiceAccount the verbs get, create, patch and delete on secrets in its own namespace")
    }
}

#[cfg(test)]
impl Book {
    /// One that is not in any cluster.
    pub(super) fn of(reference: &ConnectionReference, ledger: Ledger) -> Self {
        let owner = Owner { reference: reference.clone(), created: None, deletion_policy: None };
        Self { key: ObjectKey::of_ledger("regcred-system", reference), ledger, secret: None, damaged: None, owner }
    }

    /// What others would know of it, once it is written.
    pub(super) fn written(&self, resource_version: &str, grace: SignedDuration) -> SecretState {
        let mut secret = self.to_secret(grace);
        secret.metadata.uid = Some("l".into());
        secret.metadata.resource_version = Some(resource_version.into());
        SecretState::Present(Arc::new(SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{created, delivered, entry, issuing, minutes_later};
    use serde_json::json;

    const GRACE: SignedDuration = SignedDuration::from_mins(10);

    fn book(change: impl FnOnce(&mut Ledger)) -> Book {
        let connection = issuing(&delivered(|_| {}));
        let mut ledger = Ledger { current: Some(entry(&connection, "r1", 0, 90)), ..Ledger::default() };
        change(&mut ledger);
        Book::of(&connection.reference, ledger)
    }

    fn annotation(secret: &Secret, key: &str) -> Option<String> {
        secret.metadata.annotations.as_ref()?.get(key).cloned()
    }

    #[test]
    fn the_secret_says_whose_it_is_and_what_a_look_at_its_metadata_must_tell() {
        let mut book = book(|_| {});
        book.owner.created = Some(created());
        book.owner.deletion_policy = Some(DeletionPolicy::Retain);
        let secret = book.to_secret(GRACE);
        let meta = SecretMeta::from_secret(&secret);
        assert_eq!(meta.ledger_of(&book.key, "regcred-system"), Some(book.owner.reference.clone()));
        assert_eq!((meta.revision(), meta.revoke_from()), (Some("r1"), None));
        assert_eq!(meta.deletion_policy(), Some(DeletionPolicy::Retain));
        assert_eq!(meta.connection_created(), Some(created()));
        assert_eq!(annotation(&secret, EXPIRES_AT_ANNOTATION), Some(minutes_later(90).to_string()));
        assert_eq!(secret.type_.as_deref(), Some(LEDGER_TYPE));
        let data: Vec<&String> = secret.data.iter().flatten().map(|(key, _)| key).collect();
        assert_eq!(data, [LEDGER_KEY]);
        let text = serde_json::to_string(&secret.metadata).unwrap();
        assert!(!text.contains("password-r1"), "{text}");
    }

    #[test]
    fn what_is_told_follows_the_ledger() {
        let retire = |ledger: &mut Ledger| {
            ledger.candidate =
                ledger.current.clone().map(|entry| crate::domain::ledger::Entry { revision: "r2".into(), ..entry });
            ledger.promote(None, minutes_later(30));
        };
        type Told = (Option<&'static str>, Option<jiff::Timestamp>);
        type Change = Box<dyn FnOnce(&mut Ledger)>;
        let cases: [(&str, Change, Told); 4] = [
            ("replaced", Box::new(retire), (Some("r2"), Some(minutes_later(40)))),
            (
                "replaced by one that is not proven",
                Box::new(move |ledger| {
                    retire(ledger);
                    ledger.current.as_mut().unwrap().proven = false;
                }),
                (Some("r2"), None),
            ),
            (
                "not delivered any more",
                Box::new(|ledger| ledger.retire_all(minutes_later(5))),
                (None, Some(minutes_later(15))),
            ),
            ("nothing", Box::new(|ledger| *ledger = Ledger::default()), (None, None)),
        ];
        for (name, change, expected) in cases {
            let mut book = book(|_| {});
            // What it said before is not left behind.
            book.secret = Some(self::book(retire).to_secret(GRACE));
            change(&mut book.ledger);
            let meta = SecretMeta::from_secret(&book.to_secret(GRACE));
            assert_eq!((meta.revision(), meta.revoke_from()), expected, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_and_what_others_wrote_into_its_metadata_stays() {
        let mut book = book(|_| {});
        let before = json!({
            "metadata": {
                "uid": "l", "resourceVersion": "7", "labels": {"velero.io/backup": "x"},
                "annotations": {"note": "n", "regcred.dev/deletion-policy": "Retain"},
                "managedFields": [{"manager": "regcred"}],
            },
            "data": {"stray": "c3RyYXk="},
        });
        book.secret = Some(serde_json::from_value(before).unwrap());
        let secret = book.to_secret(GRACE);
        assert_eq!(secret.metadata.resource_version.as_deref(), Some("7"), "it is written only if it still is that");
        assert_eq!((secret.metadata.managed_fields.as_ref(), secret.metadata.uid.as_deref()), (None, Some("l")));
        assert_eq!(annotation(&secret, "note").as_deref(), Some("n"));
        assert_eq!(annotation(&secret, DELETION_POLICY_ANNOTATION).as_deref(), Some("Retain"));
        assert!(secret.metadata.labels.is_some_and(|labels| labels.contains_key("velero.io/backup")));
    }

    #[test]
    fn reads_what_it_writes_and_nobody_elses_secret() {
        let written = book(|ledger| ledger.reject(created())).to_secret(GRACE);
        let reader = book(|ledger| *ledger = Ledger::default());
        let (ledger, damaged) = reader.read(&written).unwrap();
        assert_eq!((ledger.current.map(|entry| entry.revision), damaged), (Some("r1".to_owned()), None));
        let changed = |change: fn(&mut Secret)| {
            let mut secret = written.clone();
            change(&mut secret);
            reader.read(&secret)
        };
        let told = |result: Result<(Ledger, Option<Damaged>), Obstacle>| match result {
            Err(Obstacle::Told(problem)) => Err(problem.reason),
            Err(Obstacle::Cut(error)) => panic!("{error}"),
            Ok((ledger, damaged)) => Ok((ledger.is_empty(), damaged)),
        };
        type Change = fn(&mut Secret);
        type Told = Result<(bool, Option<Damaged>), Reason>;
        let cases: [(&str, Change, Told); 5] = [
            ("of another type", |secret| secret.type_ = Some("Opaque".into()), Err(Reason::Forbidden)),
            ("immutable", |secret| secret.immutable = Some(true), Err(Reason::Forbidden)),
            ("empty", |secret| secret.data = None, Ok((true, Some(Damaged::Form)))),
            (
                "of a later version",
                |secret| {
                    secret.data = Some(BTreeMap::from([(LEDGER_KEY.into(), ByteString(br#"{"version":2}"#.to_vec()))]))
                },
                Err(Reason::Forbidden),
            ),
            (
                "garbage",
                |secret| secret.data = Some(BTreeMap::from([(LEDGER_KEY.into(), ByteString(b"\xff".to_vec()))])),
                Ok((true, Some(Damaged::Form))),
            ),
        ];
        for (name, change, expected) in cases {
            assert_eq!(told(changed(change)), expected, "{name}");
        }
    }

    #[test]
    fn words_of_the_api_server_that_quote_a_credential_are_withheld() {
        let book = book(|_| {});
        let status = |message: &str| Status { code: 403, message: message.into(), ..Status::default() };
        assert!(book.denied("update", &status("quota exceeded")).message.ends_with("quota exceeded"));
        let quoted = book.denied("update", &status("denied: password-r1 is weak")).message;
        assert!(!quoted.contains("password") && quoted.contains("withheld"), "{quoted}");
        let gone = book.denied("create", &Status { code: 404, ..Status::default() });
        assert!(gone.message.contains("does not exist"));
    }
}
