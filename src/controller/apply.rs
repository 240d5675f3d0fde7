//! Seventh step: carries out a plan. IO; decides nothing and builds no object.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};

use super::{
    plan::{Plan, Write},
    secret_meta::{SecretKey, SecretMeta},
    sighting::SecretState,
};
use crate::{
    api::{Reason, names::FIELD_MANAGER},
    problem::{Problem, field},
};

/// What a pass of writes came to. Only [`apply`] makes one.
#[derive(Default)]
pub struct Applied {
    written: Vec<(SecretKey, SecretState)>,
    learned: Vec<(SecretKey, SecretState)>,
    denied: Vec<Problem>,
}

impl Applied {
    /// What is now known of the Secrets that were written, and of those that turned out to be other than was thought.
    pub fn known(&self) -> impl Iterator<Item = &(SecretKey, SecretState)> {
        self.written.iter().chain(&self.learned)
    }

    /// True if something was other than was thought, so that another plan may do better.
    pub fn is_surprised(&self) -> bool {
        !self.learned.is_empty()
    }

    /// How many Secrets were written.
    pub fn written(&self) -> usize {
        self.written.len()
    }

    /// The writes the API server refused.
    pub fn denied(&self) -> &[Problem] {
        &self.denied
    }
}

/// Carries out the writes of a plan.
///
/// # Errors
/// The first answer of the API server that is no decision about the write; trying again may help.
pub async fn apply(client: &Client, plan: Plan) -> Result<Applied, kube::Error> {
    let mut applied = Applied::default();
    for (key, write) in plan.writes {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
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
                // This very resourceVersion is ours, whoever else owns a field of the same value.
                let meta = SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) };
                applied.written.push((key, SecretState::Present(meta.into())));
            }
            Err(kube::Error::Api(status)) => {
                if let Some(problem) = refusal(&key, &status) {
                    applied.denied.push(problem);
                } else if is_surprise(&status) {
                    let state = match secrets.get_opt(&key.name).await? {
                        Some(secret) => SecretState::Present(SecretMeta::from_secret(&secret).into()),
                        None => SecretState::Absent,
                    };
                    applied.learned.push((key, state));
                } else {
                    return Err(kube::Error::Api(status));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(applied)
}

/// The name is taken, the Secret is gone, newer than we know, or not what we think: worth a look.
fn is_surprise(status: &Status) -> bool {
    status.is_already_exists() || status.is_conflict() || status.is_not_found() || status.is_invalid()
}

/// The API server's decision against a write, if its answer is one.
fn refusal(key: &SecretKey, status: &Status) -> Option<Problem> {
    if status.is_forbidden() { Some(denied(key, &status.message)) } else { invalid_marks(key, status) }
}

/// The problem of labels or annotations that the API server does not accept. They come from the spec and are no secret,
/// so its words may be shown; those about anything else are not.
fn invalid_marks(key: &SecretKey, status: &Status) -> Option<Problem> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let (cause, field) = causes.filter(|_| status.is_invalid()).find_map(|cause| {
        let field = ["labels", "annotations"].into_iter().find(|map| cause.field == format!("metadata.{map}"))?;
        Some((cause, if field == "labels" { field::SECRET_LABELS } else { field::SECRET_ANNOTATIONS }))
    })?;
    Some(
        Problem::new(
            Reason::InvalidSpec,
            format!("the API server does not accept {field} on Secret {key}: {}", cause.message),
        )
        .at(field),
    )
}

fn denied(key: &SecretKey, why: &str) -> Problem {
    Problem::new(Reason::Forbidden, format!("the API server refused to let the operator write Secret {key}: {why}"))
        .at(field::SECRET_NAME)
        .hint(Reason::Forbidden.fix())
}
