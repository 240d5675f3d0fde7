//! Thirty days of refreshes. The decisions are the real ones: what is due, which credential is wanted, how the ledger changes,
//! what the status says, how long a pause is. The provider, the registry and the cluster are models, the steps between are those
//! of the engine without their IO. Time jumps from wake to wake; the operator may end before every write.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    book::Book,
    due::{LONGEST_PASS, delivered_since, due, next, pressed, revocation},
    want::{Want, want},
};
use crate::{
    api::{
        Declared, Reason, RegistryConnectionStatus,
        connection::RenewalPolicy,
        status::{LastTest, ObservedInput},
    },
    clock::whole_seconds,
    controller::{
        due::{Cause, Due, expires_at, pausing_trouble},
        fixture::{created, entry, holding, issuing, object, one, present},
        mapper,
        memory::{Attempt, Memory, Revocation},
        observe::Observed,
        policy::{Delivery, retry},
        report::{self, Outcome},
        request::Requests,
        revision,
        sighting::SecretState,
        tally::tally,
        validate::Connection,
        verify::issued,
    },
    domain::ledger::{Entry, Ledger, Retired},
    problem::Problem,
};

const GRACE: SignedDuration = SignedDuration::from_mins(10);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// No wake is sooner than this (`wake::SHORTEST`).
const SHORTEST: SignedDuration = SignedDuration::from_millis(50);

/// How long the registry may not know a credential without refusing it (`verify::PATIENCE`).
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// The operator ended before a write.
struct Ended;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
struct Setting {
    policy: RenewalPolicy,
    /// In minutes.
    interval: i64,
    /// In minutes.
    life: i64,
    days: i64,
    has_outages: bool,
    has_restarts: bool,
    seed: u64,
}

/// When somebody does not answer.
#[derive(Default)]
struct Outages(Vec<(Timestamp, Timestamp)>);

impl Outages {
    /// Outages of up to a third of the life, with a life between any two.
    fn random(random: &mut fastrand::Rng, life: SignedDuration, end: Timestamp) -> Self {
        let mut outages = vec![];
        let third = life.as_secs() / 3;
        let mut time = created() + SignedDuration::from_secs(random.i64(0..=2 * third));
        while time < end {
            // The longest are the hardest.
            let length = if random.bool() { third } else { random.i64(0..=third) };
            let until = time + SignedDuration::from_secs(length);
            outages.push((time, until));
            time = until + life + SignedDuration::from_secs(random.i64(0..=3 * third));
        }
        Self(outages)
    }

    fn is_on(&self, now: Timestamp) -> bool {
        let next = self.0.partition_point(|(_, until)| *until <= now);
        self.0.get(next).is_some_and(|(since, _)| *since <= now)
    }
}

/// A credential as its provider and its users know it.
struct Known {
    expires_at: Timestamp,
    /// From when on the registry knows it.
    known_from: Timestamp,
    /// When the target held another one first.
    replaced_at: Option<Timestamp>,
}

struct World {
    setting: Setting,
    connection: Connection,
    object: Arc<Declared>,
    status: RegistryConnectionStatus,
    book: Book,
    /// As it was written last.
    stored: Ledger,
    ledger: SecretState,
    target: SecretState,
    held: Option<Entry>,
    writes: u64,
    memory: Memory,
    started: Timestamp,
    now: Timestamp,
    end: Timestamp,
    random: fastrand::Rng,
    provider: Outages,
    registry: Outages,
    /// Before how many more writes the operator does not end.
    ends_after: Option<u32>,
    known: BTreeMap<String, Known>,
    minted: usize,
    revoked: usize,
    passes: usize,
}

