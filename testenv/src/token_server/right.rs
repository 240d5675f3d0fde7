//! What one password opens, where passwords of the same user open different things.

/// Actions in some repositories.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Right {
    names: Names,
    actions: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Names {
    All,
    One(String),
    /// Those whose name begins with this and a slash.
    Below(String),
}

impl Right {
    /// In every repository.
    pub(crate) fn everywhere(actions: &[&str]) -> Self {
        Self::new(Names::All, actions)
    }

    /// In the repository of this name.
    pub(crate) fn in_one(name: &str, actions: &[&str]) -> Self {
        Self::new(Names::One(name.to_owned()), actions)
    }

    /// In the repositories whose names begin with this and a slash.
    pub(crate) fn below(path: &str, actions: &[&str]) -> Self {
        Self::new(Names::Below(path.to_owned()), actions)
    }

    /// Whether it allows this.
    pub(super) fn opens(&self, repository: &str, action: &str) -> bool {
        let is_meant = match &self.names {
            Names::All => true,
            Names::One(name) => name == repository,
            Names::Below(path) => repository.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')),
        };
        is_meant && self.actions.iter().any(|one| one == action)
    }

    fn new(names: Names, actions: &[&str]) -> Self {
        Self { names, actions: actions.iter().map(|&action| action.to_owned()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_opens_its_repositories_for_its_actions() {
        for (name, right, repository, action, expected) in [
            ("everywhere", Right::everywhere(&["pull"]), "a/b", "pull", true),
            ("everywhere, not that", Right::everywhere(&["pull"]), "a/b", "push", false),
            ("one", Right::in_one("a/b", &["pull", "push"]), "a/b", "push", true),
            ("not one below it", Right::in_one("a", &["pull"]), "a/b", "pull", false),
            ("below", Right::below("a", &["pull"]), "a/b/c", "pull", true),
            ("not itself", Right::below("a", &["pull"]), "a", "pull", false),
            ("not beside it", Right::below("a", &["pull"]), "ab/c", "pull", false),
        ] {
            assert_eq!(right.opens(repository, action), expected, "{name}");
        }
    }
}
