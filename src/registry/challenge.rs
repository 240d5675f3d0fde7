//! What a registry's 401 asks for. Pure.

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// The authentication schemes an answer offers, as far as regcred speaks them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Basic authentication (RFC 7617).
    pub basic: bool,
    /// Token authentication (the OCI distribution token specification).
    pub bearer: bool,
}

/// Reads every `WWW-Authenticate` header of an answer. One that cannot be parsed offers nothing; the others still count.
pub fn offered(headers: &HeaderMap) -> Offered {
    let mut offered = Offered::default();
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(challenges) =
            header.to_str().map_err(|_| ()).and_then(|text| http_auth::parse_challenges(text).map_err(|_| ()))
        else {
            continue;
        };
        for challenge in challenges {
            offered.basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            offered.bearer |= challenge.scheme.eq_ignore_ascii_case("bearer");
        }
    }
    offered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_schemes_among_whatever_else_is_offered() {
        const NONE: Offered = Offered { basic: false, bearer: false };
        const BASIC: Offered = Offered { basic: true, bearer: false };
        const BEARER: Offered = Offered { basic: false, bearer: true };
        const BOTH: Offered = Offered { basic: true, bearer: true };
        let cases: [(&[&str], Offered); 9] = [
            (&[], NONE),
            (&[r#"Basic realm="Registry""#], BASIC),
            (&[r#"basic realm="Registry", charset="UTF-8""#], BASIC),
            (&[r#"Bearer realm="https://a/token",service="a""#], BEARER),
            (&[r#"Bearer realm="https://a/token",service="a", Basic realm="b""#], BOTH),
            (&[r#"Bearer realm="https://a/token""#, r#"BASIC realm="b""#], BOTH),
            (&["Negotiate", r#"Basic realm="b""#], BASIC),
            (&[r#"Bearer realm="a, Basic realm=b""#], BEARER),
            (&["\u{1}\u{2}", "=,=", r#"Basic realm="unterminated"#], NONE),
        ];
        for (headers, expected) in cases {
            let mut map = HeaderMap::new();
            for header in headers {
                if let Ok(value) = http::HeaderValue::from_bytes(header.as_bytes()) {
                    map.append(WWW_AUTHENTICATE, value);
                }
            }
            assert_eq!(offered(&map), expected, "{headers:?}");
        }
    }
}
