//! The registry's side of token authentication, as the distribution project has it, and what a provider says otherwise.

use serde_json::json;
use testenv::{Reply, Seen};

use super::fake::{Bearer, Fake, bare, error, repository};

/// What a provider answers to a token that is good, but not for this repository.
type Narrow = fn(&Door, &Fake, &str) -> Reply;

/// See the module.
pub struct Door {
    realm: String,
    service: String,
    /// What the challenge at `/v2/` names as scope, though nothing in particular is asked for.
    placeholder: Option<&'static str>,
    narrow: Narrow,
    /// What is said to a token that was not issued here, and to a login where a token belongs.
    invalid: fn(&Door) -> Reply,
}

impl Door {
    pub fn new(realm: &str, service: &str) -> Self {
        let narrow: Narrow = |door, _, name| {
            let challenge = format!("{},scope=\"repository:{name}:pull\",error=\"insufficient_scope\"", door.plain());
            error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", &challenge)
        };
        let invalid = |door: &Self| {
            let challenge = format!("{},error=\"invalid_token\"", door.plain());
            error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", &challenge)
        };
        Self { realm: realm.into(), service: service.into(), placeholder: None, narrow, invalid }
    }

    /// Lets the challenge at `/v2/` name a scope.
    pub fn placeholder(self, scope: &'static str) -> Self {
        Self { placeholder: Some(scope), ..self }
    }

    pub fn narrow(self, narrow: Narrow) -> Self {
        Self { narrow, ..self }
    }

    pub fn invalid(self, invalid: fn(&Self) -> Reply) -> Self {
        Self { invalid, ..self }
    }

    /// Answers a request to the registry.
    pub fn answer(&self, fake: &Fake, seen: &Seen) -> Reply {
        let found = repository(seen.path());
        if found.is_none() && seen.path() != "/v2/" {
            return bare(404);
        }
        let grant = match fake.bearer(seen) {
            Bearer::None if seen.header("Authorization").is_some() => return (self.invalid)(self),
            Bearer::Unknown => return (self.invalid)(self),
            Bearer::None => return self.challenge(found.map(|(name, _)| name)),
            Bearer::Good(grant) => grant,
        };
        match found {
            None => {
                fake.opened(grant.account);
                Reply::status(200).header("Docker-Distribution-Api-Version", "registry/2.0").json(&json!({}))
            }
            Some((name, part)) if grant.pulls.iter().any(|granted| granted == name) => fake.content(seen, part),
            Some((name, _)) => (self.narrow)(self, fake, name),
        }
    }

    fn challenge(&self, repository: Option<&str>) -> Reply {
        let scope = match (repository, self.placeholder) {
            (Some(name), _) => format!(",scope=\"repository:{name}:pull\""),
            (None, Some(scope)) => format!(",scope=\"{scope}\""),
            (None, None) => String::new(),
        };
        let challenge = format!("{}{scope}", self.plain());
        error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", &challenge)
    }

    fn plain(&self) -> String {
        format!("Bearer realm=\"{}\",service=\"{}\"", self.realm, self.service)
    }
}
