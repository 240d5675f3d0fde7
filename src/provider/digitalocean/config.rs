//! The docker config in which DigitalOcean hands out a credential. Pure; nothing of its text is ever shown.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use crate::domain::{credential::Credential, host::RegistryHost, token::Token};

/// How many entries are looked at for tokens that have to be revoked.
const MAX_ENTRIES: usize = 8;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why it cannot be used, and what it gave away all the same. No Debug: it holds tokens.
pub(super) struct Unusable {
    /// A half sentence.
    pub(super) why: &'static str,
    /// What can be revoked.
    pub(super) tokens: Vec<Token>,
}

/// The login and the registry it is for. `expected` is the only registry there may be; none allows any.
///
/// `auth` is base64 of `token:token`, or, since 2025, of `account@example.com:token`, sometimes with a line break at the end
/// (examples in DigitalOcean's API specification; terraform-provider-digitalocean, pull request 1375).
pub(super) fn read(body: &[u8], expected: Option<&str>) -> Result<(Credential, RegistryHost), Unusable> {
    let nothing = |why| Unusable { why, tokens: vec![] };
    let config: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| nothing("the answer is no docker config"))?;
    let auths = config.get("auths").and_then(Value::as_object).ok_or_else(|| nothing("the answer has no \"auths\""))?;
    let unusable = |why| {
        let mut tokens: Vec<Token> = vec![];
        for token in auths.values().take(MAX_ENTRIES).filter_map(|entry| token_of(&decoded(entry)?)) {
            if tokens.iter().all(|known| known.expose() != token.expose()) {
                tokens.push(token);
            }
        }
        Unusable { why, tokens }
    };
    let mut entries = auths.iter();
    let (Some((key, entry)), None) = (entries.next(), entries.next()) else {
        return Err(unusable("the answer is not for exactly one registry"));
    };
    if expected.is_some_and(|expected| key != expected) {
        return Err(unusable("the answer is for another registry than registry.digitalocean.com"));
    }
    let registry = RegistryHost::parse(key).ok().filter(|host| !host.is_docker_hub());
    let registry = registry.ok_or_else(|| unusable("the answer is for something that is no registry's host"))?;
    let auth = decoded(entry).ok_or_else(|| unusable("the answer has no readable \"auth\""))?;
    let (username, password) =
        auth.split_once(':').ok_or_else(|| unusable("the \"auth\" of the answer has no colon"))?;
    // It goes into a header when it is revoked.
    let password = Token::new(password.trim().to_owned())
        .ok_or_else(|| unusable("the \"auth\" of the answer holds no token behind the colon"))?;
    let credential = Credential::new(username.trim().to_owned(), password.expose().to_owned())
        .map_err(|_| unusable("the \"auth\" of the answer is no login"))?;
    Ok((credential, registry))
}

fn decoded(entry: &Value) -> Option<String> {
    let auth = entry.get("auth")?.as_str()?;
    String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()
}

/// The token in an `auth`: what stands behind the first colon, or else all of it.
fn token_of(auth: &str) -> Option<Token> {
    let token = auth.split_once(':').map_or(auth, |(_, token)| token);
    Token::new(token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn auth(text: &str) -> Value {
        json!({"auth": BASE64.encode(text)})
    }

    fn config(auths: &Value) -> String {
        json!({"auths": auths}).to_string()
    }

    #[test]
    fn reads_both_known_shapes() {
        for (auth, username) in [
            (auth("dop_x:dop_x"), "dop_x"),
            (auth("dop_x:dop_x\n"), "dop_x"),
            (auth("me@example.com:dop_x"), "me@example.com"),
            (auth(" me@example.com : dop_x\r\n"), "me@example.com"),
            (json!({"auth": "ZG9wX3g6ZG9wX3g", "email": 7}), "dop_x"),
            (json!({"auth": " ZG9wX3g6ZG9wX3g=\n"}), "dop_x"),
        ] {
            let Ok((login, host)) =
                read(config(&json!({"registry.digitalocean.com": auth})).as_bytes(), Some("registry.digitalocean.com"))
            else {
                panic!("{auth}")
            };
            assert_eq!((login.username(), login.password()), (username, "dop_x"), "{auth}");
            assert_eq!(host.as_str(), "registry.digitalocean.com");
        }
        let Ok((login, _)) = read(config(&json!({"r.example:5000": auth("u:a:b")})).as_bytes(), None) else { panic!() };
        assert_eq!(login.password(), "a:b", "the first colon counts");
    }

    #[test]
    fn refuses_anything_else_and_tells_what_it_gave_away() {
        let registry = "registry.digitalocean.com";
        let good = || auth("u:canary");
        for (name, body, expected, tokens) in [
            ("no JSON", "canary".into(), Some(registry), &[][..]),
            ("a list", "[]".into(), None, &[]),
            ("no auths", r#"{"auth":"canary"}"#.into(), None, &[]),
            ("a list of auths", config(&json!([good()])), None, &[]),
            ("none", config(&json!({})), None, &[]),
            ("two", config(&json!({"a.example": good(), "b.example": auth("u:other")})), None, &["canary", "other"]),
            ("two of the same", config(&json!({"a.example": good(), "b.example": good()})), None, &["canary"]),
            ("another host", config(&json!({"evil.example": good()})), Some(registry), &["canary"]),
            ("a port", config(&json!({"registry.digitalocean.com:444": good()})), Some(registry), &["canary"]),
            ("a path", config(&json!({"registry.digitalocean.com/x": good()})), Some(registry), &["canary"]),
            ("a path anywhere", config(&json!({"a.example/x": good()})), None, &["canary"]),
            ("all hosts", config(&json!({"*": good()})), None, &["canary"]),
            ("Docker Hub", config(&json!({"docker.io": good()})), None, &["canary"]),
            ("user info", config(&json!({"u:p@a.example": good()})), None, &["canary"]),
            ("nothing", config(&json!({"": good()})), None, &["canary"]),
            ("no auth", config(&json!({registry: {}})), None, &[]),
            ("null", config(&json!({registry: null})), None, &[]),
            ("a number", config(&json!({registry: {"auth": 7}})), None, &[]),
            ("no base64", config(&json!({registry: {"auth": "%%%"}})), None, &[]),
            ("no UTF-8", config(&json!({registry: {"auth": "/////w=="}})), None, &[]),
            ("no colon", config(&json!({registry: auth("canary\n")})), None, &["canary"]),
            ("no user", config(&json!({registry: auth(":canary")})), None, &["canary"]),
            ("no password", config(&json!({registry: auth("u: ")})), None, &[]),
            ("no ASCII", config(&json!({registry: auth("u:p\u{e4}ss")})), None, &[]),
            ("a line break within", config(&json!({registry: auth("u:a\nb")})), None, &[]),
        ] {
            let Err(unusable) = read(body.as_bytes(), expected) else { panic!("{name}") };
            let found: Vec<&str> = unusable.tokens.iter().map(Token::expose).collect();
            assert_eq!(found, tokens, "{name}");
            assert!(!unusable.why.contains("canary"), "{name}");
        }
    }
}
