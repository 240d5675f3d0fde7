//! How often logins of one account failed lately, and whether one more may. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::known::later;
use crate::{
    api::Reason,
    domain::credential::Fingerprint,
    problem::{Problem, field},
};

/// Over which time registries count failed logins, as most do that lock accounts.
const COUNTED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// How many logins of an account may fail in that time: registries lock after five.
const MAY_FAIL: usize = 3;

/// The same if the next one has a password that did not fail in that time. One is kept for it, so that what a user puts
/// right is tried although the one before was asked for again and again.
const MAY_FAIL_BEFORE_ANOTHER: usize = 4;

/// The failed logins of one account: of all connections, whatever passwords and ways in they have.
#[derive(Default)]
pub(super) struct Ledger {
    failures: Vec<Failure>,
}

/// A login that failed, or may have.
struct Failure {
    /// When it failed; when it was sent if nobody knows.
    at: Timestamp,
    /// Its password.
    password: Fingerprint,
    /// The registry said so.
    is_certain: bool,
}

impl Ledger {
    /// The login is about to be sent. Until its answer is noted it counts as one that may have failed: nobody notes one whose
    /// pass is dropped.
    pub(super) fn sent(&mut self, password: Fingerprint, now: Timestamp) {
        self.failures.retain(|failure| failure.counts(now));
        self.failures.push(Failure { at: now, password, is_certain: false });
    }

    /// Takes back the last one that was sent: it is answered. Logins of an account are sent one after the other.
    pub(super) fn answered(&mut self) {
        self.failures.pop();
    }

    /// The login failed, or may have.
    pub(super) fn failed(&mut self, password: Fingerprint, is_certain: bool, now: Timestamp) {
        self.failures.push(Failure { at: now, password, is_certain });
    }

    /// The password is right, so what nobody knew of it before was no failure.
    pub(super) fn proven(&mut self, password: Fingerprint) {
        self.failures.retain(|failure| failure.is_certain || failure.password != password);
    }

    /// Whether one more failed login with this password is safe.
    pub(super) fn may_fail(&self, password: Fingerprint, now: Timestamp) -> bool {
        let (mut count, mut limit) = (0, MAY_FAIL_BEFORE_ANOTHER);
        for failure in self.failures.iter().filter(|failure| failure.counts(now)) {
            count += 1;
            if failure.password == password {
                limit = MAY_FAIL;
            }
        }
        count < limit
    }

    /// From when on one more failed login with this password is safe; none if it is now.
    pub(super) fn safe_from(&self, password: Fingerprint, now: Timestamp) -> Option<Timestamp> {
        if self.may_fail(password, now) {
            return None;
        }
        let ends = self.failures.iter().map(|failure| later(failure.at, COUNTED_FOR)).filter(|end| *end > now);
        ends.filter(|end| self.may_fail(password, *end)).min()
    }

    /// Whether anything in here still counts.
    pub(super) fn matters(&self, now: Timestamp) -> bool {
        self.failures.iter().any(|failure| failure.counts(now))
    }
}

impl Failure {
    /// Whether the registry may still count it. A clock that is set back a little makes that last longer; what is further
    /// ahead is from before it was set, and says nothing.
    fn counts(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).abs() < COUNTED_FOR
    }
}

