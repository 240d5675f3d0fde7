//! The shape of a contract: which requests there are, and what is answered in which case. A provider serves by its table, and a
//! test walks through it.

use serde_json::{Value, json};

use crate::listener::{Reply, Seen};

/// A kind of request.
#[derive(Debug)]
pub struct Endpoint<C: 'static> {
    /// Which one.
    pub call: C,
    /// Its method.
    pub method: &'static str,
    /// Its path, with a name in braces for every segment that is an argument.
    pub path: &'static str,
    /// The query parameters that it may have.
    pub query: &'static [&'static str],
    /// The rights that it needs.
    pub needs: &'static [&'static str],
    /// Where that stands.
    pub source: &'static str,
}

/// What is answered in one case.
#[derive(Debug)]
pub struct Row<C: 'static, W: 'static> {
    /// To which kind of request; `None` for every kind.
    pub call: Option<C>,
    /// In which case.
    pub when: W,
    /// With which status.
    pub status: u16,
    /// With which code in the body of an error; empty if it is none.
    pub code: &'static str,
    /// With which headers.
    pub headers: &'static [&'static str],
    /// With what in the body, as JSON pointers (RFC 6901); none of them for no body.
    pub body: &'static [&'static str],
    /// Where that stands. `[I]` is inferred, `[?]` is in no public text: what is answered here then is our choice.
    pub source: &'static str,
}

/// What a request is for.
pub(super) enum Found<C: 'static> {
    /// With the arguments of the path, decoded.
    Call(&'static Endpoint<C>, Vec<String>),
    WrongMethod,
    Nothing,
}

/// The endpoint of a request, among those that `is_served`.
pub(super) fn find<C: Copy + 'static>(
    endpoints: &'static [Endpoint<C>],
    method: &str,
    path: &str,
    is_served: impl Fn(C) -> bool,
) -> Found<C> {
    let mut found = Found::Nothing;
    for endpoint in endpoints.iter().filter(|endpoint| is_served(endpoint.call)) {
        let Some(arguments) = arguments(endpoint.path, path) else { continue };
        if endpoint.method == method {
            return Found::Call(endpoint, arguments);
        }
        found = Found::WrongMethod;
    }
    found
}

/// The row of a case, or one for every kind of request.
pub(super) fn row<C: PartialEq, W: PartialEq>(
    rows: &'static [Row<C, W>],
    call: Option<C>,
    when: W,
) -> Option<&'static Row<C, W>> {
    let fits = |row: &&Row<C, W>| row.when == when && (row.call.is_none() || row.call == call);
    rows.iter().find(fits)
}

/// The answer to a case that no row is for: the table is to be mended.
pub(super) fn uncharted() -> Reply {
    Reply::status(500).json(&json!({ "message": "the fake's contract has no row for this" }))
}

/// Status and body of a row; `body` is left out where the row has none.
pub(super) fn reply<C, W>(row: &Row<C, W>, body: &Value) -> Reply {
    let reply = Reply::status(row.status);
    if row.body.is_empty() { reply } else { reply.json(body) }
}

/// Whether path and query hold only what may stand there as it is (RFC 3986, 3.3 and 3.4); all else is to be percent-encoded.
pub(super) fn is_encoded(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let fits = |text: &str, more: &[u8]| {
        let bytes = text.as_bytes();
        bytes.iter().enumerate().all(|(at, byte)| match byte {
            b'%' => is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2)),
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(byte) || more.contains(byte),
        })
    };
    path.starts_with('/') && fits(path, b"/") && fits(query, b"/?")
}

/// The names of the query parameters, in their order.
pub(super) fn query_names(seen: &Seen) -> Vec<String> {
    let query = seen.target.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

fn arguments(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut arguments = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(arguments),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => arguments.push(decoded(given)),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

fn decoded(segment: &str) -> String {
    // A plus is a plus in a path, unlike in a form.
    let segment = segment.replace('+', "%2B");
    form_urlencoded::parse(format!("x={segment}").replace('&', "%26").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_matched_by_segments_and_its_arguments_are_decoded() {
        for (path, expected) in [
            ("/v2/registries/shop/keys", Some(vec!["shop"])),
            ("/v2/registries/a%2Fb%20c+d&e/keys", Some(vec!["a/b c+d&e"])),
            ("/v2/registries/a/b/keys", None),
            ("/v2/registries/shop/keys/", None),
            ("/v2/registries/shop", None),
        ] {
            let found = arguments("/v2/registries/{name}/keys", path);
            assert_eq!(found, expected.map(|all| all.into_iter().map(str::to_owned).collect()), "{path}");
        }
    }

    #[test]
    fn what_has_to_be_encoded_is_not_taken_as_it_is() {
        for (target, expected) in [
            ("/v2/a%20b?x=1&y=a%2Bb/c?d", true),
            ("/v2/a\"b", false),
            ("/v2/a%2", false),
            ("/v2/a%zz", false),
            ("/v2/a?x={y}", false),
            ("/v2/\u{fc}", false),
            ("http://elsewhere/v2", false),
        ] {
            assert_eq!(is_encoded(target), expected, "{target}");
        }
    }
}
