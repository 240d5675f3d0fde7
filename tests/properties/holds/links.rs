//! What stands in an annotation of a ServiceAccount may have been written by anybody: it is read to something that can be written
//! again, or to nothing.

use regcred::linking::claims::Claims;

/// What holds for any bytes.
pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let claims = Claims::parse(text);
    assert!(claims.fit(), "{text:?}");
    let written = claims.text().unwrap_or_default();
    assert_eq!(Claims::parse(&written), claims, "{text:?}");
    for reference in claims.holders() {
        // It goes into the path of a request.
        let is_plain = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
        };
        assert!(is_plain(reference.name()) && reference.namespace().is_none_or(is_plain), "{reference}");
    }
}
