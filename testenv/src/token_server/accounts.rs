//! Who may log in to a token server, until when, and what each may do.
//!
//! Pure: the time is passed in, and nothing here knows requests or tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::right::Right;
use super::scope::{REPOSITORY, Scope};

/// What everybody may do below a path of its own.
const OWN_ACTIONS: [&str; 2] = ["pull", "push"];

/// What everybody may do in a public repository.
const PUBLIC_ACTION: &str = "pull";

/// As many failed logins lock an account, as registries do.
const FAILURES: usize = 5;

/// If they fall into this time.
const COUNTED_FOR: Duration = Duration::from_secs(10 * 60);

/// For how long: longer than any test takes.
const LOCKED_FOR: Duration = Duration::from_secs(30 * 60);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// By user. One that is not in here, or has none left, cannot log in.
    passwords: BTreeMap<String, Vec<Password>>,
    /// User, repository and action.
    grants: BTreeSet<(String, String, String)>,
    public: BTreeSet<String>,
    /// When logins of a user failed.
    failures: BTreeMap<String, Vec<SystemTime>>,
    /// Until when a user gets in with no password at all.
    locked: BTreeMap<String, SystemTime>,
    /// Whether no account is ever locked.
    patient: bool,
}

/// A way in.
#[derive(Debug)]
pub(crate) struct Password {
    pub(crate) text: String,
    /// Before then it is refused.
    pub(crate) begins: Option<SystemTime>,
    /// From then on it is refused.
    pub(crate) expires: Option<SystemTime>,
    /// What it opens, whatever else its user may do; `None` for all that the user may do.
    pub(crate) rights: Option<Vec<Right>>,
}

impl Accounts {
    /// Accounts that no number of failed logins locks: of a provider that counts by no user name, because all that it
    /// issues have the same one.
    pub(crate) fn patient() -> Self {
        Self { patient: true, ..Self::default() }
    }

    pub(super) fn set(&mut self, user: &str, password: &str) {
        self.passwords.remove(user);
        self.add(user, password, None);
    }

    pub(super) fn add(&mut self, user: &str, password: &str, expires: Option<SystemTime>) {
        let text = password.to_owned();
        self.issue(user, Password { text, begins: None, expires, rights: None });
    }

    pub(crate) fn issue(&mut self, user: &str, password: Password) {
        self.passwords.entry(user.to_owned()).or_default().push(password);
    }

    pub(super) fn expire(&mut self, user: &str, at: SystemTime) {
        for password in self.passwords.get_mut(user).into_iter().flatten() {
            password.expires = Some(password.expires.map_or(at, |expires| expires.min(at)));
        }
    }

    pub(crate) fn revoke(&mut self, user: &str, is_meant: impl Fn(&str) -> bool) {
        if let Some(passwords) = self.passwords.get_mut(user) {
            passwords.retain(|password| !is_meant(&password.text));
        }
    }

    pub(super) fn grant(&mut self, user: &str, repository: &str, actions: &[&str]) {
        for action in actions {
            self.grants.insert((user.to_owned(), repository.to_owned(), (*action).to_owned()));
        }
    }

    pub(super) fn publish(&mut self, repository: &str) {
        self.public.insert(repository.to_owned());
    }

    /// Whether this login gets in at this time. Five that fail within ten minutes lock the account, whether it exists or not,
    /// and an accepted one in between does not make up for them.
    pub(super) fn log_in(&mut self, user: &str, password: &str, now: SystemTime) -> bool {
        if self.is_locked(user, now) {
            return false;
        }
        let is_right = self.admit(user, password, now);
        if !is_right {
            let failures = self.failures.entry(user.to_owned()).or_default();
            failures.retain(|failure| now.duration_since(*failure).is_ok_and(|age| age < COUNTED_FOR));
            failures.push(now);
            if failures.len() >= FAILURES && !self.patient {
                self.locked.insert(user.to_owned(), now + LOCKED_FOR);
            }
        }
        is_right
    }

    /// Whether the account is locked.
    pub(super) fn is_locked(&self, user: &str, now: SystemTime) -> bool {
        self.locked.get(user).is_some_and(|until| now < *until)
    }

    /// Whether this login is right at this time.
    fn admit(&self, user: &str, password: &str, now: SystemTime) -> bool {
        let fits = |one: &Password| {
            one.text == password
                && one.begins.is_none_or(|begins| begins <= now)
                && one.expires.is_none_or(|expires| now < expires)
        };
        self.passwords.get(user).is_some_and(|passwords| passwords.iter().any(fits))
    }

    /// What this password opens, if that is not all that its user may do.
    fn rights(&self, user: &str, password: &str) -> Option<&[Right]> {
        let password = self.passwords.get(user)?.iter().find(|one| one.text == password)?;
        password.rights.as_deref()
    }

    /// That part of `asked` which somebody with this user name and password, or without a login, may do; `None` if that is
    /// nothing. Whether the login is right was asked before.
    pub(super) fn allowed(&self, login: Option<(&str, &str)>, asked: &Scope) -> Option<Scope> {
        let may_by_login = |(user, password), action: &str| match self.rights(user, password) {
            Some(rights) => rights.iter().any(|right| right.opens(&asked.name, action)),
            None => self.may(user, &asked.name, action),
        };
        let may = |action: &&String| {
            asked.kind == REPOSITORY
                && (*action == PUBLIC_ACTION && self.public.contains(&asked.name)
                    || login.is_some_and(|login| may_by_login(login, action)))
        };
        let actions: Vec<String> = asked.actions.iter().filter(may).cloned().collect();
        (!actions.is_empty()).then(|| Scope { actions, ..asked.clone() })
    }