/// What to tell of a login that is not sent until one more failure is safe.
pub(super) fn rests(pause: Duration) -> Problem {
    let message = "login: not sent now, because logins of this user failed at the registry several times within ten minutes, \
                   and one more could lock the account";
    let hint = "wait: it is sent as soon as that is safe, at most ten minutes after the last failure. Correct every Secret that \
                holds a wrong password of this user";
    Problem { retry_after: Some(pause), ..Problem::new(Reason::RateLimited, message) }.at(field::SECRET_REF).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::credential::{Credential, Fingerprints};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second((1000 + minutes) * 60).unwrap()
    }

    fn passwords() -> [Fingerprint; 5] {
        let fingerprints = Fingerprints::default();
        ["a", "b", "c", "d", "e"]
            .map(|password| fingerprints.of("r", &Credential::new("user".into(), password.into()).unwrap()))
    }

    /// The minute from which on a password may fail; none if it may now.
    fn safe_from(ledger: &Ledger, password: Fingerprint, minutes: i64) -> Option<i64> {
        ledger.safe_from(password, at(minutes)).map(|time| time.as_second() / 60 - 1000)
    }

    #[test]
    fn one_password_fails_three_times_in_ten_minutes_and_another_one_once_more() {
        let [a, b, c, ..] = passwords();
        let mut ledger = Ledger::default();
        for minutes in 0..3 {
            assert_eq!(safe_from(&ledger, a, minutes), None);
            ledger.failed(a, true, at(minutes));
        }
        assert_eq!(safe_from(&ledger, a, 3), Some(10), "when the first does not count any more");
        assert_eq!(safe_from(&ledger, b, 3), None, "the user has put something right");
        ledger.failed(b, true, at(3));
        for (password, from) in [(a, 11), (b, 11), (c, 10)] {
            assert_eq!(safe_from(&ledger, password, 4), Some(from));
            assert!(!ledger.may_fail(password, at(from - 1)));
            assert!(ledger.may_fail(password, at(from)));
        }
    }

    #[test]
    fn an_account_fails_at_most_four_times_in_any_ten_minutes_whatever_is_tried() {
        // Deterministic, and different enough: each seed is another order of passwords and pauses.
        for seed in 0..500_u64 {
            let (passwords, mut ledger, mut failures) = (passwords(), Ledger::default(), vec![]);
            let mut random = seed;
            for minutes in 0..120 {
                for _ in 0..3 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let password = passwords[usize::try_from(random >> 33).unwrap() % passwords.len()];
                    if ledger.safe_from(password, at(minutes)).is_some() {
                        continue;
                    }
                    ledger.sent(password, at(minutes));
                    failures.push(minutes);
                    // Some are dropped without an answer.
                    if (random >> 40) % 4 != 0 {
                        ledger.answered();
                        ledger.failed(password, true, at(minutes));
                    }
                }
            }
            assert!(failures.len() > 30, "it goes on: {}", failures.len());
            for (first, fifth) in failures.iter().zip(failures.iter().skip(4)) {
                assert!(fifth - first >= 10, "seed {seed}: {failures:?}");
            }
        }
    }

    #[test]
    fn a_login_that_is_on_its_way_counts_until_it_is_answered() {
        let [a, b, ..] = passwords();
        let mut ledger = Ledger::default();
        ledger.failed(b, true, at(0));
        ledger.failed(b, true, at(0));
        ledger.sent(a, at(1));
        assert_eq!(safe_from(&ledger, a, 1), Some(10));
        ledger.answered();
        assert_eq!(safe_from(&ledger, a, 1), None);
        assert!(ledger.matters(at(9)));
        assert!(!ledger.matters(at(10)));
    }

    #[test]
    fn a_right_password_ends_what_is_doubtful_of_itself_and_no_certain_failure() {
        let [a, b, ..] = passwords();
        let mut ledger = Ledger::default();
        for is_certain in [true, false, false] {
            ledger.failed(a, is_certain, at(0));
        }
        ledger.proven(b);
        assert!(!ledger.may_fail(a, at(1)), "another password says nothing of this one");
        ledger.proven(a);
        assert_eq!(ledger.failures.len(), 1);
        assert!(ledger.may_fail(a, at(1)));
    }

    #[test]
    fn a_clock_that_was_set_back_by_hours_stops_nothing_and_a_little_forgets_nothing() {
        let [a, ..] = passwords();
        let mut ledger = Ledger::default();
        for _ in 0..4 {
            ledger.failed(a, true, at(60));
        }
        assert_eq!(safe_from(&ledger, a, 0), None);
        assert_eq!(safe_from(&ledger, a, 59), Some(70), "set right by a little");
        assert_eq!(safe_from(&ledger, a, 61), Some(70));
    }

    #[test]
    fn tells_the_user_why_nothing_is_sent_and_what_to_do() {
        let problem = rests(Duration::from_secs(60));
        assert_eq!((problem.reason, problem.retry_after), (Reason::RateLimited, Some(Duration::from_secs(60))));
        assert!(problem.message.contains("lock the account"));
        assert!(problem.hint.is_some_and(|hint| hint.contains("ten minutes")));
    }
}
