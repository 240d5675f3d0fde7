//! Asking a token server, and reading what it grants (the OCI distribution project's token authentication). Pure.

use serde_json::{Map, Value};
use url::Url;

use super::challenge::Bearer;
use crate::domain::{image::RepositoryName, token::Token};

/// How much of a token server's answer is read, in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// By this name the operator introduces itself to token servers.
const CLIENT_ID: &str = "regcred";

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Nothing: the login alone, as `docker login` does it.
    Login,
    /// To pull from a repository.
    Pull(RepositoryName),
    /// What the registry's challenge says.
    Offered(String),
}

/// The address with which a token is asked for. What stands in the realm's own query stays.
pub fn token_url(realm: &Url, bearer: &Bearer, scope: &TokenScope) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        query.append_pair("client_id", CLIENT_ID);
        match scope {
            TokenScope::Login => {}
            TokenScope::Pull(repository) => {
                query.append_pair("scope", &format!("repository:{repository}:pull"));
            }
            TokenScope::Offered(scope) => {
                for scope in scope.split_whitespace() {
                    query.append_pair("scope", scope);
                }
            }
        }
    }
    url
}

/// The token in an answer, under either of its two names; none if there is none that could be used. How long it is valid
/// does not matter: it is used at once and then forgotten.
pub fn token(body: &[u8]) -> Option<Token> {
    let mut granted: Map<String, Value> = serde_json::from_slice(body).ok()?;
    ["token", "access_token"].into_iter().find_map(|name| match granted.remove(name) {
        Some(Value::String(text)) => Token::new(text),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_query_of_the_realm_and_escapes_the_rest() {
        let realm = Url::parse("https://a/token?account=x&service=old").unwrap();
        let bearer = Bearer { service: Some("a&b=c#d".into()), ..Bearer::default() };
        let pull = TokenScope::Pull(RepositoryName::parse("team/web").unwrap());
        assert_eq!(
            token_url(&realm, &bearer, &pull).as_str(),
            "https://a/token?account=x&service=old&service=a%26b%3Dc%23d&client_id=regcred&scope=repository%3Ateam%2Fweb%3Apull"
        );
        assert_eq!(
            token_url(&Url::parse("https://a/").unwrap(), &Bearer::default(), &TokenScope::Login).as_str(),
            "https://a/?client_id=regcred"
        );
        let offered = token_url(&realm, &Bearer::default(), &TokenScope::Offered("a:b:pull  c:d:pull".into()));
        assert_eq!(offered.query_pairs().filter(|(key, _)| key == "scope").count(), 2);
    }

    #[test]
    fn takes_a_token_under_either_name_and_nothing_else() {
        for (body, expected) in [
            (r#"{"token":"abc"}"#, Some("abc")),
            (r#"{"access_token":"abc","expires_in":-1,"issued_at":"yesterday"}"#, Some("abc")),
            (r#"{"token":"abc","access_token":"def"}"#, Some("abc")),
            (r#"{"token":"","access_token":"def"}"#, Some("def")),
            (r#"{"token":null,"access_token":"def"}"#, Some("def")),
            (r#"{"token":7}"#, None),
            (r#"{"token":"a b"}"#, None),
            (r#"{"token":"a\r\nX-Evil: 1"}"#, None),
            (r#"{"token":"ä"}"#, None),
            (r#"{"refresh_token":"abc"}"#, None),
            (r#"["abc"]"#, None),
            (r#"["abc","def"]"#, None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(token(body.as_bytes()).as_ref().map(Token::expose), expected, "{body}");
        }
    }
}
