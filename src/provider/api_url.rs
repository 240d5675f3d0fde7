//! Where the API of a provider is: what a user may write, and where it is otherwise. Pure.

use url::Url;

use super::issuing::Api;
use crate::{
    api::{Reason, provider::IssuedBy},
    domain::host::{RegistryHost, RegistryUrl},
    problem::{Problem, field},
};

/// The API of DigitalOcean.
const DIGITALOCEAN: &str = "https://api.digitalocean.com";

/// The API of IONOS.
const IONOS: &str = "https://api.ionos.com/containerregistries";

/// The longest address, in bytes, as in the schema.
const MAX_LENGTH: usize = 512;

/// Why a text is not the address of an API. The texts name the rule, never the input, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("it is not a valid URL")]
    NotAUrl,
    #[error("it is longer than 512 bytes")]
    TooLong,
    #[error("it contains a user name or a password")]
    UserInfo,
    #[error("it contains a query or a fragment")]
    Query,
    #[error("it does not begin with https://")]
    Scheme,
    #[error("the operator does not connect to loopback addresses")]
    Loopback,
}

/// See [`issuing::api`](super::issuing::api).
pub(super) fn api(provider: IssuedBy<'_>, allow_loopback: bool) -> Result<Api, Problem> {
    let (given, usual) = match provider {
        IssuedBy::Digitalocean(digital_ocean) => (digital_ocean.api_url.as_deref(), DIGITALOCEAN),
        IssuedBy::Ionos(ionos) => (ionos.api_url.as_deref(), IONOS),
    };
    let url = read(given.unwrap_or(usual), allow_loopback).map_err(|error| invalid(provider, error))?;
    Ok(Api { url, is_usual: given.is_none() })
}

/// The problem of an address that cannot be used.
pub(super) fn invalid(provider: IssuedBy<'_>, error: Invalid) -> Problem {
    let field = match provider {
        IssuedBy::Digitalocean(_) => field::DIGITALOCEAN_API_URL,
        IssuedBy::Ionos(_) => field::IONOS_API_URL,
    };
    Problem::new(Reason::InvalidSpec, format!("apiUrl cannot be used: {error}")).at(field).hint(remedy(error))
}

/// Reads an address.
///
/// # Errors
/// [`Invalid`] names the rule that is broken.
pub(super) fn read(text: &str, allow_loopback: bool) -> Result<Url, Invalid> {
    if text.len() > MAX_LENGTH {
        return Err(Invalid::TooLong);
    }
    // URL parsers drop line breaks and tabs, and take a backslash for a slash.
    if text.chars().any(|character| character.is_control() || character.is_whitespace() || character == '\\') {
        return Err(Invalid::NotAUrl);
    }
    let mut url = Url::parse(text).map_err(|_| Invalid::NotAUrl)?;
    if text.contains('@') {
        return Err(Invalid::UserInfo);
    }
    if text.contains(['?', '#']) {
        return Err(Invalid::Query);
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Invalid::Scheme);
    }
    // URL parsers find a host behind any number of slashes.
    let behind_scheme = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
    if behind_scheme.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err(Invalid::NotAUrl);
    }
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_owned();
    url.set_host(Some(&host)).map_err(|_| Invalid::NotAUrl)?;
    let host = RegistryHost::of(&url).ok_or(Invalid::NotAUrl)?;
    let is_loopback = RegistryUrl::parse_as(host.as_str(), url.scheme()).map_err(|_| Invalid::NotAUrl)?.is_loopback();
    if is_loopback && !allow_loopback {
        return Err(Invalid::Loopback);
    }
    if url.scheme() == "http" && !is_loopback {
        return Err(Invalid::Scheme);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The address as it is written down: without a slash at the end.
pub(super) fn text(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The address of something below another. What goes between the slashes is encoded.
pub(super) fn below(url: &Url, path: &[&str]) -> Url {
    let mut url = url.clone();
    // Every address with a host has a path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

fn remedy(error: Invalid) -> &'static str {
    match error {
        Invalid::UserInfo => {
            "put what gives access into the Secret that secretRef names; if others have seen it here, change it"
        }
        Invalid::Loopback => {
            "use an address that Pods can reach; for tests on one machine start the operator, and regcred check, with \
             --allow-loopback"
        }
        Invalid::NotAUrl | Invalid::TooLong | Invalid::Query | Invalid::Scheme => {
            "write an address such as https://api.example.com, or leave it out for the provider's own API"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_what_users_write_and_keeps_the_path() {
        for (text_, expected) in [
            ("https://api.example.com", "https://api.example.com"),
            ("https://API.example.com:443/", "https://api.example.com"),
            ("https://api.example.com./a/b//", "https://api.example.com/a/b"),
            ("https://api.example.com:8443/containerregistries/", "https://api.example.com:8443/containerregistries"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost", "http://localhost"),
            ("https://localhost:1", "https://localhost:1"),
        ] {
            assert_eq!(read(text_, true).map(|url| text(&url)).as_deref(), Ok(expected), "{text_}");
        }
    }

    #[test]
    fn refuses_what_would_send_the_token_anywhere_else() {
        for (text, allow_loopback, expected) in [
            ("http://api.example.com", true, Invalid::Scheme),
            ("http://127.0.0.1.example.com", true, Invalid::Scheme),
            ("http://localhost@api.example.com", true, Invalid::UserInfo),
            ("https://user:canary@api.example.com", true, Invalid::UserInfo),
            ("https://api.example.com/@x", true, Invalid::UserInfo),
            ("https://api.example.com?x=canary", true, Invalid::Query),
            ("https://api.example.com?", true, Invalid::Query),
            ("https://api.example.com#", true, Invalid::Query),
            ("http://127.0.0.1:8080", false, Invalid::Loopback),
            ("https://127.0.0.1", false, Invalid::Loopback),
            ("https://[::1]", false, Invalid::Loopback),
            ("https://localhost.", false, Invalid::Loopback),
            ("ftp://api.example.com", true, Invalid::Scheme),
            ("file:///etc/passwd", true, Invalid::Scheme),
            ("javascript:alert(1)", true, Invalid::Scheme),
            ("api.example.com", true, Invalid::NotAUrl),
            ("https://", true, Invalid::NotAUrl),
            ("https:///v2", true, Invalid::NotAUrl),
            ("https:/api.example.com", true, Invalid::NotAUrl),
            (" https://api.example.com", true, Invalid::NotAUrl),
            ("https://api.example.com\n", true, Invalid::NotAUrl),
            ("https://.", true, Invalid::NotAUrl),
            ("https://a\nb.example", true, Invalid::NotAUrl),
            ("https://api.example.com\\x", true, Invalid::NotAUrl),
            ("https://a\"b.example", true, Invalid::NotAUrl),
            ("", true, Invalid::NotAUrl),
        ] {
            assert_eq!(read(text, allow_loopback), Err(expected), "{text:?}");
            assert!(!format!("{expected} {}", remedy(expected)).contains("canary"));
        }
        assert_eq!(read(&format!("https://a.example/{}", "x".repeat(512)), true), Err(Invalid::TooLong));
    }

    #[test]
    fn encodes_what_goes_between_the_slashes() {
        for (base, expected) in [
            ("https://a.example", "https://a.example/v2/a%2Fb%3Fc"),
            ("https://a.example/x", "https://a.example/x/v2/a%2Fb%3Fc"),
        ] {
            assert_eq!(below(&read(base, false).unwrap(), &["v2", "a/b?c"]).as_str(), expected);
        }
    }
}
