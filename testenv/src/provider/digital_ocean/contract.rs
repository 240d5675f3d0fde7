//! The contract of DigitalOcean's registry API, as far as a credential's life goes.
//!
//! Sources: `reference/registry-apis.md` 2.1 to 2.4, `reference/credential-sources.md` 16, and what they cite.

use Call::{Credentials, OnlyCredentials, OnlyRegistry, Registries, Registry, Revoke};

use crate::provider::contract;

/// See [`contract::Endpoint`].
pub type Endpoint = contract::Endpoint<Call>;

/// See [`contract::Row`].
pub type Row = contract::Row<Call, When>;

/// A kind of request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// Lists the registries.
    Registries,
    /// Reads a registry.
    Registry,
    /// Issues a credential.
    Credentials,
    /// Reads the account's one registry, by the old path.
    OnlyRegistry,
    /// Issues a credential for it, by the old path.
    OnlyCredentials,
    /// Revokes a credential.
    Revoke,
}

/// In which case something is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// All is well.
    Done,
    /// There is no login, one that cannot be read, or one that is not or no longer known.
    NoLogin,
    /// More requests than an hour may have.
    HourFull,
    /// More requests than a minute may have.
    MinuteFull,
    /// Something stands in the address that has to be percent-encoded.
    NotEncoded,
    /// There is no such path, or it is of a generation that is not served.
    NoSuchPath,
    /// The path has no such method.
    WrongMethod,
    /// The API token lacks a scope.
    NoScope,
    /// A query parameter that the request does not have.
    UnknownParameter,
    /// A value that cannot be, or the same parameter twice, or a form without its field.
    BadValue,
    /// The account has no such registry.
    NoRegistry,
    /// The account has several registries, and the old path cannot say which.
    Several,
}

const READ: &[&str] = &["registry:read"];
const MINT: &[&str] = &["registry:read", "registry:update"];
const MINT_QUERY: &[&str] = &["expiry_seconds", "read_write"];

/// The requests that there are.
pub const ENDPOINTS: &[Endpoint] = &[
    of(Registries, "GET", "/v2/registries", &["page", "per_page"], READ, "registry-apis.md 2.1"),
    of(Registry, "GET", "/v2/registries/{name}", &[], READ, "registry-apis.md 2.1"),
    of(Credentials, "GET", "/v2/registries/{name}/docker-credentials", MINT_QUERY, MINT, "registry-apis.md 2.1, 2.3"),
    of(OnlyRegistry, "GET", "/v2/registry", &[], READ, "registry-apis.md 2.1"),
    of(OnlyCredentials, "GET", "/v2/registry/docker-credentials", MINT_QUERY, MINT, "registry-apis.md 2.1, 2.3"),
    of(Revoke, "POST", "/v1/oauth/revoke", &[], &[], "registry-apis.md 2.3 (doctl do/registry.go)"),
];

/// Every answer has them.
pub const LIMITS: &[&str] = &["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];

const WITH_RETRY: &[&str] = &["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"];
const ERROR: &[&str] = &["/id", "/message", "/request_id"];
const REGISTRY: &[&str] =
    &["/registry/name", "/registry/created_at", "/registry/region", "/registry/storage_usage_bytes"];
const ONLY_REGISTRY: &[&str] =
    &["/registry/name", "/registry/created_at", "/registry/region", "/registry/subscription"];

/// What is answered.
pub const CONTRACT: &[Row] = &[
    done(Registries, &["/registries/0/name", "/registries/0/created_at"], "registry-apis.md 2.1, 2.2"),
    done(Registry, REGISTRY, "registry-apis.md 2.1, 2.2"),
    done(Credentials, &["/auths"], "registry-apis.md 2.3"),
    done(OnlyRegistry, ONLY_REGISTRY, "registry-apis.md 2.1, 2.2"),
    done(OnlyCredentials, &["/auths"], "registry-apis.md 2.3"),
    done(Revoke, &[], "registry-apis.md 2.3 (doctl do/registry.go)"),
    refused(None, When::NoLogin, 401, "unauthorized", "registry-apis.md 2.1, 2.4"),
    refused(None, When::HourFull, 429, "too_many_requests", "registry-apis.md 2.4"),
    Row {
        headers: WITH_RETRY,
        ..refused(None, When::MinuteFull, 429, "too_many_requests", "registry-apis.md 2.4: retry-after only here")
    },
    refused(None, When::NotEncoded, 400, "bad_request", "registry-apis.md 2.1: names are percent-encoded; status [I]"),
    refused(None, When::NoSuchPath, 404, "not_found", "registry-apis.md 2.4"),
    refused(None, When::WrongMethod, 405, "method_not_allowed", "RFC 9110, 15.5.6; id [?]"),
    refused(None, When::NoScope, 403, "forbidden", "registry-apis.md 2.1, 2.4"),
    refused(None, When::UnknownParameter, 400, "bad_request", "registry-apis.md 2.4; [I]"),
    refused(Some(Credentials), When::BadValue, 400, "bad_request", "registry-apis.md 2.3: the bounds; status [I]"),
    refused(Some(OnlyCredentials), When::BadValue, 400, "bad_request", "registry-apis.md 2.3: the bounds; status [I]"),
    refused(Some(Revoke), When::BadValue, 400, "bad_request", "[I]"),
    refused(Some(Registry), When::NoRegistry, 404, "not_found", "registry-apis.md 2.1"),
    refused(Some(Credentials), When::NoRegistry, 404, "not_found", "registry-apis.md 2.1"),
    refused(Some(OnlyRegistry), When::NoRegistry, 404, "not_found", "registry-apis.md 2.1"),
    refused(Some(OnlyCredentials), When::NoRegistry, 404, "not_found", "[I]"),
    refused(Some(OnlyRegistry), When::Several, 412, "precondition_failed", "registry-apis.md 2.1"),
    refused(Some(OnlyCredentials), When::Several, 412, "precondition_failed", "registry-apis.md 2.1"),
];

const fn of(
    call: Call,
    method: &'static str,
    path: &'static str,
    query: &'static [&'static str],
    needs: &'static [&'static str],
    source: &'static str,
) -> Endpoint {
    Endpoint { call, method, path, query, needs, source }
}

const fn done(call: Call, body: &'static [&'static str], source: &'static str) -> Row {
    Row { call: Some(call), when: When::Done, status: 200, code: "", headers: LIMITS, body, source }
}

const fn refused(call: Option<Call>, when: When, status: u16, code: &'static str, source: &'static str) -> Row {
    Row { call, when, status, code, headers: LIMITS, body: ERROR, source }
}
