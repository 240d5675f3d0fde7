//! What a registry's 401 asks for: the `WWW-Authenticate` headers (RFC 9110, section 11.6.1). Pure.
//!
//! Registries and the proxies before them write these headers in many ways, so reading is tolerant: what cannot be read is
//! passed over, and what stands beside it still counts. Nothing here decides whether a token server is to be trusted.

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// How much of the headers is looked at, in bytes. Real challenges have a few hundred.
const MAX_LENGTH: usize = 16 * 1024;

/// What a registry offers, as far as regcred speaks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenges {
    /// Basic authentication (RFC 7617) is offered.
    pub basic: bool,
    /// The token servers that are offered, in order.
    pub bearer: Vec<Bearer>,
}

/// Token authentication, as the OCI distribution project specifies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The token server's address, unchecked.
    pub realm: Option<String>,
    /// The name by which the token server knows the registry.
    pub service: Option<String>,
    /// What a token is needed for.
    pub scope: Option<String>,
}

/// Reads every challenge of an answer.
pub fn challenges(headers: &HeaderMap) -> Challenges {
    let mut found = Challenges::default();
    let mut rest = MAX_LENGTH;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let bytes = &header.as_bytes()[..header.len().min(rest)];
        rest -= bytes.len();
        for challenge in parse(&String::from_utf8_lossy(bytes)) {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found.basic = true;
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let mut bearer = Bearer::default();
                for (name, value) in challenge.parameters {
                    let place = match name.to_ascii_lowercase().as_str() {
                        "realm" => &mut bearer.realm,
                        "service" => &mut bearer.service,
                        "scope" => &mut bearer.scope,
                        _ => continue,
                    };
                    // Of two that differ the first counts, so that a later one cannot take its place.
                    place.get_or_insert(value);
                }
                found.bearer.push(bearer);
            }
        }
    }
    found
}

/// One challenge of whatever scheme.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

/// Reads the challenges of one header. A word is the name of a parameter if an equals sign follows, else a scheme.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut cursor = Cursor(text);
    while cursor.skip_to_word() {
        let word = cursor.word();
        if word.is_empty() {
            // Not the beginning of anything: on to what follows the next comma.
            cursor.skip_item();
        } else if !cursor.eat_equals() {
            found.push(Challenge { scheme: word.to_owned(), parameters: vec![] });
        } else if let Some(value) = cursor.value()
            && let Some(challenge) = found.last_mut()
        {
            challenge.parameters.push((word.to_owned(), value));
        }
    }
    found
}

/// The unread rest of a header.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Passes over commas and white space; false at the end.
    fn skip_to_word(&mut self) -> bool {
        self.0 = self.0.trim_start_matches([',', ' ', '\t']);
        !self.0.is_empty()
    }

    /// Passes over everything up to the next comma.
    fn skip_item(&mut self) {
        self.0 = self.0.find(',').map_or("", |comma| &self.0[comma..]);
    }

    /// Takes a word (RFC 9110: token); empty if none begins here.
    fn word(&mut self) -> &'a str {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let end = self.0.bytes().position(|byte| !is_word(byte)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// Takes an equals sign with white space around it.
    fn eat_equals(&mut self) -> bool {
        match self.0.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(rest) => {
                self.0 = rest.trim_start_matches([' ', '\t']);
                true
            }
            None => false,
        }
    }

    /// Takes the value of a parameter; none if there is no complete one. Credentials of other schemes (`Negotiate abc==`)
    /// look like parameters with values that are none.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            let end = self.0.find([',', ' ', '\t', '"']).unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest.trim_start_matches('"');
            return (!value.trim_start_matches('=').is_empty()).then(|| value.to_owned());
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return Some(value);
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        // Never closed: nobody knows where it ends.
        self.0 = "";
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(headers: &[&str]) -> Challenges {
        let mut map = HeaderMap::new();
        for header in headers {
            if let Ok(value) = HeaderValue::from_bytes(header.as_bytes()) {
                map.append(WWW_AUTHENTICATE, value);
            }
        }
        challenges(&map)
    }

    fn bearer(realm: &str, service: &str) -> Bearer {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Bearer { realm: text(realm), service: text(service), scope: None }
    }

    #[test]
    fn finds_the_schemes_among_whatever_else_is_offered() {
        let offered = |headers: &[&str]| {
            let found = read(headers);
            (found.basic, found.bearer.len())
        };
        let cases: [(&[&str], (bool, usize)); 12] = [
            (&[], (false, 0)),
            (&[r#"Basic realm="Registry""#], (true, 0)),
            (&["basic"], (true, 0)),
            (&[r#"basic realm="Registry", charset="UTF-8""#], (true, 0)),
            (&[r#"Bearer realm="https://a/token",service="a""#], (false, 1)),
            (&[r#"Bearer realm="https://a/token",service="a", Basic realm="b""#], (true, 1)),
            (&[r#"Basic realm="b", Bearer realm="https://a/token""#], (true, 1)),
            (&[r#"Bearer realm="https://a/token""#, r#"BASIC realm="b""#], (true, 1)),
            (&["Negotiate", r#"Basic realm="b""#], (true, 0)),
            (&[r#"Negotiate YII/+abc==, Bearer realm="https://a/t", NTLM TlRMTVNTUAAC, Basic"#], (true, 1)),
            (&[r#"Bearer realm="a, Basic realm=b""#], (false, 1)),
            (&["\u{1}\u{2}", "=,=", ", ,,", r#"Digest realm="unterminated"#], (false, 0)),
        ];
        for (headers, expected) in cases {
            assert_eq!(offered(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn reads_parameters_in_any_order_and_quoting() {
        let expected = bearer("https://a/token", "a b");
        for header in [
            r#"Bearer realm="https://a/token",service="a b""#,
            r#"bearer service="a b" , REALM="https://a/token""#,
            r#"Bearer  realm = "https://a/token" ,  service = "a b""#,
            r#"Bearer realm=https://a/token,service="a b""#,
            r#"Bearer realm="https://a/to\ken",error="invalid_token",service="a\ b""#,
            r#"Bearer realm="https://a/token",,service="a b",realm="https://evil/token""#,
            r#"Bearer realm="https://a/token",service="a b",x="unterminated"#,
            r#"Bearer ;;;,realm="https://a/token",service="a b""#,
        ] {
            assert_eq!(read(&[header]).bearer, std::slice::from_ref(&expected), "{header}");
        }
        let scope = read(&[r#"Bearer realm="https://a",scope="repository:a/b:pull repository:c:pull""#]);
        assert_eq!(scope.bearer[0].scope.as_deref(), Some("repository:a/b:pull repository:c:pull"));
    }

    #[test]
    fn a_realm_that_is_not_closed_is_none() {
        assert_eq!(read(&[r#"Bearer service="a",realm="https://a/token"#]).bearer, [bearer("", "a")]);
    }

    #[test]
    fn looks_at_no_more_than_a_few_kilobytes() {
        let long = format!("{}, Basic", "x".repeat(MAX_LENGTH));
        assert!(!read(&[&long]).basic);
        assert!(read(&["Basic", &long]).basic);
    }
}
