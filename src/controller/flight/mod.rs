//! One login, one test: what one connection finds out of a login, all that use the same login at the same place may know.
//!
//! The logins of an account are tested by one connection at a time; the others wait for what it finds, a few of them here, the
//! rest by coming back. A test that ends without a word, because its pass was dropped, leaves its turn to the next. What is
//! shared:
//!
//! * a refusal, for the pause after it: registries lock accounts after a few failed logins. One for a repository is shared
//!   with those who ask the very same question
//! * the rest of a login that may have counted as a failed one
//! * an acceptance, with those who ask the very same question
//! * how often the account failed lately, with all who use it, whatever password and way in they have
//!
//! Nothing else is: an outage is told to each by the gate of `net`. Nothing here holds a credential.

mod known;
mod ledger;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{OwnedMutexGuard, Semaphore};

use crate::{
    clock::whole_seconds,
    domain::{
        credential::{Credential, Fingerprint, Fingerprints},
        host::RegistryUrl,
    },
    registry::{Findings, Login},
};
use known::Known;
pub use known::{LONG_REST, Test, Wanted};
use ledger::{Ledger, rests};

/// How many connections may wait here at the same time, whatever for: a quarter of the workers.
const MAY_WAIT: usize = 8;

/// How long one waits before it had better come back. With the longest test after it, that stays below the limit of a pass.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// From how many logins on those are looked for that can be forgotten.
const FIRST_SWEEP: usize = 64;

/// What is known of all logins.
pub struct Flights {
    accounts: Mutex<Accounts>,
    seats: Semaphore,
}

struct Accounts {
    known: HashMap<Fingerprint, Arc<tokio::sync::Mutex<Account>>>,
    /// How many there may be before the next sweep. It moves so that a sweep costs little per new account.
    sweep: usize,
    /// How many tests there were.
    tests: u64,
}

/// What is known of an account.
#[derive(Default)]
struct Account {
    logins: HashMap<Fingerprint, Known>,
    failures: Ledger,
}

/// Which login it is.
#[derive(Clone, Copy)]
pub struct Whose {
    /// Stands for the account: one user at one registry, which is who gets locked.
    pub account: Fingerprint,
    /// Stands for the account with its password.
    password: Fingerprint,
    /// Stands for the password and the way it goes: whom it may be sent to, and who vouches for them.
    login: Fingerprint,
}

/// The sole right to test a login. Dropping it leaves that to the next.
pub struct Turn<'a> {
    flights: &'a Flights,
    account: OwnedMutexGuard<Account>,
    whose: Whose,
}

/// What there is to do for who has the turn.
pub enum Begun<'a> {
    /// Nothing: earlier tests make it needless, or too early, to find out again.
    Known(Test),
    /// To ask the registry.
    Ask(Asking<'a>),
}

/// A test under way. Dropping it leaves the turn to the next, and the login among those that may have failed.
pub struct Asking<'a> {
    turn: Turn<'a>,
    wanted: Wanted,
    began: Timestamp,
}

impl Whose {
    /// The login of this credential at a registry. `way` is what else tells whom it is sent to.
    pub fn of(fingerprints: &Fingerprints, registry: &RegistryUrl, way: impl Hash, credential: &Credential) -> Self {
        Self {
            account: fingerprints.of_account(registry.host(), credential),
            password: fingerprints.of(registry.host(), credential),
            login: fingerprints.of((registry, way), credential),
        }
    }
}

impl Default for Flights {
    fn default() -> Self {
        let accounts = Accounts { known: HashMap::new(), sweep: FIRST_SWEEP, tests: 0 };
        Self { accounts: Mutex::new(accounts), seats: Semaphore::new(MAY_WAIT) }
    }
}