impl World {
    fn new(setting: Setting) -> Self {
        let Setting { policy, interval, life, days, has_outages, has_restarts: _, seed } = setting;
        let mut random = fastrand::Rng::with_seed(seed);
        let object = object(|object| {
            object["spec"]["refreshIntervalMinutes"] = interval.into();
            object["metadata"]["uid"] = format!("{:016x}", random.u64(..)).into();
        });
        let connection = Connection { renewal_policy: policy, ..issuing(&object) };
        let (life, end) = (SignedDuration::from_mins(life), created() + DAY * i32::try_from(days).unwrap());
        let mut outages = || if has_outages { Outages::random(&mut random, life, end) } else { Outages::default() };
        let (provider, registry) = (outages(), outages());
        Self {
            book: Book::of(&connection.reference, Ledger::default()),
            stored: Ledger::default(),
            setting,
            connection,
            status: RegistryConnectionStatus::default(),
            object: Arc::new(object),
            ledger: SecretState::Absent,
            target: SecretState::Absent,
            held: None,
            writes: 0,
            memory: Memory::default(),
            started: created(),
            now: created(),
            end,
            random,
            provider,
            registry,
            ends_after: None,
            known: BTreeMap::new(),
            minted: 0,
            revoked: 0,
            passes: 0,
        }
    }

    /// Lets the time pass.
    fn run(mut self) -> Self {
        let mut next_end = self.time_of_next_end();
        let mut in_a_row = 0;
        while self.now < self.end {
            self.passes += 1;
            let result = self.pass();
            let wake = match result {
                Ok(()) => self.wake(),
                Err(Ended) => self.begin_anew(),
            };
            in_a_row = if wake == self.now + SHORTEST { in_a_row + 1 } else { 0 };
            assert!(in_a_row < 3, "{:?}: it wakes again and again at {}", self.setting, self.now);
            // A wake may come late, and in the middle of a second.
            let late = if self.random.bool() { 0 } else { self.random.i64(0..900) };
            let mut wake = wake + SignedDuration::from_millis(late);
            if self.setting.has_restarts && wake >= next_end {
                wake = next_end.max(self.now);
                self.pass_time_until(wake);
                match self.random.bool() {
                    // At once, or in the midst of the next pass that writes.
                    true => wake = self.begin_anew(),
                    false => self.ends_after = Some(self.random.u32(0..5)),
                }
                next_end = self.time_of_next_end();
            }
            self.pass_time_until(wake);
        }
        self
    }

    fn time_of_next_end(&mut self) -> Timestamp {
        self.now + SignedDuration::from_secs(self.random.i64(0..=4 * 3600))
    }

    /// Another process goes on; when.
    fn begin_anew(&mut self) -> Timestamp {
        let away = SignedDuration::from_millis(self.random.i64(1..20_000));
        self.memory = Memory::default();
        self.ends_after = None;
        self.started = self.now + away;
        self.started
    }

    fn pass_time_until(&mut self, time: Timestamp) {
        if let Some(held) = &self.held {
            assert!(held.expires_at > time, "{:?}: {} is delivered and expired at {time}", self.setting, held.revision);
        }
        self.now = time;
    }

    fn observe(&self) -> Observed {
        Observed {
            links: None,
            is_hurried: false,
            status: self.status.clone(),
            source: present("s", "1"),
            authority: None,
            source_key: mapper::source(&self.object, "regcred-system"),
            targets: one(&self.connection, self.target.clone()),
            ledger: self.ledger.clone(),
            memory: self.memory.clone(),
            requests: Requests::default(),
            object: Arc::clone(&self.object),
        }
    }

