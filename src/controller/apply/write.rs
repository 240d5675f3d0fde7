//! One write: what the API server answers to it, and what that means. IO.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};
use tokio::time::timeout;

use crate::{
    api::{Reason, names::FIELD_MANAGER},
    controller::{
        api_failure::ApiFailure,
        plan::{PlannedWrite, Write},
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
    },
    metrics::{Metrics, WriteOp, WriteResult},
    problem::{Problem, field},
};

/// By then the API server has answered: the longest that it lets a webhook keep it waiting is 30 seconds.
pub const ANSWER: Duration = Duration::from_secs(32);

/// A write that the API server decided against.
pub struct Denied {
    /// The namespace of the Secret.
    pub namespace: Arc<str>,
    /// What was known of the Secret.
    pub known: SecretState,
    /// The server's words. They may quote the object, password and all.
    pub words: String,
    /// What to do, and in which field, as far as that is known.
    pub problem: Problem,
    /// Set if it is worth trying again as soon as after a problem of this reason.
    pub pause_like: Option<Reason>,
}

/// What one write came to.
pub(super) enum Done {
    /// The Secret is as it was planned.
    Written(SecretState),
    /// It was other than was thought.
    Surprised(SecretState),
    /// The API server decided against it.
    Denied(Denied),
    /// Its turn did not come in time.
    TooLate,
}

/// A write that came to nothing, and not by a decision about it.
pub(super) enum Failed {
    /// The API server answered, as it may answer in one namespace alone, where a webhook is out of order; or it did not in time.
    Here(Denied, ApiFailure),
    /// It did not answer.
    Everywhere(ApiFailure),
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self::Everywhere(error.into())
    }
}

/// Writes, and does not wait for ever.
pub(super) async fn answered(client: &Client, metrics: &Metrics, planned: PlannedWrite) -> Result<Done, Failed> {
    let (namespace, known, key) = (Arc::clone(&planned.namespace), planned.known.clone(), planned.key.clone());
    let op = op(&planned.write);
    match timeout(ANSWER, write(client, metrics, planned)).await {
        Ok(done) => done,
        Err(_) => {
            metrics.target_write(op, WriteResult::Failed);
            let failure = ApiFailure::silence(ANSWER);
            let words = failure.to_string();
            let pause_like = Some(Reason::UpstreamError);
            Err(Failed::Here(Denied { namespace, known, words, problem: denied(&key), pause_like }, failure))
        }
    }
}

async fn write(client: &Client, metrics: &Metrics, planned: PlannedWrite) -> Result<Done, Failed> {
    let PlannedWrite { namespace, key, known, write } = planned;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let op = op(&write);
    let result = match write {
        Write::Create(secret) => {
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            secrets.create(&parameters, &secret).await
        }
        Write::Replace(secret) => {
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            secrets.replace(&key.name, &parameters, &secret).await
        }
        Write::Update(patch) => {
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
            secrets.patch(&key.name, &parameters, &Patch::<Secret>::Json(patch)).await
        }
    };
    let status = match result {
        Ok(secret) => {
            metrics.target_write(op, WriteResult::Written);
            // This very resourceVersion is ours, whoever else owns a field of the same value.
            let meta = SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) };
            return Ok(Done::Written(SecretState::Present(meta.into())));
        }
        Err(kube::Error::Api(status)) => status,
        Err(error) => {
            metrics.target_write(op, WriteResult::Failed);
            return Err(error.into());
        }
    };
    if let Some(problem) = refusal(&key, &status) {
        metrics.target_write(op, WriteResult::Denied);
        // A 500 is a webhook that could not be asked; it may be back any moment.
        let pause_like = (status.code == 500).then_some(Reason::UpstreamError);
        return Ok(Done::Denied(Denied { namespace, known, words: status.message, problem, pause_like }));
    }
    if !is_surprise(&status) {
        metrics.target_write(op, WriteResult::Failed);
        let (problem, words) = (denied(&key), status.message.clone());
        let failure = ApiFailure::from(kube::Error::Api(status));
        let pause_like = Some(Reason::UpstreamError);
        return Err(Failed::Here(Denied { namespace, known, words, problem, pause_like }, failure));
    }
    let found = match secrets.get_opt(&key.name).await {
        Ok(Some(secret)) => SecretState::Present(SecretMeta::from_secret(&secret).into()),
        Ok(None) => SecretState::Absent,
        Err(error) => {
            metrics.target_write(op, WriteResult::Failed);
            let kube::Error::Api(status) = &error else { return Err(error.into()) };
            let (problem, words) = (denied(&key), status.message.clone());
            let pause_like = Some(Reason::UpstreamError);
            return Err(Failed::Here(Denied { namespace, known, words, problem, pause_like }, error.into()));
        }
    };
    // The namespace may be gone, which the watch will show.
    let is_decision = status.is_invalid() || status.is_not_found();
    // An "invalid" that nothing in the cluster explains is a decision, as policies make it.
    if is_decision && found.is_no_news_after(&known) {
        metrics.target_write(op, WriteResult::Denied);
        let problem = denied(&key);
        return Ok(Done::Denied(Denied { namespace, known, words: status.message, problem, pause_like: None }));
    }
    metrics.target_write(op, WriteResult::Conflict);
    Ok(Done::Surprised(found))
}

fn op(write: &Write) -> WriteOp {
    match write {
        Write::Create(_) => WriteOp::Create,
        Write::Replace(_) | Write::Update(_) => WriteOp::Update,
    }
}

/// The name is taken, the Secret is gone, newer than we know, or not what we think: worth a look.
fn is_surprise(status: &Status) -> bool {
    status.is_already_exists() || status.is_conflict() || status.is_not_found() || status.is_invalid()
}

/// What the API server decided against a write, if its answer is a decision.
fn refusal(key: &ObjectKey, status: &Status) -> Option<Problem> {
    match status.code {
        // Not a decision about the write: who we are, that it is gone, newer, odd, or that we are too fast.
        401 | 404 | 409 | 429 => None,
        422 => invalid_marks(key, status),
        400..=500 => Some(denied(key)),
        _ => None,
    }
}

/// The problem of labels or annotations that the API server does not accept.
fn invalid_marks(key: &ObjectKey, status: &Status) -> Option<Problem> {
    let mut causes = status.details.iter().flat_map(|details| &details.causes).filter(|_| status.is_invalid());
    let field = causes.find_map(|cause| match cause.field.as_str() {
        "metadata.labels" => Some(field::SECRET_LABELS),
        "metadata.annotations" => Some(field::SECRET_ANNOTATIONS),
        _ => None,
    })?;
    Some(Problem::new(Reason::InvalidSpec, format!("the API server does not accept {field} on Secret {key}")).at(field))
}

fn denied(key: &ObjectKey) -> Problem {
    Problem::new(Reason::Forbidden, format!("the API server refused to let the operator write Secret {key}"))
        .at(field::SECRET_NAME)
        .hint(Reason::Forbidden.fix())
}
