//! Reads from method and address what a request to the API server is about.
//!
//! Pure, and shared by everything that looks at requests, so that they agree on what a list or a subresource is.

use http::Method;
use http::Uri;

/// What one request is about, in the words of Kubernetes' authorization.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// get, list, watch, create, update, patch, delete or deletecollection; for addresses that are no resource (such as
    /// `/version` or discovery) the method in small letters.
    pub verb: &'static str,
    /// The API group; empty for the core group and for addresses that are no resource.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The resource's plural name; empty for addresses that are no resource.
    pub resource: String,
    /// Such as `status` or `token`; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-wide requests.
    pub namespace: String,
    /// The object's name; empty for collections.
    pub name: String,
}

impl Request {
    /// Reads `method` and `uri`.
    pub fn parse(method: &Method, uri: &Uri) -> Self {
        let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let mut request = Self::default();
        let rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                request.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                request.group = (*group).to_owned();
                request.version = (*version).to_owned();
                rest
            }
            _ => {
                request.verb = plain_verb(method);
                return request;
            }
        };
        let rest = match rest {
            // A namespace's own subresources come with one more part than a collection in it.
            ["namespaces", _, "status" | "finalize"] => rest,
            ["namespaces", namespace, inside @ ..] if !inside.is_empty() => {
                request.namespace = (*namespace).to_owned();
                inside
            }
            _ => rest,
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        (request.resource, request.name, request.subresource) = (part(0), part(1), part(2));
        request.verb = resource_verb(method, uri, request.name.is_empty());
        request
    }

    /// Whether it asks for something to be changed.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch" | "head" | "options")
    }

    /// Whether it reads a whole collection, by list or watch.
    pub fn is_collection_read(&self) -> bool {
        matches!(self.verb, "list" | "watch")
    }
}

fn resource_verb(method: &Method, uri: &Uri, collection: bool) -> &'static str {
    match (method.as_str(), collection) {
        ("GET" | "HEAD", true) if watches(uri) => "watch",
        ("GET" | "HEAD", true) => "list",
        ("DELETE", true) => "deletecollection",
        _ => match plain_verb(method) {
            "post" => "create",
            "put" => "update",
            other => other,
        },
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "other",
    }
}

fn watches(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_request_is_about() {
        let cases = [
            ("GET", "/api/v1/secrets?limit=5", "list //secrets//"),
            ("GET", "/api/v1/secrets?watch=true&allowWatchBookmarks=true", "watch //secrets//"),
            ("GET", "/api/v1/namespaces/a", "get //namespaces//a"),
            ("GET", "/api/v1/namespaces", "list //namespaces//"),
            ("PUT", "/api/v1/namespaces/a/finalize", "update //namespaces/finalize/a"),
            ("GET", "/api/v1/namespaces/a/secrets", "list /a/secrets//"),
            ("DELETE", "/api/v1/namespaces/a/secrets", "deletecollection /a/secrets//"),
            ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", "create /a/serviceaccounts/token/b"),
            ("PATCH", "/apis/x.dev/v1/namespaces/a/things/b/status?force=true", "patch x.dev/a/things/status/b"),
            ("GET", "/apis/x.dev/v1/things", "list x.dev//things//"),
            ("GET", "/apis/x.dev/v1", "get ////"),
            ("GET", "/version", "get ////"),
        ];
        for (method, uri, expected) in cases {
            let r = Request::parse(&method.parse().unwrap(), &uri.parse().unwrap());
            let seen = format!("{} {}/{}/{}/{}/{}", r.verb, r.group, r.namespace, r.resource, r.subresource, r.name);
            assert_eq!(seen, expected, "{method} {uri}");
        }
    }
}