    fn pass(&mut self) -> Result<(), Ended> {
        self.book.ledger = self.stored.clone();
        let mut observed = self.observe();
        let due = due(&self.connection, &observed, GRACE, self.started, self.now);
        let outcome = match due {
            Due::Nothing | Due::Revoke => {
                if pausing_trouble(&observed, self.now).is_none() {
                    self.memory.attempt = None;
                }
                Outcome::nothing_due(&self.connection, &observed, self.now)
            }
            Due::Keep => {
                let trouble = pausing_trouble(&observed, self.now).unwrap();
                self.fall_back(&mut observed, trouble, None)?
            }
            Due::Deliver | Due::Withdraw | Due::Test(_) | Due::Renew(_) => self.renew(&mut observed, due)?,
        };
        self.publish(&mut observed, &outcome)?;
        self.revoke(&mut observed, &outcome.tally.delivery)?;
        let current = self.book.ledger.current.as_ref().filter(|current| current.proven);
        let is_held = |current: &Entry| self.held.as_ref().is_some_and(|held| held.revision == current.revision);
        assert!(current.is_none_or(is_held), "{:?}: a proven credential is kept back at {}", self.setting, self.now);
        Ok(())
    }

    fn renew(&mut self, observed: &mut Observed, due: Due) -> Result<Outcome, Ended> {
        self.looked(observed);
        for _ in 0..super::MAX_STEPS {
            match want(&self.connection, &self.book.ledger, (due, None), None, self.started, self.now) {
                Want::Issue if self.provider.is_on(self.now) => {
                    let problem = Problem::new(Reason::Unreachable, "the API is away");
                    self.pause(observed, &problem);
                    return self.fall_back(observed, problem, None);
                }
                Want::Issue => self.mint(observed),
                Want::Candidate => return self.candidate(observed),
                Want::Current if self.book.ledger.candidate.is_some() => {
                    self.book.ledger.reject(self.now);
                    self.save(observed)?;
                }
                Want::Refusal => panic!("{:?}: nothing is refused for good", self.setting),
                Want::Current => return self.current(observed, due),
            }
        }
        panic!("{:?}: a pass has no end at {}", self.setting, self.now);
    }

    fn mint(&mut self, observed: &mut Observed) {
        let issued_at = self.now + SignedDuration::from_millis(self.random.i64(0..900));
        let revision = revision::new(observed.uid(), issued_at);
        let life = SignedDuration::from_mins(self.setting.life);
        let new = entry(&self.connection, &revision, 0, 0);
        let new = Entry { issued_at, expires_at: issued_at + life, config_key: None, proven: false, ..new };
        let known_from =
            issued_at + SignedDuration::from_secs(if self.random.u8(0..4) > 0 { 0 } else { self.random.i64(0..50) });
        let known = Known { expires_at: new.expires_at, known_from, replaced_at: None };
        assert!(self.known.insert(revision, known).is_none(), "a revision is used twice");
        self.minted += 1;
        self.book.ledger.issued(new, None, self.now);
        // The one window in which what was issued may be lost: nothing ends in it here.
        self.recorded(observed);
    }

    /// What the registry says of a credential now.
    fn ask(&self, entry: &Entry) -> Result<LastTest, Problem> {
        if self.registry.is_on(self.now) {
            return Err(Problem::new(Reason::Unreachable, "the registry is away"));
        }
        if self.known.get(&entry.revision).is_none_or(|known| known.known_from > self.now) {
            assert!(self.now.duration_since(entry.issued_at) < PATIENCE, "{:?}: refused at {}", self.setting, self.now);
            let problem = Problem::new(Reason::RegistryNotReady, "not yet");
            return Err(Problem { retry_after: Some(std::time::Duration::from_secs(30)), ..problem });
        }
        Ok(LastTest {
            time: Time(whole_seconds(self.now)),
            verdict: Reason::LoginProven,
            refused_since: None,
            repositories: vec![],
            control: None,
        })
    }

    fn candidate(&mut self, observed: &mut Observed) -> Result<Outcome, Ended> {
        let candidate = self.book.ledger.candidate.clone().unwrap();
        let problem = match self.ask(&candidate) {
            Ok(test) => return self.promote(observed, true, Some(test)),
            Err(problem) => problem,
        };
        self.pause(observed, &problem);
        let next = self.memory.attempt.as_ref().unwrap().not_before + LONGEST_PASS;
        if expires_at(&observed.status).is_some_and(|end| end <= next) {
            let promoted = self.promote(observed, false, None)?;
            self.pause(observed, &problem);
            return Ok(Outcome { problem: Some(problem), ..promoted });
        }
        self.fall_back(observed, problem, None)
    }

