//! What the answers of one place so far mean for the next request to it. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;

use super::{
    Answer, Failure, HeldCause,
    retry_after::{self, MAX_PAUSE, UNNAMED_PAUSE},
};

/// How many requests in a row have to fail until an origin is held.
const FAILURES: u32 = 5;

/// How long an origin is held at first; twice as long after every further failure.
const FIRST_HOLD: Duration = Duration::from_secs(1);

/// The longest time an origin is held for failing.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// When a failure is too old to say anything about the next request.
const FORGET: Duration = Duration::from_secs(600);

/// What the answers so far mean for the next request.
pub(super) struct Memory {
    /// The place counts the requests of one credential only, so what it says is left of them is for us alone.
    counts_ours: bool,
    /// The end of the pause that an answer asked for.
    paused_until: Option<Timestamp>,
    trouble: Option<Trouble>,
}

/// Failures in a row.
struct Trouble {
    last: Failure,
    at: Timestamp,
    failures: u32,
    /// A request is under way that finds out whether it is over.
    trying: bool,
}

/// What a failure says about the origin.
enum Meaning {
    /// Somebody is there, and to ask again costs little.
    Reached,
    /// The origin gave no answer.
    Unreached,
    /// Nothing was asked.
    NotTried,
}

fn meaning(failure: &Failure) -> Meaning {
    match failure {
        Failure::Tls(_) | Failure::TooLong => Meaning::Reached,
        Failure::NotResolved
        | Failure::TimedOut
        | Failure::ConnectionRefused
        | Failure::NotConnected
        | Failure::Proxy(_)
        | Failure::Broken => Meaning::Unreached,
        Failure::AddressNotAllowed(_) | Failure::OutOfScope | Failure::Held { .. } => Meaning::NotTried,
    }
}

/// Whether an answer asks for a pause: by 429, by 503 if it says for how long, or by GitHub's 403.
fn asks_for_pause(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => headers.contains_key(RETRY_AFTER),
        StatusCode::FORBIDDEN => retry_after::is_exhausted(headers),
        _ => false,
    }
}

impl Memory {
    /// Nothing yet; `counts_ours` says that nobody else's requests are counted there.
    pub(super) fn new(counts_ours: bool) -> Self {
        Self { counts_ours, paused_until: None, trouble: None }
    }

    /// Whether a request may be sent now.
    pub(super) fn held(&self, now: Timestamp) -> Result<(), Failure> {
        if let Some(pause) = self.paused_until.and_then(|until| left(until, now)) {
            return Err(Failure::Held { cause: HeldCause::Asked, pause });
        }
        let Some(trouble) = self.trouble.as_ref().filter(|trouble| trouble.matters(now)) else { return Ok(()) };
        // How long a trial takes is not known; nobody has to hurry more than before it.
        match left(trouble.until(), now).or(trouble.trying.then(|| trouble.hold().max(FIRST_HOLD))) {
            Some(pause) => Err(Failure::Held { cause: HeldCause::Unanswered(Box::new(trouble.last.clone())), pause }),
            None => Ok(()),
        }
    }

    /// Lets a request pass, and says whether it is the one that finds out for all.
    pub(super) fn admit(&mut self, now: Timestamp) -> Result<bool, Failure> {
        self.held(now)?;
        self.trouble.take_if(|trouble| !trouble.matters(now));
        Ok(self.trouble.as_mut().filter(|trouble| trouble.failures >= FAILURES).is_some_and(|trouble| {
            trouble.trying = true;
            true
        }))
    }

    /// The beginning of an answer has come.
    pub(super) fn heard(&mut self, now: Timestamp, status: StatusCode, headers: &HeaderMap) {
        if asks_for_pause(status, headers) {
            self.pause(now, retry_after::pause(headers, now).unwrap_or(UNNAMED_PAUSE));
        } else if self.counts_ours
            && let Some(pause) = retry_after::until_more(headers, now)
        {
            self.pause(now, pause);
        }
    }

    /// A request is over.
    pub(super) fn over(&mut self, now: Timestamp, result: &Result<Answer, Failure>, trial: bool) {
        match result {
            Ok(answer) => {
                self.trouble = None;
                let in_body = || retry_after::pause_in_body(answer.body.expose());
                if let Some(pause) = asks_for_pause(answer.status, &answer.headers).then(in_body).flatten() {
                    self.pause(now, pause);
                }
            }
            Err(failure) => match meaning(failure) {
                Meaning::Reached => self.trouble = None,
                Meaning::Unreached => self.failed(now, failure, trial),
                Meaning::NotTried => {}
            },
        }
    }

    /// The request that was to find out has ended, or was given up.
    pub(super) fn trial_over(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.trying = false;
        }
    }

    fn pause(&mut self, now: Timestamp, pause: Duration) {
        let until = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let known = self.paused_until.filter(|until| left(*until, now).is_some());
        self.paused_until = known.max(Some(until));
    }

    /// Counts a failure. Of requests that were under way when the origin was closed only the trial counts: eight that
    /// fail together are no eight rounds.
    fn failed(&mut self, now: Timestamp, failure: &Failure, trial: bool) {
        match &mut self.trouble {
            Some(trouble) if trouble.failures >= FAILURES && !trial => {}
            Some(trouble) => {
                let failures = trouble.failures.saturating_add(1);
                *trouble = Trouble { last: failure.clone(), at: now, failures, trying: false };
            }
            None => self.trouble = Some(Trouble { last: failure.clone(), at: now, failures: 1, trying: false }),
        }
    }

    /// Whether there is anything that the next request has to know.
    pub(super) fn matters(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| left(until, now).is_some())
            || self.trouble.as_ref().is_some_and(|trouble| trouble.matters(now))
    }
}

impl Trouble {
    /// How long it holds.
    fn hold(&self) -> Duration {
        match self.failures.checked_sub(FAILURES) {
            None => Duration::ZERO,
            Some(further) => {
                FIRST_HOLD.saturating_mul(1_u32.checked_shl(further).unwrap_or(u32::MAX)).min(LONGEST_HOLD)
            }
        }
    }

    /// When the next request may be sent.
    fn until(&self) -> Timestamp {
        self.at.saturating_add(self.hold()).unwrap_or(Timestamp::MAX)
    }

    fn matters(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).unsigned_abs() < FORGET
    }
}

/// How long it is until then; none if the time has come, and none if it is further away than any pause is: then somebody
/// has set the clock back.
fn left(until: Timestamp, now: Timestamp) -> Option<Duration> {
    let left = Duration::try_from(until.duration_since(now)).ok()?;
    (!left.is_zero() && left <= MAX_PAUSE).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_and_lets_nobody_through() {
        let mut memory = Memory::new(false);
        let now = Timestamp::from_second(1_795_273_200).unwrap();
        memory.pause(now, Duration::from_secs(60));
        for _ in 0..5 {
            memory.failed(now, &Failure::TimedOut, false);
        }
        assert!(memory.held(now).is_err());
        let before = now - jiff::SignedDuration::from_hours(24);
        assert_eq!(memory.held(before), Ok(()));
        assert!(!memory.matters(before));
        memory.pause(before, Duration::from_secs(7));
        let expected = Failure::Held { cause: HeldCause::Asked, pause: Duration::from_secs(7) };
        assert_eq!(memory.held(before), Err(expected));
    }
}
