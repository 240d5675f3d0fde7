//! Challenges say what stands in the headers and nothing else, and send nobody to another place than their realm.
//!
//! A file holds one header value per line.

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use regcred::domain::image::RepositoryName;
use regcred::registry::{
    challenge::{Bearer, Challenges, challenges},
    grant::{TokenScope, token_url},
};
use url::Url;

/// Only as much is looked at as regcred reads of all headers together, in bytes.
const MAX_LENGTH: usize = 16 * 1024;

/// What holds for any headers.
pub fn holds(input: &[u8]) {
    let headers: Vec<HeaderValue> =
        input.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let found = read(&headers);
    if headers.iter().map(HeaderValue::len).sum::<usize>() > MAX_LENGTH - headers.len() * NEIGHBOUR.len() {
        return;
    }
    for bearer in &found.bearer {
        for text in [&bearer.realm, &bearer.service, &bearer.scope].into_iter().flatten() {
            assert!(headers.iter().any(|header| is_a_value_in(text, header)), "nobody wrote {text:?}");
        }
        asks_at_the_realm(bearer);
    }
    are_no_more_than_words(&found, &headers);
    are_read_one_by_one(&found, &headers);
    for header in &headers {
        agrees_with_the_standard(header);
    }
}

/// What regcred reads.
pub fn read(headers: &[HeaderValue]) -> Challenges {
    let mut map = HeaderMap::new();
    for header in headers {
        map.append(WWW_AUTHENTICATE, header.clone());
    }
    challenges(&map)
}

/// Whether a header has the text as the value of a parameter: between quotes, with or without escapes, or as a word.
fn is_a_value_in(text: &str, header: &HeaderValue) -> bool {
    let header = String::from_utf8_lossy(header.as_bytes());
    header.match_indices('=').any(|(at, _)| {
        let rest = header[at + 1..].trim_start_matches([' ', '\t']);
        match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut unread = quoted.chars();
                let mut next = || match unread.next() {
                    Some('\\') => unread.next().map(|escaped| (escaped, true)),
                    other => other.map(|other| (other, false)),
                };
                text.chars()
                    .all(|wanted| next().is_some_and(|(found, escaped)| found == wanted && (escaped || found != '"')))
                    && next() == Some(('"', false))
            }
            None => rest.split([',', ' ', '\t', '"']).next() == Some(text),
        }
    })
}

/// A challenge that no scheme names does not exist.
fn are_no_more_than_words(found: &Challenges, headers: &[HeaderValue]) {
    let count = |word: &str| -> usize {
        headers
            .iter()
            .map(|header| String::from_utf8_lossy(header.as_bytes()).to_ascii_lowercase().matches(word).count())
            .sum()
    };
    assert!(!found.basic || count("basic") > 0);
    assert!(found.bearer.len() <= count("bearer"));
}

/// Stands before a header without changing what the header says.
const NEIGHBOUR: &str = "Negotiate, ";

/// No header changes what another one says, wherever it breaks off; nor does a scheme that regcred does not speak.
fn are_read_one_by_one(found: &Challenges, headers: &[HeaderValue]) {
    let mut joined = Challenges::default();
    for header in headers {
        let alone = read(std::slice::from_ref(header));
        if let Ok(beside) = HeaderValue::from_bytes(&[NEIGHBOUR.as_bytes(), header.as_bytes()].concat()) {
            assert_eq!(read(&[beside]), alone, "a neighbour changed {header:?}");
        }
        joined.basic |= alone.basic;
        joined.bearer.extend(alone.bearer);
    }
    assert_eq!(*found, joined, "one of {headers:?} changed another");
}

/// Whatever `http_auth`, which knows nothing but the standard, can read is read the same.
fn agrees_with_the_standard(header: &HeaderValue) {
    let Some(Ok(parsed)) = header.to_str().ok().map(http_auth::parse_challenges) else { return };
    let mut expected = Challenges::default();
    for challenge in parsed {
        let value = |wanted: &str| {
            let mut parameters = challenge.params.iter();
            parameters.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_unescaped())
        };
        expected.basic |= challenge.scheme.eq_ignore_ascii_case("basic");
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            expected.bearer.push(Bearer { realm: value("realm"), service: value("service"), scope: value("scope") });
        }
    }
    assert_eq!(read(std::slice::from_ref(header)), expected, "{header:?}");
}

/// A token is asked for where the realm says, of the rest of its query nothing is lost, and neither realm nor challenge ask for
/// more than to pull.
fn asks_at_the_realm(bearer: &Bearer) {
    let Some(realm) = bearer.realm.as_deref().and_then(|realm| Url::parse(realm).ok()) else { return };
    if realm.cannot_be_a_base() {
        return;
    }
    let scope = bearer.scope.as_deref().and_then(TokenScope::offered).unwrap_or(TokenScope::Login);
    let url = token_url(&realm, bearer, &scope);
    let place = |url: &Url| (url.scheme().to_owned(), url.authority().to_owned(), url.path().to_owned());
    assert_eq!(place(&url), place(&realm));
    assert_eq!(url.fragment(), realm.fragment());

    let ours = ["service", "client_id", "scope", "account", "offline_token", "grant_type", "access_type"];
    let foreign = |url: &Url| -> Vec<(String, String)> {
        url.query_pairs().into_owned().filter(|(key, _)| !ours.contains(&key.as_str())).collect()
    };
    assert_eq!(foreign(&url), foreign(&realm));
    let values = |key: &str| -> Vec<String> {
        url.query_pairs().filter(|(name, _)| name == key).map(|(_, value)| value.into_owned()).collect()
    };
    assert_eq!(values("client_id"), ["regcred"]);
    if let Some(service) = &bearer.service {
        assert_eq!(values("service"), std::slice::from_ref(service));
    }
    for key in ["account", "offline_token", "grant_type", "access_type"] {
        assert_eq!(values(key), Vec::<String>::new());
    }
    for scope in values("scope") {
        let name = scope.strip_prefix("repository:").and_then(|scope| scope.strip_suffix(":pull"));
        assert!(name.is_some_and(|name| RepositoryName::parse(name).is_some()), "{scope}");
    }
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(&url), "read anew it is another address");
}
