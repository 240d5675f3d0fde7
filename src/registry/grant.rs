//! Asking a token server, and reading what it grants (the OCI distribution project's token authentication). Pure.

use serde_json::{Map, Value};
use url::Url;

use super::challenge::Bearer;
use crate::domain::{image::RepositoryName, token::Token};

/// How much of a token server's answer is read, in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// By this name the operator introduces itself to token servers.
const CLIENT_ID: &str = "regcred";

/// Parameters that decide for whom and for what a token is. A registry names the realm, so it could ask for a token in
/// the user's name that opens more than the operator wants, and then be shown it.
const OURS: [&str; 6] = ["scope", "client_id", "account", "offline_token", "grant_type", "access_type"];

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Nothing: the login alone, as `docker login` does it.
    Login,
    /// To pull from a repository.
    Pull(RepositoryName),
    /// To pull from what the registry's challenge names.
    Offered(Vec<RepositoryName>),
}

impl TokenScope {
    /// The part of a challenge's scope that is about pulling; none if there is no such part.
    pub fn offered(scope: &str) -> Option<Self> {
        let repositories: Vec<RepositoryName> = scope
            .split_whitespace()
            .filter_map(|scope| {
                let (resource, actions) = scope.rsplit_once(':')?;
                let name = RepositoryName::parse(resource.strip_prefix("repository:")?)?;
                actions.split(',').any(|action| action == "pull").then_some(name)
            })
            .collect();
        (!repositories.is_empty()).then_some(Self::Offered(repositories))
    }
}

/// The address with which a token is asked for. What stands in the realm's own query stays, but for what is ours to say.
pub fn token_url(realm: &Url, bearer: &Bearer, scope: &TokenScope) -> Url {
    let mut url = realm.clone();
    let is_ours = |key: &str| OURS.contains(&key) || (key == "service" && bearer.service.is_some());
    let kept: Vec<(String, String)> =
        realm.query_pairs().filter(|(key, _)| !is_ours(key)).map(|(key, value)| (key.into(), value.into())).collect();
    {
        url.set_query(None);
        let mut query = url.query_pairs_mut();
        query.extend_pairs(kept);
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        query.append_pair("client_id", CLIENT_ID);
        let repositories = match scope {
            TokenScope::Login => &[],
            TokenScope::Pull(repository) => std::slice::from_ref(repository),
            TokenScope::Offered(repositories) => repositories.as_slice(),
        };
        for repository in repositories {
            query.append_pair("scope", &format!("repository:{repository}:pull"));
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
        let realm = Url::parse("https://a/token?tenant=x&service=old").unwrap();
        let bearer = Bearer { service: Some("a&b=c#d".into()), ..Bearer::default() };
        let pull = TokenScope::Pull(RepositoryName::parse("team/web").unwrap());
        assert_eq!(
            token_url(&realm, &bearer, &pull).as_str(),
            "https://a/token?tenant=x&service=a%26b%3Dc%23d&client_id=regcred&scope=repository%3Ateam%2Fweb%3Apull"
        );
        assert_eq!(
            token_url(&Url::parse("https://a/").unwrap(), &Bearer::default(), &TokenScope::Login).as_str(),
            "https://a/?client_id=regcred"
        );
    }

    #[test]
    fn neither_realm_nor_challenge_widen_what_a_token_is_asked_for() {
        let realm = "https://a/t?scope=repository:prod/app:pull,push&account=x&offline_token=true&grant_type=password";
        let url = token_url(&Url::parse(realm).unwrap(), &Bearer::default(), &TokenScope::Login);
        assert_eq!(url.as_str(), "https://a/t?client_id=regcred");
        for (scope, expected) in [
            ("repository:a/b:pull", Some("a/b")),
            ("repository:a/b:pull,push  registry:catalog:* repository:c:push", Some("a/b")),
            ("repository:a/b:push", None),
            ("aws", None),
            ("", None),
        ] {
            let names = match TokenScope::offered(scope) {
                Some(TokenScope::Offered(names)) => names,
                Some(TokenScope::Login | TokenScope::Pull(_)) | None => vec![],
            };
            assert_eq!(names.first().map(RepositoryName::as_str), expected, "{scope}");
            assert!(names.len() <= 1, "{scope}");
        }
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
