//! Seventh step: carries out a plan. IO; decides nothing and builds no object.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};

use super::{
    api_failure::ApiFailure,
    plan::{Plan, PlannedWrite, Write},
    secret_meta::{ObjectKey, SecretMeta},
    sighting::SecretState,
};
use crate::{
    api::{Reason, names::FIELD_MANAGER},
    metrics::{Metrics, WriteOp, WriteResult},
    problem::{Problem, field},
};

/// What a pass of writes came to. Only [`apply`] makes one.
#[derive(Default)]
pub struct Applied {
    written: Vec<(ObjectKey, SecretState)>,
    learned: Vec<(ObjectKey, SecretState)>,
    denied: Vec<Denied>,
}

/// A write that the API server decided against.
pub struct Denied {
    /// The Secret.
    pub key: ObjectKey,
    /// The server's words. They may quote the object, password and all.
    pub words: String,
    /// What to do, and in which field, as far as that is known.
    pub problem: Problem,
    /// Set if it is worth trying again as soon as after a problem of this reason.
    pub pause_like: Option<Reason>,
}

impl Applied {
    /// What is now known of the Secrets that were written, and of those that turned out to be other than was thought.
    pub fn known(&self) -> impl Iterator<Item = &(ObjectKey, SecretState)> {
        self.written.iter().chain(&self.learned)
    }

    /// True if something was other than was thought, so that another plan may do better.
    pub fn is_surprised(&self) -> bool {
        !self.learned.is_empty()
    }

    /// The writes the API server refused.
    pub fn denied(&self) -> &[Denied] {
        &self.denied
    }
}

/// Carries out the writes of a plan.
///
/// # Errors
/// The first answer of the API server that is no decision about the write; trying again may help.
pub async fn apply(client: &Client, metrics: &Metrics, plan: Plan) -> Result<Applied, ApiFailure> {
    let mut applied = Applied::default();
    for PlannedWrite { key, known, write } in plan.writes {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
        let op = match &write {
            Write::Create(_) => WriteOp::Create,
            Write::Update(_) => WriteOp::Update,
        };
        let result = match write {
            Write::Create(secret) => {
                let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
                secrets.create(&parameters, &secret).await
            }
            Write::Update(patch) => {
                let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
                secrets.patch(&key.name, &parameters, &Patch::<Secret>::Json(patch)).await
            }
        };
        match result {
            Ok(secret) => {
                metrics.target_write(op, WriteResult::Written);
                // This very resourceVersion is ours, whoever else owns a field of the same value.
                let meta = SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) };
                applied.written.push((key, SecretState::Present(meta.into())));
            }
            Err(kube::Error::Api(status)) => {
                if let Some(problem) = refusal(&key, &status) {
                    metrics.target_write(op, WriteResult::Denied);
                    // A 500 is a webhook that could not be asked; it may be back any moment.
                    let pause_like = (status.code == 500).then_some(Reason::UpstreamError);
                    applied.denied.push(Denied { key, words: status.message, problem, pause_like });
                    continue;
                }
                if !is_surprise(&status) {
                    metrics.target_write(op, WriteResult::Failed);
                    return Err(ApiFailure::from(kube::Error::Api(status)));
                }
                let found = secrets.get_opt(&key.name).await;
                let found = match found.inspect_err(|_| metrics.target_write(op, WriteResult::Failed))? {
                    Some(secret) => SecretState::Present(SecretMeta::from_secret(&secret).into()),
                    None => SecretState::Absent,
                };
                // An "invalid" that nothing in the cluster explains is a decision, as policies make it.
                if status.is_invalid() && found.is_no_news_after(&known) {
                    metrics.target_write(op, WriteResult::Denied);
                    let problem = denied(&key);
                    applied.denied.push(Denied { key, words: status.message, problem, pause_like: None });
                } else {
                    metrics.target_write(op, WriteResult::Conflict);
                    applied.learned.push((key, found));
                }
            }
            Err(error) => {
                metrics.target_write(op, WriteResult::Failed);
                return Err(ApiFailure::from(error));
            }
        }
    }
    Ok(applied)
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