impl Flights {
    /// The turn to test a login. Waits while another tests one of the same account; none if one had better come back a little
    /// later, because too many wait already or this one waited long enough.
    pub async fn turn(&self, whose: Whose, now: Timestamp) -> Option<Turn<'_>> {
        let account = self.of(whose.account, now);
        if let Ok(account) = Arc::clone(&account).try_lock_owned() {
            return Some(Turn { flights: self, account, whose });
        }
        let _seat = self.seats.try_acquire().ok()?;
        let account = tokio::time::timeout(LONGEST_WAIT, account.lock_owned()).await.ok()?;
        Some(Turn { flights: self, account, whose })
    }

    /// Whether a connection that wants a login of this account tested would have to come back.
    pub fn is_crowded(&self, account: Fingerprint) -> bool {
        self.seats.available_permits() == 0
            && self.lock().known.get(&account).is_some_and(|account| account.try_lock().is_err())
    }

    fn of(&self, account: Fingerprint, now: Timestamp) -> Arc<tokio::sync::Mutex<Account>> {
        let mut accounts = self.lock();
        if accounts.known.len() >= accounts.sweep {
            accounts.known.retain(|_, account| {
                Arc::strong_count(account) > 1 || account.try_lock().map_or(true, |account| account.matters(now))
            });
            accounts.sweep = (accounts.known.len() * 2).max(FIRST_SWEEP);
        }
        Arc::clone(accounts.known.entry(account).or_default())
    }

    fn next_number(&self) -> u64 {
        let mut accounts = self.lock();
        accounts.tests += 1;
        accounts.tests
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Nothing here panics halfway, so what a panic elsewhere left is whole.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn matters(&self, now: Timestamp) -> bool {
        self.failures.matters(now) || self.logins.values().any(|known| known.matters(now))
    }
}

impl<'a> Turn<'a> {
    /// What there is to do. What is to be asked counts as sent from now on.
    pub fn begin(self, wanted: &Wanted, now: Timestamp) -> Begun<'a> {
        match self.known(wanted, now) {
            Some(test) => Begun::Known(test),
            None => Begun::Ask(self.ask(wanted, now)),
        }
    }

    fn known(&self, wanted: &Wanted, now: Timestamp) -> Option<Test> {
        let Account { logins, failures } = &*self.account;
        let safe_from = failures.safe_from(self.whose.password, now);
        let shared = logins.get(&self.whose.login).and_then(|known| known.shared(wanted, safe_from.is_none(), now));
        shared.or_else(|| {
            let pause = Duration::try_from(safe_from?.duration_since(now)).unwrap_or_default();
            Some(Test { number: 0, at: whole_seconds(now), findings: Findings::of(Login::Inconclusive(rests(pause))) })
        })
    }

    fn ask(mut self, wanted: &Wanted, now: Timestamp) -> Asking<'a> {
        self.account.logins.retain(|_, known| known.matters(now));
        self.account.failures.sent(self.whose.password, now);
        Asking { turn: self, wanted: *wanted, began: now }
    }
}

