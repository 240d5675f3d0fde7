//! Removes one Secret of ours: looked at whole right before, and gone only in the very form that was looked at. IO.
//!
//! Pods that name a removed Secret cannot restart, and what stood in it may stand nowhere else. So nothing here removes
//! what it did not just see, and the caller says of what was seen whether it may go.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions},
    core::Status,
};

use super::{
    api_failure::ApiFailure,
    secret_meta::{ObjectKey, SecretMeta},
};
use crate::metrics::{Metrics, WriteOp, WriteResult};

/// What a wish to remove a Secret came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was removed.
    Now,
    /// It was gone before.
    Before,
    /// It is on its way out already; a finalizer of somebody else's holds it.
    Ending,
    /// It may not go, with a clause that completes "Secret x …".
    Spared(String),
    /// It was written between the look and the removal. The watch shows it anew.
    Changed,
    /// The API server decided against it: a missing right or a policy.
    Denied,
    /// It gave no decision, as may happen in one namespace alone: a webhook there is out of order.
    Undecided,
}

/// A Secret as a look at the whole object showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked<T> {
    /// It exists.
    There(Box<T>),
    /// It exists, and goes as soon as its finalizers let it.
    Ending,
    /// It does not exist.
    Absent,
    /// The API server does not let us look.
    Denied,
}

/// Looks at a Secret and removes it, if `may_go` has nothing against what was seen: its error is a clause that completes
/// "Secret x …". The look is live; the removal is of that UID and resourceVersion only.
///
/// # Errors
/// An answer of the API server that is no decision; trying again may help.
pub async fn remove(
    client: &Client,
    metrics: &Metrics,
    key: &ObjectKey,
    may_go: impl FnOnce(&Secret) -> Result<(), String>,
) -> Result<Removed, ApiFailure> {
    match read(client, key).await? {
        Looked::There(found) => match may_go(&found) {
            Ok(()) => delete(client, metrics, key, &SecretMeta::from_secret(&found)).await,
            Err(clause) => Ok(Removed::Spared(clause)),
        },
        Looked::Ending => Ok(Removed::Ending),
        Looked::Absent => Ok(Removed::Before),
        Looked::Denied => Ok(Removed::Denied),
    }
}

/// Looks at a whole Secret: its type is not among the metadata.
///
/// # Errors
/// An answer of the API server that is no decision; trying again may help.
pub async fn look(client: &Client, key: &ObjectKey) -> Result<Looked<SecretMeta>, ApiFailure> {
    Ok(match read(client, key).await? {
        Looked::There(secret) => Looked::There(Box::new(SecretMeta::from_secret(&secret))),
        Looked::Ending => Looked::Ending,
        Looked::Absent => Looked::Absent,
        Looked::Denied => Looked::Denied,
    })
}

async fn read(client: &Client, key: &ObjectKey) -> Result<Looked<Secret>, ApiFailure> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    match secrets.get_opt(&key.name).await {
        Ok(Some(secret)) if secret.metadata.deletion_timestamp.is_some() => Ok(Looked::Ending),
        Ok(Some(secret)) => Ok(Looked::There(Box::new(secret))),
        Ok(None) => Ok(Looked::Absent),
        Err(kube::Error::Api(status)) if is_decision(&status) => Ok(Looked::Denied),
        Err(error) => Err(ApiFailure::from(error)),
    }
}

/// Removes a Secret, if it still is what a look showed.
///
/// # Errors
/// The API server did not answer; trying again may help.
pub async fn delete(
    client: &Client,
    metrics: &Metrics,
    key: &ObjectKey,
    seen: &SecretMeta,
) -> Result<Removed, ApiFailure> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let preconditions =
        Preconditions { uid: Some(seen.uid.clone()), resource_version: Some(seen.resource_version.clone()) };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let (counts_as, result) = match secrets.delete(&key.name, &parameters).await {
        Ok(_) => (WriteResult::Written, Ok(Removed::Now)),
        Err(kube::Error::Api(status)) if status.code == 404 => (WriteResult::Conflict, Ok(Removed::Before)),
        Err(kube::Error::Api(status)) if status.code == 409 => (WriteResult::Conflict, Ok(Removed::Changed)),
        Err(kube::Error::Api(status)) if is_decision(&status) => (WriteResult::Denied, Ok(Removed::Denied)),
        Err(kube::Error::Api(_)) => (WriteResult::Failed, Ok(Removed::Undecided)),
        Err(error) => (WriteResult::Failed, Err(ApiFailure::from(error))),
    };
    metrics.target_write(WriteOp::Delete, counts_as);
    result
}

