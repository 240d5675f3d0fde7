//! A token can stand in a header, and the answer holds it under one of the two names.

use http::HeaderValue;
use regcred::{domain::token::Token, registry::grant::token};
use serde_json::Value;

/// The names a token may have, the one that counts first.
const NAMES: [&str; 2] = ["token", "access_token"];

/// What holds for any body.
pub fn holds(body: &[u8]) {
    let found = token(body);
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    if let Some(found) = &found {
        let found = found.expose();
        assert!(!found.is_empty() && found.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(HeaderValue::from_str(&format!("Bearer {found}")).is_ok());
        let answer = answer.as_ref().expect("a token out of no JSON");
        assert!(NAMES.iter().any(|name| answer.get(name).and_then(Value::as_str) == Some(found)), "nobody granted it");
    }
    // Written anew, every name occurs once.
    if let Some(answer) = answer {
        let usable = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let expected = NAMES.iter().find_map(|name| answer.get(name).and_then(Value::as_str).filter(usable));
        let found = token(answer.to_string().as_bytes());
        assert_eq!(found.as_ref().map(Token::expose), expected);
    }
}
