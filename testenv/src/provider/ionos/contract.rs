//! The contract of IONOS' registry API, as far as a token's life goes.
//!
//! Sources: `reference/registry-apis.md` 4.1 to 4.3, `reference/credential-sources.md` 17, and `api/openapi.yaml` of
//! `ionos-cloud/sdk-go-container-registry` ("openapi").

use Call::{CreateToken, DeleteToken, Locations, Registries, Registry, Token, Tokens};

use crate::provider::contract;

/// See [`contract::Endpoint`].
pub type Endpoint = contract::Endpoint<Call>;

/// See [`contract::Row`].
pub type Row = contract::Row<Call, When>;

/// A kind of request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// Lists the places where registries may be.
    Locations,
    /// Lists the registries.
    Registries,
    /// Reads a registry.
    Registry,
    /// Lists the tokens of a registry.
    Tokens,
    /// Issues a token.
    CreateToken,
    /// Reads a token.
    Token,
    /// Deletes a token.
    DeleteToken,
}

/// In which case something is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// All is well.
    Done,
    /// There is no login, one that cannot be read, or one that is not or no longer known.
    NoLogin,
    /// More requests than a minute may have.
    TooMany,
    /// Something stands in the address that has to be percent-encoded.
    NotEncoded,
    /// There is no such path.
    NoSuchPath,
    /// The path has no such method.
    WrongMethod,
    /// The user has several contracts and does not say which, or not that one.
    WrongContract,
    /// The user may not manage registries.
    NoRight,
    /// A query parameter that the request does not have.
    UnknownParameter,
    /// A limit, an offset or a page token that cannot be.
    BadPage,
    /// An ID that is no UUID.
    BadId,
    /// The contract has no such registry.
    NoRegistry,
    /// The registry is not running yet.
    NotRunning,
    /// The registry has no such token.
    NoToken,
    /// The body is not what a token is made from.
    BadBody,
    /// There is a token of this name, alive or not.
    NameTaken,
}

const MANAGE: &[&str] = &["accessAndManageRegistries"];

/// The requests that there are.
pub const ENDPOINTS: &[Endpoint] = &[
    of(Locations, "GET", "/containerregistries/locations", &[], &[], "registry-apis.md 4.1"),
    of(
        Registries,
        "GET",
        "/containerregistries/registries",
        &["filter.name", "limit", "pagination.token"],
        MANAGE,
        "registry-apis.md 4.1; the right: openapi, tags",
    ),
    of(Registry, "GET", "/containerregistries/registries/{registry}", &[], MANAGE, "registry-apis.md 4.1"),
    of(
        Tokens,
        "GET",
        "/containerregistries/registries/{registry}/tokens",
        &["offset", "limit"],
        MANAGE,
        "registry-apis.md 4.1",
    ),
    of(CreateToken, "POST", "/containerregistries/registries/{registry}/tokens", &[], MANAGE, "registry-apis.md 4.1"),
    of(Token, "GET", "/containerregistries/registries/{registry}/tokens/{token}", &[], MANAGE, "registry-apis.md 4.1"),
    of(
        DeleteToken,
        "DELETE",
        "/containerregistries/registries/{registry}/tokens/{token}",
        &[],
        MANAGE,
        "registry-apis.md 4.1",
    ),
];

const ERROR: &[&str] = &["/httpStatus", "/messages/0/errorCode", "/messages/0/message"];
const LINKS: [&str; 3] = ["/_links/self", "/_links/next", "/_links/previous"];
const REGISTRIES: &[&str] = &[
    "/items/0/id",
    "/items/0/properties/hostname",
    LINKS[0],
    LINKS[1],
    LINKS[2],
    "/pagination/limit",
    "/pagination/token",
];
const REGISTRY: &[&str] = &[
    "/id",
    "/metadata/createdDate",
    "/metadata/state",
    "/properties/name",
    "/properties/location",
    "/properties/hostname",
];
const TOKEN: &[&str] = &[
    "/id",
    "/metadata/createdDate",
    "/metadata/state",
    "/properties/name",
    "/properties/status",
    "/properties/scopes/0/type",
    "/properties/scopes/0/name",
    "/properties/scopes/0/actions/0",
    "/properties/credentials/username",
    "/properties/credentials/password",
];
const TOKENS: &[&str] =
    &["/items/0/id", "/items/0/properties/name", "/count", "/limit", "/offset", "/total", LINKS[0], LINKS[1], LINKS[2]];

/// What is answered.
pub const CONTRACT: &[Row] = &[
    done(Locations, 200, &["/items/0/id"], "registry-apis.md 4.1"),
    done(Registries, 200, REGISTRIES, "registry-apis.md 4.1; openapi, PaginationLinks"),
    done(Registry, 200, REGISTRY, "registry-apis.md 4.2; openapi, RegistryResponse"),
    done(Tokens, 200, TOKENS, "registry-apis.md 4.1; openapi, TokensResponse"),
    Row {
        headers: &["Location"],
        ..done(CreateToken, 201, TOKEN, "registry-apis.md 4.3; openapi, registriesTokensPost and PostTokenOutput")
    },
    done(Token, 200, TOKEN, "registry-apis.md 4.3; openapi, TokenResponse"),
    done(DeleteToken, 204, &[], "openapi, registriesTokensDelete"),
    refused(None, When::NoLogin, 401, "unauthorized", "registry-apis.md 4.1; errorCode [?]"),
    Row { headers: &["Retry-After"], ..refused(None, When::TooMany, 429, "too-many-requests", "registry-apis.md 4.1") },
    refused(None, When::NotEncoded, 400, "bad-request", "RFC 3986; [I]"),
    refused(None, When::NoSuchPath, 404, "not-found", "registry-apis.md 4.1"),
    refused(None, When::WrongMethod, 405, "method-not-allowed", "RFC 9110, 15.5.6; [I]"),
    refused(None, When::WrongContract, 403, "forbidden", "registry-apis.md 4: X-Contract-Number; status [I]"),
    refused(None, When::NoRight, 403, "forbidden", "openapi, tags: accessAndManageRegistries; status [I]"),
    refused(None, When::UnknownParameter, 400, "bad-request", "[I]"),
    refused(Some(Registries), When::BadPage, 400, "bad-request", "openapi, registriesGet: 400"),
    refused(Some(Tokens), When::BadPage, 400, "bad-request", "openapi, registriesTokensGet: 400"),
    refused(None, When::BadId, 400, "bad-request", "openapi: IDs have a pattern"),
    refused(None, When::NoRegistry, 404, "not-found", "registry-apis.md 4.1"),
    refused(Some(CreateToken), When::NotRunning, 400, "bad-request", "registry-apis.md 4.2; status [?]"),
    refused(Some(Token), When::NoToken, 404, "not-found", "registry-apis.md 4.1"),
    refused(Some(DeleteToken), When::NoToken, 404, "not-found", "registry-apis.md 4.1"),
    refused(Some(CreateToken), When::BadBody, 400, "bad-request", "registry-apis.md 4.1; openapi, PostTokenInput"),
    refused(Some(CreateToken), When::NameTaken, 409, "conflict", "registry-apis.md 4.1, 4.3"),
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

const fn done(call: Call, status: u16, body: &'static [&'static str], source: &'static str) -> Row {
    Row { call: Some(call), when: When::Done, status, code: "", headers: &[], body, source }
}

const fn refused(call: Option<Call>, when: When, status: u16, code: &'static str, source: &'static str) -> Row {
    Row { call, when, status, code, headers: &[], body: ERROR, source }
}