impl Asking<'_> {
    /// Takes note of what the test found, and that it did `now`: a registry that lets the asker wait counts a failure late.
    pub fn learned(mut self, findings: Findings, now: Timestamp) -> Test {
        let Whose { password, login, account: _ } = self.turn.whose;
        let Account { logins, failures } = &mut *self.turn.account;
        failures.answered();
        if let Some(is_certain) = findings.failure() {
            failures.failed(password, is_certain, now);
        }
        // One who accepts any login has not judged this one.
        if findings.login == Login::Proven {
            failures.proven(password);
        }
        let safe_from = failures.safe_from(password, now);
        let test = Test { number: self.turn.flights.next_number(), at: whole_seconds(self.began), findings };
        logins.entry(login).or_default().learned(&self.wanted, test, safe_from, now)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use jiff::SignedDuration;

    use super::*;
    use crate::{
        api::{Reason, status::RepositoryVerdict},
        domain::image::RepositoryName,
        problem::Problem,
        registry::Found,
    };

    struct World {
        flights: Flights,
        fingerprints: Fingerprints,
    }

    impl World {
        fn new() -> Self {
            Self { flights: Flights::default(), fingerprints: Fingerprints::default() }
        }

        fn of(&self, used_for: &str) -> Fingerprint {
            self.fingerprints.of(used_for, &Credential::new("user".into(), "password".into()).unwrap())
        }

        /// The login of a user at one registry, or at another one.
        fn at_host(&self, host: &str, user: &str, password: &str) -> Whose {
            let registry = RegistryUrl::parse(&format!("https://{host}")).unwrap();
            let credential = Credential::new(user.into(), password.into()).unwrap();
            Whose::of(&self.fingerprints, &registry, "", &credential)
        }

        fn user(&self, user: &str) -> Whose {
            self.at_host("r.example", user, "password")
        }

        fn wanted(&self, question: &str) -> Wanted {
            let interval = SignedDuration::from_mins(60);
            Wanted { question: self.of(question), after: 0, interval, fresh: false }
        }

        async fn turn(&self) -> Turn<'_> {
            self.flights.turn(self.user("user"), at(0)).await.unwrap()
        }

        async fn learned(&self, question: &str, findings: Findings, minutes: i64) -> Test {
            self.turn().await.ask(&self.wanted(question), at(minutes)).learned(findings, at(minutes))
        }

        /// Lets one password fail, if it is sent; says for how many minutes it rests otherwise.
        async fn tried(&self, whose: Whose, minutes: i64) -> Result<(), Option<u64>> {
            let wanted = Wanted { fresh: true, ..self.wanted("") };
            match self.flights.turn(whose, at(minutes)).await.unwrap().begin(&wanted, at(minutes)) {
                Begun::Known(test) => Err(pause(&test)),
                Begun::Ask(asking) => {
                    asking.learned(refused(false), at(minutes));
                    Ok(())
                }
            }
        }

        /// The number of the test that is shared.
        async fn known(&self, wanted: &Wanted, minutes: i64) -> Option<u64> {
            self.turn().await.known(wanted, at(minutes)).map(|test| test.number)
        }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second((1000 + minutes) * 60).unwrap()
    }

    fn findings(login: Login) -> Findings {
        Findings { login, repositories: vec![], control: None, quota: None, is_held: false, may_have_failed: false }
    }

    fn refused(for_repository: bool) -> Findings {
        findings(Login::Refused { who: "r".into(), status: 401, for_repository })
    }

    fn doubt(pause: Option<u64>) -> Findings {
        let retry_after = pause.map(|minutes| Duration::from_secs(minutes * 60));
        findings(Login::Inconclusive(Problem { retry_after, ..Problem::new(Reason::AccessBlocked, "doubt") }))
    }

    fn unanswered() -> Findings {
        Findings { may_have_failed: true, ..doubt(None) }
    }

    fn with_repository(verdict: RepositoryVerdict, reason: Option<Reason>) -> Findings {
        let name = RepositoryName::parse("team/web").unwrap();
        let found = Found { name, verdict, problem: reason.map(|reason| Problem::new(reason, "failed")) };
        Findings { repositories: vec![found], ..findings(Login::Proven) }
    }

    fn pause(test: &Test) -> Option<u64> {
        let Login::Inconclusive(problem) = &test.findings.login else { return None };
        problem.retry_after.map(|pause| pause.as_secs() / 60)
    }

    #[tokio::test]
    async fn a_refusal_is_shared_by_all_questions_for_half_an_hour() {
        let world = World::new();
        world.learned("", refused(false), 0).await;
        for question in ["", "team/web"] {
            let wanted = world.wanted(question);
            // Whatever it knows already, and however often it should be tested.
            let wanted = Wanted { after: 9, interval: SignedDuration::from_mins(5), ..wanted };
            assert_eq!(world.known(&wanted, 0).await, Some(1));
            assert_eq!(world.known(&wanted, 29).await, Some(1));
            assert_eq!(world.known(&wanted, 30).await, None);
            assert_eq!(world.known(&wanted, -1).await, None, "the clock was set back");
        }
    }

    #[tokio::test]
    async fn an_acceptance_is_shared_by_the_same_question_within_the_interval_of_who_asks() {
        let world = World::new();
        world.learned("", findings(Login::Proven), 0).await;
        let wanted = world.wanted("");
        assert_eq!(world.known(&wanted, 0).await, Some(1));
        assert_eq!(world.known(&wanted, 59).await, Some(1));
        assert_eq!(world.known(&wanted, 60).await, None);
        assert_eq!(world.known(&wanted, -1).await, None, "the clock was set back");
        let often = Wanted { interval: SignedDuration::from_mins(5), ..wanted };
        assert_eq!(world.known(&often, 4).await, Some(1));
        assert_eq!(world.known(&often, 5).await, None);
        assert_eq!(world.known(&Wanted { after: 1, ..wanted }, 0).await, None, "it tells nothing new");
        assert_eq!(world.known(&Wanted { fresh: true, ..wanted }, 0).await, None);
        assert_eq!(world.known(&world.wanted("team/web"), 0).await, None, "another question");
        let other = world.flights.turn(world.at_host("elsewhere.example", "user", "password"), at(0)).await.unwrap();
        assert!(other.known(&wanted, at(0)).is_none(), "another login");
    }

    #[tokio::test]
    async fn a_repository_that_failed_is_shared_for_ten_minutes_and_a_doubt_about_one_not_at_all() {
        let world = World::new();
        let wanted = world.wanted("team/web");
        let missing = with_repository(RepositoryVerdict::RepositoryNotFound, Some(Reason::RepositoryNotFound));
        world.learned("team/web", missing, 0).await;
        assert_eq!(world.known(&wanted, 9).await, Some(1));
        assert_eq!(world.known(&wanted, 10).await, None);
        let world = World::new();
        let doubt = with_repository(RepositoryVerdict::Inconclusive, Some(Reason::RateLimited));
        world.learned("team/web", doubt, 0).await;
        assert_eq!(world.known(&wanted, 0).await, None);
    }

    #[tokio::test]
    async fn a_later_verdict_takes_the_place_of_an_earlier_one() {
        let world = World::new();
        let wanted = world.wanted("");
        world.learned("", findings(Login::Proven), 0).await;
        world.learned("team/web", refused(false), 1).await;
        assert_eq!(world.known(&wanted, 2).await, Some(2));
        assert_eq!(world.known(&wanted, 31).await, None, "what was accepted before a refusal is not any more");
        world.learned("", findings(Login::Proven), 31).await;
        assert_eq!(world.known(&wanted, 31).await, Some(3));
        assert_eq!(world.known(&world.wanted("team/web"), 31).await, None);
    }

    #[tokio::test]
    async fn a_refusal_for_a_repository_is_shared_by_the_same_question_until_there_were_too_many() {
        let world = World::new();
        world.learned("", findings(Login::Unverified), 0).await;
        world.learned("team/a", refused(true), 1).await;
        assert_eq!(world.known(&world.wanted(""), 2).await, Some(1), "the door lets it in");
        assert_eq!(world.known(&world.wanted("team/a"), 30).await, Some(2));
        assert_eq!(world.known(&world.wanted("team/a"), 31).await, None);
        assert_eq!(world.known(&world.wanted("team/b"), 2).await, None);
        world.learned("team/b", refused(true), 2).await;
        world.learned("", findings(Login::Unverified), 2).await;
        assert_eq!(world.known(&world.wanted("team/c"), 2).await, None);
        world.learned("team/c", refused(true), 2).await;
        assert_eq!(world.known(&world.wanted("team/d"), 3).await, Some(5));
        assert_eq!(world.known(&world.wanted("team/d"), 11).await, None);
    }

    #[tokio::test]
    async fn a_login_that_may_have_counted_as_failed_rests_for_all_and_other_doubts_are_not_shared() {
        let world = World::new();
        for unshared in [doubt(None), doubt(Some(14)), Findings { is_held: true, ..doubt(Some(60)) }] {
            world.learned("", unshared, 0).await;
            assert_eq!(world.known(&world.wanted(""), 0).await, None);
        }
        world.learned("", doubt(Some(30)), 0).await;
        for question in ["", "team/web"] {
            let wanted = Wanted { fresh: true, ..world.wanted(question) };
            let test = world.turn().await.known(&wanted, at(10)).unwrap();
            assert_eq!((test.number, pause(&test)), (4, Some(20)), "the rest of the pause");
            assert_eq!(world.known(&wanted, 30).await, None);
            assert_eq!(world.known(&wanted, -1).await, None, "the clock was set back");
        }
    }

    #[tokio::test]
    async fn one_login_never_fails_more_than_three_times_in_ten_minutes() {
        let world = World::new();
        let fresh = Wanted { fresh: true, ..world.wanted("") };
        for minutes in 0..3 {
            assert_eq!(world.known(&fresh, minutes).await, None, "the user asks");
            world.learned("", refused(false), minutes).await;
        }
        assert_eq!(world.known(&fresh, 9).await, Some(3));
        assert_eq!(world.known(&fresh, 10).await, None, "the first does not count any more");

        let world = World::new();
        assert_eq!(pause(&world.learned("", unanswered(), 0).await), None);
        assert_eq!(pause(&world.learned("", unanswered(), 1).await), None);
        assert_eq!(world.known(&world.wanted(""), 4).await, None);
        assert_eq!(pause(&world.learned("", unanswered(), 4).await), Some(6), "and says when it may be tried again");
        assert_eq!(world.known(&world.wanted("team/web"), 9).await, Some(3));
        assert_eq!(world.known(&world.wanted(""), 10).await, None);
        world.learned("", findings(Login::Proven), 10).await;
        assert_eq!(pause(&world.learned("", unanswered(), 11).await), None, "an accepted login ends the count");
    }

    #[tokio::test]
    async fn an_account_is_not_locked_by_a_password_that_is_asked_for_again_and_the_next_one() {
        let world = World::new();
        let of = |password: &str| world.at_host("r.example", "user", password);
        for minutes in 0..3 {
            assert_eq!(world.tried(of("a"), minutes).await, Ok(()));
        }
        assert_eq!(world.tried(of("a"), 3).await, Err(None), "its refusal is known");
        assert_eq!(world.tried(of("b"), 3).await, Ok(()), "the user put something right");
        assert_eq!(world.tried(of("b"), 4).await, Err(None));
        assert_eq!(world.tried(of("c"), 4).await, Err(Some(6)), "says when it is tried");
        assert_eq!(world.tried(world.user("other"), 4).await, Ok(()));
        assert_eq!(world.tried(world.at_host("other.example", "user", "c"), 4).await, Ok(()));
        assert_eq!(world.tried(of("c"), 10).await, Ok(()));
    }

    #[tokio::test]
    async fn ways_in_do_not_add_to_what_an_account_may_fail() {
        let world = World::new();
        let registry = RegistryUrl::parse("https://r.example").unwrap();
        let credential = Credential::new("user".into(), "password".into()).unwrap();
        let ways = (0..5).map(|way| Whose::of(&world.fingerprints, &registry, way, &credential));
        let tried = futures::future::join_all(ways.map(|whose| world.tried(whose, 0))).await;
        assert_eq!(tried, [Ok(()), Ok(()), Ok(()), Err(Some(10)), Err(Some(10))]);
    }

    #[tokio::test]
    async fn a_login_whose_test_is_dropped_may_have_failed() {
        let world = World::new();
        let wanted = world.wanted("");
        for minutes in 0..3 {
            assert_eq!(world.known(&wanted, minutes).await, None);
            drop(world.turn().await.begin(&wanted, at(minutes)));
        }
        let Begun::Known(test) = world.turn().await.begin(&wanted, at(4)) else { panic!("sent once more") };
        assert_eq!(pause(&test), Some(6));
        let Begun::Ask(asking) = world.turn().await.begin(&wanted, at(10)) else { panic!("rests too long") };
        asking.learned(findings(Login::Proven), at(10));
        assert_eq!(world.turn().await.account.failures.safe_from(world.user("user").password, at(10)), None);
    }

    #[tokio::test]
    async fn a_registry_that_answers_late_counts_late() {
        let world = World::new();
        let of = |password: &str| world.at_host("r.example", "user", password);
        for (sent, password) in [(0, "a"), (1, "b"), (1, "c"), (1, "d")] {
            let turn = world.flights.turn(of(password), at(sent)).await.unwrap();
            turn.ask(&world.wanted(""), at(sent)).learned(refused(false), at(1));
        }
        assert_eq!(world.tried(of("e"), 10).await, Err(Some(1)));
        assert_eq!(world.tried(of("e"), 11).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_tests_and_the_others_wait_and_know_what_it_found() {
        let world = World::new();
        let wanted = world.wanted("");
        let leader = world.turn().await;
        let followers = futures::future::join_all((0..8).map(|_| world.known(&wanted, 0)));
        let mut followers = Box::pin(followers);
        assert!(followers.as_mut().now_or_never().is_none());
        assert!(
            world.flights.turn(world.user("other"), at(0)).now_or_never().unwrap().is_some(),
            "each account for itself"
        );
        leader.ask(&wanted, at(0)).learned(refused(false), at(0));
        assert_eq!(followers.await, [Some(1); 8]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_that_is_dropped_leaves_its_turn_to_the_next() {
        let world = World::new();
        let leader = world.turn().await;
        let mut first = world.turn().boxed();
        let mut second = world.turn().boxed();
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(leader);
        // Neither does one that gives up waiting stand in the way.
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn eight_wait_at_most_and_not_for_long() {
        let world = World::new();
        let logins = [world.user("a"), world.user("b")];
        let leaders = [world.flights.turn(logins[0], at(0)).await, world.flights.turn(logins[1], at(0)).await];
        assert!(leaders.iter().all(Option::is_some));
        assert!(!world.flights.is_crowded(logins[0].account));
        let mut waiting: Vec<_> = (0..8).map(|number| world.flights.turn(logins[number % 2], at(0)).boxed()).collect();
        assert!(waiting.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        assert!(world.flights.is_crowded(logins[0].account));
        assert!(!world.flights.is_crowded(world.user("free").account));
        assert!(world.flights.turn(logins[0], at(0)).now_or_never().unwrap().is_none(), "it comes back later");
        let began = tokio::time::Instant::now();
        let turns = futures::future::join_all(waiting).await;
        assert!(turns.iter().all(Option::is_none));
        assert_eq!(began.elapsed(), LONGEST_WAIT);
    }

    #[tokio::test]
    async fn what_is_of_no_use_any_more_is_forgotten() {
        let world = World::new();
        let touch = async |name: String, minutes| {
            let turn = world.flights.turn(world.user(&name), at(minutes)).await.unwrap();
            turn.ask(&world.wanted(&name), at(minutes)).learned(findings(Login::Proven), at(minutes));
        };
        for number in 0..1000 {
            touch(format!("a{number}"), 0).await;
        }
        assert_eq!(world.flights.lock().known.len(), 1000, "all of use");
        let held = world.flights.turn(world.user("a7"), at(0)).await;
        for number in 0..1100 {
            touch(format!("b{number}"), 60).await;
        }
        let left = world.flights.lock().known.len();
        assert!(left < 1300, "{left}");
        assert!(world.flights.lock().known.contains_key(&world.user("a7").account), "somebody works with it");
        drop(held);
    }
}