    fn promote(&mut self, observed: &mut Observed, proven: bool, test: Option<LastTest>) -> Result<Outcome, Ended> {
        let key = entry(&self.connection, "", 0, 0).config_key;
        self.book.ledger.forget_expired(self.now);
        if let Some(candidate) = &mut self.book.ledger.candidate {
            (candidate.proven, candidate.config_key) = (proven, key);
        }
        let current = self.book.ledger.current.as_ref().map(|current| current.revision.as_str());
        let told = observed.status.credential.as_ref().map(|credential| credential.revision.as_str());
        let since = delivered_since(&observed.status).filter(|_| told == current);
        self.book.ledger.promote(since, self.now);
        self.save(observed)?;
        let current = self.book.ledger.current.clone().unwrap();
        self.deliver(observed, &current, test)
    }

    fn current(&mut self, observed: &mut Observed, due: Due) -> Result<Outcome, Ended> {
        let current = self.book.ledger.current.clone().unwrap();
        let must_ask = matches!(due, Due::Test(Cause::TimePassed | Cause::NoVerdict | Cause::Requested));
        let delivered = observed.status.credential.as_ref().map(|credential| &credential.revision);
        let is_recorded = observed.status.last_test.is_some() && delivered == Some(&current.revision);
        let test = match must_ask || !is_recorded {
            true => self.ask(&current).map(Some),
            false => Ok(None),
        };
        match test {
            Ok(test) => {
                if !current.proven && test.is_some() {
                    self.book.ledger.current.as_mut().unwrap().proven = true;
                    self.save(observed)?;
                }
                let problem = (self.book.ledger.is_full() && due == Due::Renew(Cause::TimePassed))
                    .then(|| Problem::new(Reason::UpstreamError, "the ledger is full"));
                let kept = self.deliver(observed, &current, test)?;
                if let Some(problem) = &problem {
                    self.pause(observed, problem);
                }
                Ok(Outcome { problem, ..kept })
            }
            Err(problem) => {
                let kept = self.deliver(observed, &current, None)?;
                self.pause(observed, &problem);
                Ok(Outcome { problem: Some(problem), ..kept })
            }
        }
    }

    fn fall_back(
        &mut self,
        observed: &mut Observed,
        problem: Problem,
        test: Option<LastTest>,
    ) -> Result<Outcome, Ended> {
        let tally = tally(&self.connection, observed, observed.status.credential.as_ref(), self.now);
        let is_current = tally.delivery == Delivery::Current;
        let outcome = Outcome { test, ..Outcome::unchanged(Some(problem), tally) };
        let current = self.book.ledger.current.clone().filter(|current| current.expires_at > self.now);
        let Some(current) = current.filter(|_| !is_current) else { return Ok(outcome) };
        let attempt = self.memory.attempt.clone();
        let kept = self.deliver(observed, &current, None)?;
        let kept_in_place = |attempt: Box<Attempt>| Attempt { basis: observed.basis(), keeps: true, ..*attempt };
        self.memory.attempt = attempt.map(|attempt| Box::new(kept_in_place(attempt)));
        Ok(Outcome { credential: kept.credential, tally: kept.tally, ..outcome })
    }

    fn deliver(&mut self, observed: &mut Observed, current: &Entry, test: Option<LastTest>) -> Result<Outcome, Ended> {
        let credential = issued(current);
        let (kind, name) = ("Secret".into(), "login".into());
        let mut outcome = Outcome {
            test,
            judged: vec![ObservedInput { kind, name, uid: "s".into(), resource_version: "1".into() }],
            credential: Some(credential.clone()),
            ..Outcome::unchanged(None, tally(&self.connection, observed, Some(&credential), self.now))
        };
        if observed.status.credential.as_ref() != Some(&credential) {
            self.publish(observed, &outcome)?;
        }
        self.memory.attempt = None;
        if outcome.tally.delivery != Delivery::Current {
            self.write()?;
            let before = self.held.replace(current.clone()).filter(|before| before.revision != current.revision);
            if let Some(known) = before.and_then(|before| self.known.get_mut(&before.revision)) {
                known.replaced_at = Some(self.now);
            }
            self.target = holding(&self.connection, &credential);
            observed.targets.learn("shop", self.target.clone());
        }
        outcome.tally = tally(&self.connection, observed, Some(&credential), self.now);
        Ok(outcome)
    }

