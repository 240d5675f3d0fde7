//! What is known of one login, and who may know it. Pure.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::status::RepositoryVerdict,
    controller::due::{PAUSE_AFTER_FAILED_REPOSITORY, PAUSE_AFTER_REFUSAL},
    domain::credential::Fingerprint,
    registry::{Findings, Login},
};

/// A pause as long as this is one for a login that may have counted as failed.
pub const LONG_REST: Duration = Duration::from_secs(15 * 60);

/// A test that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Larger than that of every test before it in this process; zero of one that was not made, because the login rests.
    pub number: u64,
    /// When it was made, in whole seconds like the times it is compared with.
    pub at: Timestamp,
    /// What it found.
    pub findings: Findings,
}

/// What a connection wants to know of its login.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Stands for the login and all that is asked about it.
    pub question: Fingerprint,
    /// The number of the last test that tells it nothing new.
    pub after: u64,
    /// An acceptance is of use until it is that old.
    pub interval: SignedDuration,
    /// The user asks for a new test.
    pub fresh: bool,
}

/// What is known of one login.
#[derive(Default)]
pub(super) struct Known {
    /// The last refusal.
    refused: Option<Test>,
    /// What it met with when it may have counted as failed, and until when it rests.
    rest: Option<(Test, Timestamp)>,
    /// The last verdict by question, and until when it is of use.
    verdicts: HashMap<Fingerprint, (Test, Timestamp)>,
}

impl Known {
    /// What earlier tests make it needless, or too early, to find out again. `may_fail`: one more failed login is safe.
    pub(super) fn shared(&self, wanted: &Wanted, may_fail: bool, now: Timestamp) -> Option<Test> {
        let Known { refused, rest, verdicts } = self;
        let verdict = verdicts.get(&wanted.question).map(|(test, _)| test);
        let refused = refused.as_ref().filter(|test| !test.findings.is_refused_for_repository() || !may_fail);
        let mut refused = refused.into_iter().chain(verdict.filter(|test| test.findings.is_refused()));
        let refused = refused.find(|test| is_within(test.at, PAUSE_AFTER_REFUSAL, now));
        if let Some(test) = refused.filter(|_| !wanted.fresh || !may_fail) {
            return Some(test.clone());
        }
        if let Some((test, until)) = rest
            && test.at <= now
            && let Ok(left) = Duration::try_from(until.duration_since(now))
            && !left.is_zero()
        {
            return Some(test.resting(left));
        }
        let test = verdict.filter(|test| !wanted.fresh && !test.findings.is_refused())?;
        let is_new = test.number > wanted.after && is_within(test.at, useful_for(test, wanted.interval), now);
        is_new.then(|| test.clone())
    }

    /// Takes note of what a test found, and that it did `now`. `safe_from`: when one more failed login is safe, if it is not
    /// now.
    pub(super) fn learned(
        &mut self,
        wanted: &Wanted,
        test: Test,
        safe_from: Option<Timestamp>,
        now: Timestamp,
    ) -> Test {
        let known = self;
        known.verdicts.retain(|_, (earlier, until)| earlier.at <= test.at && *until > test.at);
        match &test.findings.login {
            Login::Refused { for_repository, .. } => {
                (known.refused, known.rest) = (Some(test.clone()), None);
                if *for_repository {
                    known.verdicts.insert(wanted.question, (test.clone(), later(test.at, PAUSE_AFTER_REFUSAL)));
                } else {
                    known.verdicts.clear();
                }
            }
            Login::Proven | Login::Unverified => {
                (known.refused, known.rest) = (None, None);
                if test.findings.is_definite() {
                    let until = later(test.at, useful_for(&test, wanted.interval));
                    known.verdicts.insert(wanted.question, (test.clone(), until));
                }
            }
            Login::Inconclusive(_) => {
                let asked = test.findings.long_rest();
                let asked = asked.map(|pause| later(test.at, SignedDuration::try_from(pause).unwrap_or_default()));
                if let Some(until) = asked.max(safe_from.filter(|_| test.findings.may_have_failed)) {
                    known.rest = Some((test.clone(), until));
                    return test.resting(Duration::try_from(until.duration_since(now)).unwrap_or_default());
                }
            }
        }
        test
    }

    /// Whether anything in here can still be of use.
    pub(super) fn matters(&self, now: Timestamp) -> bool {
        self.refused.as_ref().is_some_and(|test| is_within(test.at, PAUSE_AFTER_REFUSAL, now))
            || self.rest.iter().chain(self.verdicts.values()).any(|(test, until)| test.at <= now && *until > now)
    }
}

impl Test {
    /// The same for one who may not try before a time.
    fn resting(&self, left: Duration) -> Self {
        let mut test = self.clone();
        if let Login::Inconclusive(problem) = &mut test.findings.login {
            problem.retry_after = Some(left);
        }
        test
    }
}

impl Findings {
    /// Whether the login counts as a failed one: none if not, else whether that is certain.
    pub(super) fn failure(&self) -> Option<bool> {
        match &self.login {
            // For another repository it might be accepted.
            Login::Refused { for_repository, .. } => Some(!for_repository),
            Login::Proven | Login::Unverified => None,
            Login::Inconclusive(_) => (self.long_rest().is_some() || self.may_have_failed).then_some(false),
        }
    }

    /// The pause, if it is one for a login that may have counted as failed.
    fn long_rest(&self) -> Option<Duration> {
        match &self.login {
            Login::Inconclusive(problem) => problem.retry_after.filter(|pause| *pause >= LONG_REST && !self.is_held),
            Login::Refused { .. } | Login::Proven | Login::Unverified => None,
        }
    }

    /// Every part of the question got its answer.
    fn is_definite(&self) -> bool {
        self.repositories.iter().all(|found| found.verdict != RepositoryVerdict::Inconclusive)
    }

    /// The login was refused.
    fn is_refused(&self) -> bool {
        matches!(self.login, Login::Refused { .. })
    }

    /// The login was refused for a repository.
    fn is_refused_for_repository(&self) -> bool {
        matches!(self.login, Login::Refused { for_repository: true, .. })
    }
}

/// How long an acceptance is of use to one with this interval: a repository that failed is asked for again sooner.
fn useful_for(test: &Test, interval: SignedDuration) -> SignedDuration {
    let mut problems = test.findings.repositories.iter().filter_map(|found| found.problem.as_ref());
    if problems.any(|problem| problem.reason.is_of_a_repository()) {
        return interval.min(PAUSE_AFTER_FAILED_REPOSITORY);
    }
    interval
}

/// Whether `time` is not longer ago than `limit`. What comes from the future is from before the clock was set, and says
/// nothing.
fn is_within(time: Timestamp, limit: SignedDuration, now: Timestamp) -> bool {
    let age = now.duration_since(time);
    !age.is_negative() && age < limit
}

pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
