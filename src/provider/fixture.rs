//! What providers need in tests: Secrets that are there, and a way to listeners on this machine.

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::{Binds, Error, Io, Sources};
use crate::{
    clock::Clock,
    domain::token::Token,
    net::{Http, fixture},
    problem::Problem,
    provider::access::Access,
};

/// Stands for anything secret, and for anything the other side says: it must never be shown.
pub(super) const CANARY: &str = "canary";

/// The API token of tests.
pub(super) const TOKEN: &str = "dop_v1_canary_api_token";

/// A namespace and a way out.
pub(super) struct World {
    client: Client,
    http: Http,
    clock: Clock,
}

impl World {
    /// One without Secrets.
    pub(super) fn new() -> Self {
        Self::with(vec![])
    }

    /// One with these Secrets.
    pub(super) fn with(secrets: Vec<Value>) -> Self {
        let service = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let name = path.strip_prefix("/api/v1/namespaces/team/secrets/").unwrap_or_default();
            let found = secrets.iter().find(|secret| secret["metadata"]["name"] == name).cloned();
            let (status, body) = match found {
                Some(secret) => (200, secret),
                None if name == "forbidden" => (
                    403,
                    json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}),
                ),
                None => (
                    404,
                    json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no"}),
                ),
            };
            async move {
                let response = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, tower::BoxError>(response.unwrap())
            }
        });
        let http = fixture::http(fixture::settings());
        Self { client: Client::new(service, "team"), http, clock: Clock::system() }
    }

    pub(super) fn io(&self) -> Io<'_> {
        Io::new(
            &self.client,
            Sources::Any { namespace: "team".to_owned(), binds: Binds::IfItSays },
            &self.http,
            &self.clock,
        )
    }
}

/// A Secret of the namespace.
pub(super) fn secret(name: &str, type_: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(key, value)| {
            let value = serde_json::to_value(k8s_openapi::ByteString(value.as_bytes().to_vec())).unwrap();
            ((*key).to_owned(), value)
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_, "data": data,
        "metadata": {"name": name, "namespace": "team", "uid": "u", "resourceVersion": "7"}
    })
}

/// Access by [`TOKEN`].
pub(super) fn token() -> Access {
    Access::Token(Token::new(TOKEN.into()).unwrap())
}

/// The problem of a call, which has to show nothing that is secret or was said by the other side.
pub(super) fn problem<T>(name: &str, result: Result<T, Error>) -> Problem {
    let problem = match result {
        Err(Error::Provider(problem) | Error::Unusable { problem, .. } | Error::Denied(problem)) => *problem,
        Err(Error::Api(error)) => panic!("{name}: {error}"),
        Ok(_) => panic!("{name}: no problem"),
    };
    assert!(!format!("{problem:?}").contains(CANARY), "{name}: {problem:?}");
    assert!(problem.hint.is_some(), "{name}");
    problem
}
