//! Shows a kube client one namespace as if it were the whole cluster, for chosen resources.
//!
//! So that many operators can be tested side by side against one control plane: each lists and watches "everything" and
//! sees only its test's namespace. A `tower` layer; only reads of cluster-wide collections are changed.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::PathAndQuery;
use tower::{Layer, Service};

use crate::request::Request;

/// Resources that are in no namespace: of these only the one with the namespace's name is shown.
const OF_THE_CLUSTER: [&str; 2] = ["namespaces", "clusterregistryconnections"];

/// The layer, see the module.
#[derive(Clone, Debug)]
pub struct Confine {
    scope: Arc<Scope>,
}

#[derive(Debug)]
struct Scope {
    namespace: String,
    resources: Vec<String>,
}

impl Confine {
    /// Cluster-wide lists and watches of these resources (plural names, of any group) go to `namespace` instead.
    pub fn to(namespace: &str, resources: &[&str]) -> Self {
        let resources = resources.iter().map(|resource| (*resource).to_owned()).collect();
        Self { scope: Arc::new(Scope { namespace: namespace.to_owned(), resources }) }
    }
}

impl Scope {
    /// The address to use instead, if this one is to be changed.
    fn confined(&self, method: &http::Method, uri: &Uri) -> Option<Uri> {
        let request = Request::parse(method, uri);
        let chosen =
            request.is_collection_read() && request.namespace.is_empty() && self.resources.contains(&request.resource);
        if !chosen {
            return None;
        }
        let path = if OF_THE_CLUSTER.contains(&request.resource.as_str()) {
            let query = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
            format!("{}?{query}fieldSelector=metadata.name%3D{}", uri.path(), self.namespace)
        } else {
            let (before, _) = uri.path().trim_end_matches('/').rsplit_once('/')?;
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            format!("{before}/namespaces/{}/{}{query}", self.namespace, request.resource)
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok()
    }
}

impl<S> Layer<S> for Confine {
    type Service = Confined<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Confined { inner, scope: self.scope.clone() }
    }
}

/// The service that [`Confine`] wraps around another.
#[derive(Clone, Debug)]
pub struct Confined<S> {
    inner: S,
    scope: Arc<Scope>,
}

impl<S, B> Service<http::Request<B>> for Confined<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        if let Some(uri) = self.scope.confined(request.method(), request.uri()) {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_only_cluster_wide_reads_of_chosen_resources() {
        let scope = Confine::to("one", &["secrets", "things", "namespaces"]).scope;
        let cases = [
            ("GET", "/api/v1/secrets?watch=true", Some("/api/v1/namespaces/one/secrets?watch=true")),
            ("GET", "/apis/x.dev/v2/things", Some("/apis/x.dev/v2/namespaces/one/things")),
            ("GET", "/api/v1/namespaces/two/secrets", None),
            ("GET", "/api/v1/configmaps", None),
            ("GET", "/api/v1/namespaces", Some("/api/v1/namespaces?fieldSelector=metadata.name%3Done")),
            (
                "GET",
                "/api/v1/namespaces?watch=true",
                Some("/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3Done"),
            ),
            ("GET", "/api/v1/namespaces/one", None),
            ("GET", "/apis/x.dev/v2/things/name", None),
            ("DELETE", "/apis/x.dev/v2/things", None),
        ];
        for (method, uri, expected) in cases {
            let changed = scope.confined(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(changed.map(|uri| uri.to_string()).as_deref(), expected, "{method} {uri}");
        }
    }
}