    fn may(&self, user: &str, repository: &str, action: &str) -> bool {
        let is_own = repository.strip_prefix(user).is_some_and(|rest| rest.starts_with('/'));
        is_own && OWN_ACTIONS.contains(&action)
            || self.grants.contains(&(user.to_owned(), repository.to_owned(), action.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_user_gets_what_is_asked_and_allowed() {
        let mut accounts = Accounts::default();
        accounts.grant("alice", "team/app", &["pull"]);
        accounts.publish("public/app");
        for (user, asked, expected) in [
            (Some("alice"), "repository:alice/app:pull,push", Some("repository:alice/app:pull,push")),
            (Some("alice"), "repository:alice/app:pull,delete", Some("repository:alice/app:pull")),
            (Some("alice"), "repository:alice:pull", None),
            (Some("alice"), "repository:alicia/app:pull", None),
            (Some("alice"), "repository:team/app:push,pull", Some("repository:team/app:pull")),
            (Some("alice"), "repository:team/app/more:pull", None),
            (Some("bob"), "repository:team/app:pull", None),
            (Some("bob"), "repository:alice/app:pull", None),
            (Some("bob"), "repository:public/app:pull,push", Some("repository:public/app:pull")),
            (None, "repository:public/app:pull,push", Some("repository:public/app:pull")),
            (None, "repository:team/app:pull", None),
            (Some("registry"), "registry:catalog:*", None),
            (Some("alice"), "registry:alice/app:pull", None),
        ] {
            let login = user.map(|user| (user, "any"));
            let allowed = accounts.allowed(login, &Scope::parse(asked).unwrap());
            assert_eq!(allowed.map(|scope| scope.to_string()).as_deref(), expected, "{user:?} {asked}");
        }
    }

    #[test]
    fn a_password_with_rights_of_its_own_opens_nothing_else() {
        let mut accounts = Accounts::default();
        accounts.grant("alice", "team/app", &["pull"]);
        accounts.add("alice", "all", None);
        let rights = Some(vec![Right::below("shop", &["pull"])]);
        accounts.issue("alice", Password { text: "some".to_owned(), begins: None, expires: None, rights });
        for (password, asked, expected) in [
            ("all", "repository:alice/app:pull,push", Some("repository:alice/app:pull,push")),
            ("all", "repository:shop/app:pull", None),
            ("some", "repository:shop/app:pull,push", Some("repository:shop/app:pull")),
            ("some", "repository:shopping/app:pull", None),
            ("some", "repository:alice/app:pull", None),
            ("some", "repository:team/app:pull", None),
        ] {
            let allowed = accounts.allowed(Some(("alice", password)), &Scope::parse(asked).unwrap());
            assert_eq!(allowed.map(|scope| scope.to_string()).as_deref(), expected, "{password} {asked}");
        }
    }

    #[test]
    fn patient_accounts_are_never_locked() {
        let mut accounts = Accounts::patient();
        accounts.set("alice", "right");
        for _ in 0..20 {
            assert!(!accounts.log_in("alice", "wrong", NOW));
        }
        assert!(accounts.log_in("alice", "right", NOW));
    }

    #[test]
    fn a_password_that_has_not_begun_is_refused() {
        let begins = NOW + Duration::from_secs(60);
        let mut accounts = Accounts::default();
        accounts.issue("alice", Password { text: "new".to_owned(), begins: Some(begins), expires: None, rights: None });
        assert!(!accounts.admit("alice", "new", NOW));
        assert!(accounts.admit("alice", "new", begins));
    }

    #[test]
    fn five_failed_logins_in_ten_minutes_lock_an_account_for_a_while() {
        let at = |seconds: u64| NOW + Duration::from_secs(seconds);
        let mut accounts = Accounts::default();
        accounts.set("alice", "right");
        accounts.set("bob", "right");
        for seconds in [0, 1, 2, 3] {
            assert!(!accounts.log_in("alice", "wrong", at(seconds)));
        }
        assert!(accounts.log_in("alice", "right", at(599)), "four are not enough");
        assert!(!accounts.log_in("alice", "wrong", at(600)), "the first does not count any more");
        assert!(accounts.log_in("alice", "right", at(600)));
        assert!(!accounts.log_in("alice", "wrong", at(600)));
        assert!(accounts.is_locked("alice", at(600)));
        assert!(!accounts.log_in("alice", "right", at(601)));
        assert!(accounts.log_in("bob", "right", at(601)), "each account for itself");
        assert!(!accounts.log_in("alice", "right", at(600 + 1799)));
        assert!(accounts.log_in("alice", "right", at(600 + 1800)));
    }

    #[test]
    fn a_password_holds_until_it_expires_or_is_taken_away() {
        let second = Duration::from_secs(1);
        let mut accounts = Accounts::default();
        let mut admitted = Vec::new();
        let mut look = |accounts: &Accounts, now| {
            let who = ["old", "new", "third"].map(|password| accounts.admit("alice", password, now));
            admitted.push(who);
        };
        look(&accounts, NOW);
        accounts.set("alice", "old");
        accounts.add("alice", "new", Some(NOW + second));
        look(&accounts, NOW);
        look(&accounts, NOW + second);
        accounts.expire("alice", NOW + 2 * second);
        look(&accounts, NOW + second);
        look(&accounts, NOW + 2 * second);
        accounts.revoke("alice", |password| password == "old");
        look(&accounts, NOW);
        accounts.set("alice", "third");
        look(&accounts, NOW + 2 * second);
        accounts.revoke("alice", |_| true);
        look(&accounts, NOW);
        let expected = [
            [false, false, false],
            [true, true, false],
            [true, false, false],
            [true, false, false],
            [false, false, false],
            [false, true, false],
            [false, false, true],
            [false, false, false],
        ];
        assert_eq!(admitted, expected);
    }
}