    fn publish(&mut self, observed: &mut Observed, outcome: &Outcome) -> Result<(), Ended> {
        let status = report::status(observed, Some(&self.connection), outcome, self.now);
        if status != self.status {
            self.write()?;
            self.status = status.clone();
            observed.status = status;
        }
        Ok(())
    }

    fn revoke(&mut self, observed: &mut Observed, delivery: &Delivery) -> Result<(), Ended> {
        let is_delivered = matches!(delivery, Delivery::Current | Delivery::Impossible(_));
        let rests = self.memory.revocation.as_ref().is_some_and(|last| self.now < last.not_before);
        let is_due = revocation(&observed.ledger, &observed.status, GRACE).is_some_and(|time| self.now >= time);
        if rests || !is_due {
            return Ok(());
        }
        let since = delivered_since(&observed.status);
        let before = self.book.ledger.retired.len();
        self.book.ledger.forget_expired(self.now);
        let revocable = self.book.ledger.revocable();
        let over: Vec<Retired> = revocable
            .filter(|retired| (is_delivered || retired.undelivered) && self.now >= retired.end(since, GRACE))
            .cloned()
            .collect();
        let is_away = self.provider.is_on(self.now) && !over.is_empty();
        if is_away {
            let count = self.memory.revocation.as_ref().map_or(0, |last| last.count + 1);
            let problem = Problem::new(Reason::Unreachable, "the API is away");
            let pause = self.pause_for(&problem, count);
            self.memory.revocation =
                Some(Revocation { count, not_before: self.now + pause, since: self.now, is_told: false });
        } else {
            self.memory.revocation = None;
            for Retired { entry, undelivered, .. } in over {
                self.revoke_one(&entry, undelivered);
            }
        }
        if self.book.ledger.retired.len() != before {
            self.save(observed)?;
        }
        self.looked(observed);
        let is_due = revocation(&observed.ledger, &observed.status, GRACE).is_some_and(|time| self.now >= time);
        if is_due && !is_away {
            let next = self.book.ledger.revocable().map(|retired| retired.end(since, GRACE)).min().unwrap();
            let not_before = next.max(self.now + SignedDuration::from_secs(1));
            self.memory.revocation = Some(Revocation { count: 0, not_before, since: self.now, is_told: false });
        }
        Ok(())
    }

    fn revoke_one(&mut self, entry: &Entry, undelivered: bool) {
        self.book.ledger.ended(&entry.revision);
        // It may have been revoked before, if the operator ended before it was written down.
        let Some(known) = self.known.remove(&entry.revision) else { return };
        self.revoked += 1;
        let is_held = self.held.as_ref().is_some_and(|held| held.revision == entry.revision);
        assert!(!is_held, "{:?}: what is delivered was revoked at {}", self.setting, self.now);
        let is_after_grace = known.replaced_at.is_some_and(|time| self.now.duration_since(time) >= GRACE);
        let never = known.replaced_at.is_none() && undelivered;
        let Known { replaced_at, .. } = known;
        assert!(is_after_grace || never, "{:?}: {replaced_at:?} was revoked at {}", self.setting, self.now);
    }

