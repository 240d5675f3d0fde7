//! What a client asks to be allowed, and what a token allows, in distribution's words.
//!
//! Who may do what is not known here. <https://distribution.github.io/distribution/spec/auth/scope/>

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// The type of a scope that is about a repository.
pub(super) const REPOSITORY: &str = "repository";

/// Actions on one thing. Serialized, it is an element of a token's `access` claim.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Scope {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) actions: Vec<String>,
}

impl Scope {
    /// Reads `type:name:action[,action]`. The name may hold colons: it can begin with a host and a port.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        if kind.is_empty() || name.is_empty() {
            return None;
        }
        let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned).collect();
        Some(Self { kind: kind.to_owned(), name: name.to_owned(), actions })
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_three_parts_and_a_name_with_colons() {
        for (text, expected) in [
            ("repository:a/b:pull", Some(("repository", "a/b", "pull"))),
            ("repository:host:5000/a:pull,push", Some(("repository", "host:5000/a", "pull|push"))),
            ("registry:catalog:*", Some(("registry", "catalog", "*"))),
            ("repository:a:", Some(("repository", "a", ""))),
            ("repository:a", None),
            ("repository::pull", None),
            (":a:pull", None),
            ("", None),
        ] {
            let scope = Scope::parse(text);
            let told = scope.as_ref().map(|one| (one.kind.as_str(), one.name.as_str(), one.actions.join("|")));
            assert_eq!(told, expected.map(|(kind, name, actions)| (kind, name, actions.to_owned())), "{text}");
            if let Some(scope) = scope {
                assert_eq!(scope.to_string(), text);
            }
        }
    }
}
