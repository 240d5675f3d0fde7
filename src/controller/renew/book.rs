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
            CONNECTION_ANNOTATION, CONNECTION_CREATED_ANNOTATION, CONNECTION_LABEL, DELETION_POLICY_ANNOTATION,
            EXPIRES_AT_ANNOTATION, FIELD_MANAGER, LEDGER_KEY, LEDGER_TYPE, MANAGED_BY_LABEL, REVISION_ANNOTATION,
            REVOKE_FROM_ANNOTATION,
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