    /// The pause after a pass that came to nothing (`Context::failed`).
    fn pause(&mut self, observed: &Observed, problem: &Problem) {
        let count = observed.memory.attempt.as_ref().map_or(0, |attempt| attempt.count + 1);
        let pause = self.pause_for(problem, count);
        let (since, not_before) = (self.now, self.now + pause);
        let (basis, trouble) = (observed.basis(), problem.clone());
        let not_before = match problem.retry_after {
            None => pressed(not_before, &observed.status, self.now),
            Some(_) => not_before,
        };
        self.memory.attempt =
            Some(Box::new(Attempt { count, since, not_before, basis, trouble, question: None, keeps: false }));
    }

    fn pause_for(&mut self, problem: &Problem, count: u32) -> SignedDuration {
        SignedDuration::try_from(retry(problem, count, self.random.f64()).unwrap()).unwrap()
    }

    fn looked(&mut self, observed: &mut Observed) {
        observed.ledger = self.ledger.clone();
        let sighting = observed.ledger.sighting();
        observed.memory.ledger = Some(sighting.clone());
        self.memory.ledger = Some(sighting);
    }

    /// Ends the operator here if it is to end.
    fn write(&mut self) -> Result<(), Ended> {
        match &mut self.ends_after {
            Some(0) => Err(Ended),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn save(&mut self, observed: &mut Observed) -> Result<(), Ended> {
        self.write()?;
        self.recorded(observed);
        Ok(())
    }

    fn recorded(&mut self, observed: &mut Observed) {
        self.writes += 1;
        self.stored = self.book.ledger.clone();
        self.ledger = self.book.written(&self.writes.to_string(), GRACE);
        self.looked(observed);
    }

    /// When the operator looks again by itself (`wake::next_wake`).
    fn wake(&self) -> Timestamp {
        let Self { status, now, started, .. } = self;
        let test = match &self.memory.attempt {
            Some(attempt) => Some(attempt.not_before),
            None => next(&self.connection, status, *started, *now),
        };
        let expires = expires_at(status).filter(|time| time > now);
        let rest = self.memory.revocation.as_ref().map(|last| last.not_before);
        let revokes = revocation(&self.ledger, status, GRACE).map(|time| rest.map_or(time, |rest| rest.max(time)));
        let first = test.into_iter().chain(expires).chain(revokes).min().unwrap_or(Timestamp::MAX);
        first.clamp(*now + SHORTEST, *now + DAY)
    }

    /// How many credentials still work that nobody should use any more.
    fn left_over(&self) -> usize {
        let current = self.held.as_ref().map(|held| &held.revision);
        let works = |known: &Known| known.expires_at > self.now;
        self.known.iter().filter(|(revision, known)| works(known) && Some(*revision) != current).count()
    }
}

const POLICIES: [RenewalPolicy; 2] = [RenewalPolicy::OnInterval, RenewalPolicy::NearExpiry];

/// Simulates both policies with these intervals and lives in minutes, for so many days.
fn simulate(
    rows: &[(i64, i64, i64)],
    has_outages: bool,
    has_restarts: bool,
    seeds: std::ops::Range<u64>,
) -> Vec<World> {
    let rows = POLICIES.into_iter().flat_map(|policy| rows.iter().map(move |row| (policy, *row)));
    let settings = rows.flat_map(|(policy, (interval, life, days))| {
        seeds.clone().map(move |seed| Setting { policy, interval, life, days, has_outages, has_restarts, seed })
    });
    settings.map(|setting| World::new(setting).run()).collect()
}

impl World {
    /// How many credentials the policy asks for, and how often the registry is asked, if nothing goes wrong.
    fn expected(&self) -> (usize, usize) {
        let Setting { policy, interval, life, days, .. } = self.setting;
        let minutes = days * 24 * 60;
        let every = match policy {
            RenewalPolicy::OnInterval => interval,
            RenewalPolicy::NearExpiry => life / 2,
        };
        (usize::try_from(minutes / every).unwrap(), usize::try_from(minutes / interval).unwrap())
    }

    fn outages(&self) -> usize {
        self.provider.0.len() + self.registry.0.len()
    }

    fn check_mints(&self) {
        let ((mints, _), minted) = (self.expected(), self.minted);
        match self.outages() {
            // The first one, and what seconds add up to.
            0 => assert!(minted.abs_diff(mints) <= 2, "{:?}: {minted} instead of {mints}", self.setting),
            outages => assert!(minted <= mints + outages + 2, "{:?}: {minted}, {outages} outages", self.setting),
        }
    }

    fn check_passes(&self) {
        let (mints, tests) = self.expected();
        let days = usize::try_from(self.setting.days).unwrap();
        // A revocation and a look or two for each; two for each end of the operator; in an outage one every few minutes.
        let ends = if self.setting.has_restarts { 40 * days } else { 0 };
        let tries = if self.outages() > 0 { 500 * days } else { 0 };
        let most = 3 * (mints + tests) + ends + tries + 20;
        assert!(self.passes <= most, "{:?}: {} passes", self.setting, self.passes);
    }

    fn check_revocations(&self) {
        let most = if self.outages() > 0 { 4 } else { 1 };
        let left = self.left_over();
        assert!(left <= most, "{:?}: {left} are left over, {} were revoked", self.setting, self.revoked);
    }
}

#[test]
fn without_outages_each_interval_or_half_life_costs_one_credential_and_the_replaced_ones_end() {
    let rows = [(30, 90, 3), (30, 60, 2), (240, 720, 10), (1440, 4320, 30), (1440, 43_200, 30)];
    for world in simulate(&rows, false, false, 0..1) {
        world.check_mints();
        world.check_passes();
        world.check_revocations();
    }
}

#[test]
fn ends_of_the_operator_at_any_moment_change_nothing_and_cost_no_credential() {
    let rows = [(30, 90, 2), (30, 60, 1), (240, 720, 5), (1440, 4320, 30)];
    for world in simulate(&rows, false, true, 0..1) {
        world.check_mints();
        world.check_passes();
        world.check_revocations();
    }
}

#[test]
fn outages_of_a_third_of_the_life_leave_nobody_with_an_expired_credential() {
    let rows = [(5, 60, 1), (30, 90, 2), (30, 60, 1), (240, 720, 3), (1440, 2880, 8)];
    for world in simulate(&rows, true, false, 0..1) {
        world.check_mints();
        world.check_passes();
        if world.setting.interval > 5 {
            world.check_revocations();
        }
    }
}

#[test]
fn nor_do_outages_while_the_operator_ends_again_and_again() {
    let rows = [(30, 90, 2), (30, 60, 1), (240, 480, 3), (1440, 4320, 30)];
    for world in simulate(&rows, true, true, 7..8) {
        world.check_mints();
        world.check_passes();
        world.check_revocations();
    }
}

#[test]
#[ignore = "takes minutes: make soak"]
fn thirty_days_of_everything() {
    let lives = [
        (5, 60),
        (30, 90),
        (30, 60),
        (30, 43_200),
        (240, 720),
        (240, 480),
        (240, 43_200),
        (1440, 4320),
        (1440, 2880),
        (1440, 43_200),
    ];
    let rows = lives.map(|(interval, life)| (interval, life, 30));
    for (outages, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        for world in simulate(&rows, outages, restarts, 0..4) {
            world.check_mints();
            world.check_passes();
            if world.setting.interval > 5 {
                world.check_revocations();
            }
        }
    }
}

#[test]
fn what_is_renewed_more_often_than_the_grace_lasts_is_revoked_all_the_same() {
    for world in simulate(&[(5, 60, 1), (5, 43_200, 1)], false, false, 0..1) {
        let left = world.left_over();
        assert!(left <= 4, "{:?}: {left} are left over, {} were revoked", world.setting, world.revoked);
        world.check_mints();
    }
}

#[test]
fn the_shortest_life_survives_an_outage_of_a_third_of_it() {
    simulate(&[(5, 10, 1)], true, false, 0..4);
}