/// Whether an answer says no for good: not who we are, nor that it is gone, newer, or that we are too fast.
pub(crate) fn is_decision(status: &Status) -> bool {
    match status.code {
        401 | 404 | 409 | 429 => false,
        400..=499 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    fn key() -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: "images".into() }
    }

    /// Method and path, and body, of each request.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    /// A client that gives these answers in turn, and the requests it was asked.
    fn answering(answers: Vec<(u16, Value)>) -> (Client, Asked) {
        let (answers, asked) = (Arc::new(Mutex::new(answers)), Arc::new(Mutex::new(vec![])));
        let log = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                let body = request.into_body().collect_bytes().await?;
                log.lock().unwrap().push((line, serde_json::from_slice(&body).unwrap_or(Value::Null)));
                let (status, answer) = answers.lock().unwrap().remove(0);
                let response = Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, tower::BoxError>(response.unwrap())
            }
        });
        (Client::new(service, "default"), asked)
    }

    fn secret() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"namespace": "shop", "name": "images", "uid": "u", "resourceVersion": "7"},
        })
    }

    fn no(code: u16, reason: &str) -> (u16, Value) {
        (code, json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason}))
    }

    #[tokio::test]
    async fn removes_only_the_very_form_it_looked_at() {
        let (client, asked) = answering(vec![(200, secret()), (200, secret())]);
        assert_eq!(remove(&client, &Metrics::default(), &key(), |_| Ok(())).await.unwrap(), Removed::Now);
        let asked = asked.lock().unwrap().clone();
        let path = "/api/v1/namespaces/shop/secrets/images";
        assert_eq!((asked[0].0.clone(), asked[1].0.clone()), (format!("GET {path}"), format!("DELETE {path}")));
        assert_eq!(asked[1].1["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
    }

    #[tokio::test]
    async fn what_may_not_go_is_not_asked_to_go() {
        let (client, asked) = answering(vec![(200, secret())]);
        let result = remove(&client, &Metrics::default(), &key(), |_| Err("is another's".into())).await.unwrap();
        assert_eq!(result, Removed::Spared("is another's".into()));
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn tells_every_answer_apart() {
        let mut ending = secret();
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        for (name, answers, expected) in [
            ("gone before the look", vec![no(404, "NotFound")], Some(Removed::Before)),
            ("on its way out", vec![(200, ending)], Some(Removed::Ending)),
            ("no right to look", vec![no(403, "Forbidden")], Some(Removed::Denied)),
            ("the look failed", vec![no(500, "InternalError")], None),
            ("gone before the act", vec![(200, secret()), no(404, "NotFound")], Some(Removed::Before)),
            ("written before the act", vec![(200, secret()), no(409, "Conflict")], Some(Removed::Changed)),
            ("no right to remove", vec![(200, secret()), no(403, "Forbidden")], Some(Removed::Denied)),
            ("a policy", vec![(200, secret()), no(422, "Invalid")], Some(Removed::Denied)),
            ("too fast", vec![(200, secret()), no(429, "TooManyRequests")], Some(Removed::Undecided)),
            ("logged out", vec![(200, secret()), no(401, "Unauthorized")], Some(Removed::Undecided)),
            ("a fault", vec![(200, secret()), no(500, "InternalError")], Some(Removed::Undecided)),
        ] {
            let (client, _) = answering(answers);
            assert_eq!(remove(&client, &Metrics::default(), &key(), |_| Ok(())).await.ok(), expected, "{name}");
        }
    }
}
