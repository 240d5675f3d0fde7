//! How often the operator calls at one origin, whoever asks for it: a few requests at a time, none while the other side
//! wants a pause, and hardly any while it gives no answer at all. An API that counts by token is as many places as it has
//! [`Lane`]s.
//!
//! Nothing runs here while nobody asks: times are compared when a request comes, and an origin is forgotten once there is
//! nothing left to know about it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Origin;

use super::{Answer, Failure, Lane, memory::Memory};
use crate::clock::Clock;

/// How many requests may be under way to one place.
const AT_ONCE: usize = 8;

/// How many more requests may wait for their turn before newcomers are better off elsewhere.
const MAY_WAIT: usize = 8;

/// From how many places on those are looked for that can be forgotten.
const FIRST_SWEEP: usize = 64;

/// What is known of all places.
pub(super) struct Gate {
    clock: Clock,
    known: Mutex<Known>,
}

struct Known {
    places: HashMap<Key, Place>,
    /// How many places there may be before the next sweep. It moves so that a sweep costs little per new place.
    sweep: usize,
}

/// An origin, or one lane of it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: Origin,
    lane: Option<Lane>,
}

/// What is known of one.
struct Place {
    seats: Arc<Semaphore>,
    /// Requests that wait or are under way.
    present: usize,
    memory: Memory,
}

/// The right to send one request. Dropped before it is sent, it changes nothing.
pub(super) struct Turn<'a> {
    /// Given back before the visit ends, so that a place that is forgotten has nobody left. The semaphore is never
    /// closed, so there is always one.
    _seat: Option<OwnedSemaphorePermit>,
    visit: Visit<'a>,
    /// Whether this request finds out for all whether the place answers again.
    trial: bool,
    /// Something was sent.
    sent: AtomicBool,
    /// Its end was told.
    is_over: bool,
}

/// Somebody who waits for a turn or has it.
struct Visit<'a> {
    gate: &'a Gate,
    key: Key,
}

impl Gate {
    /// A gate that knows nothing yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::new(Known { places: HashMap::new(), sweep: FIRST_SWEEP }) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Failure::Held`] at once, or as soon as the turn comes, if no request may be sent to this place now.
    pub(super) async fn enter(&self, origin: Origin, lane: Option<Lane>) -> Result<Turn<'_>, Failure> {
        let (visit, seats) = self.visit(Key { origin, lane });
        visit.look(|memory, now| memory.held(now))?;
        let seat = seats.acquire_owned().await.ok();
        let trial = visit.look(|memory, now| memory.admit(now))?;
        Ok(Turn { _seat: seat, visit, trial, sent: AtomicBool::new(false), is_over: false })
    }

    /// Whether so many wait for their turn already that one more had better come back later, outside of all lanes.
    pub(super) fn is_crowded(&self, origin: &Origin) -> bool {
        let key = Key { origin: origin.clone(), lane: None };
        self.lock().places.get(&key).is_some_and(|place| place.present >= AT_ONCE + MAY_WAIT)
    }

    fn visit(&self, key: Key) -> (Visit<'_>, Arc<Semaphore>) {
        let mut known = self.lock();
        if known.places.len() >= known.sweep {
            let now = self.clock.now();
            known.places.retain(|_, place| place.present > 0 || place.memory.matters(now));
            known.sweep = (known.places.len() * 2).max(FIRST_SWEEP);
        }
        let place = known.places.entry(key.clone()).or_insert_with(|| Place {
            seats: Arc::new(Semaphore::new(AT_ONCE)),
            present: 0,
            memory: Memory::new(key.lane.is_some()),
        });
        place.present += 1;
        let seats = Arc::clone(&place.seats);
        (Visit { gate: self, key }, seats)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing here panics halfway, so what a panic elsewhere left is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit<'_> {
    fn look<T>(&self, look: impl FnOnce(&mut Memory, Timestamp) -> T) -> T {
        let now = self.gate.clock.now();
        let mut known = self.gate.lock();
        match known.places.get_mut(&self.key) {
            Some(place) => look(&mut place.memory, now),
            // Not possible while this visit lasts, and nothing would be known then.
            None => look(&mut Memory::new(self.key.lane.is_some()), now),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let now = self.gate.clock.now();
        let mut known = self.gate.lock();
        let Some(place) = known.places.get_mut(&self.key) else { return };
        place.present -= 1;
        if place.present == 0 && !place.memory.matters(now) {
            known.places.remove(&self.key);
        }
    }
}

impl Turn<'_> {
    /// The request is about to be sent. If nobody waits for its end, it counts as one that got no answer in time.
    pub(super) fn sends(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// The beginning of an answer has come. Others are held from here on if it asks for a pause.
    pub(super) fn heard(&self, status: StatusCode, headers: &HeaderMap) {
        self.visit.look(|memory, now| memory.heard(now, status, headers));
    }

    /// The request is over.
    pub(super) fn over(mut self, result: &Result<Answer, Failure>) {
        self.is_over = true;
        self.visit.look(|memory, now| memory.over(now, result, self.trial));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A fault of ours says nothing of the origin.
        if !self.is_over && self.sent.load(Ordering::Relaxed) && !std::thread::panicking() {
            self.visit.look(|memory, now| memory.over(now, &Err(Failure::TimedOut), self.trial));
        }
        if self.trial {
            self.visit.look(|memory, _| memory.trial_over());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, future::join_all};
    use url::Url;

    use super::*;
    use crate::net::{
        Body, HeldCause,
        fixture::{self, Listener, failed, http, settings},
    };

    fn gate() -> Gate {
        // Follows tokio's time, which these tests hold still.
        Gate::new(Clock::running(1))
    }

    fn origin(host: &str) -> Origin {
        format!("https://{host}/").parse::<Url>().unwrap().origin()
    }

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let pair = |&(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
        let headers = headers.iter().map(pair).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Body::new(body.as_bytes().to_vec()) }
    }

    /// One request that ends so. The same as a session does.
    async fn ends(gate: &Gate, host: &str, result: Result<Answer, Failure>) -> Result<(), Failure> {
        let turn = gate.enter(origin(host), None).await?;
        if let Ok(answer) = &result {
            turn.heard(answer.status, &answer.headers);
        }
        turn.over(&result);
        Ok(())
    }

    async fn fails(gate: &Gate, host: &str) -> Result<(), Failure> {
        ends(gate, host, Err(Failure::TimedOut)).await
    }

    async fn is_answered(gate: &Gate, host: &str) -> Result<(), Failure> {
        ends(gate, host, Ok(answer(401, &[], ""))).await
    }

    /// For how many seconds the origin is held, and why.
    async fn held(gate: &Gate, host: &str) -> Option<(f64, HeldCause)> {
        match gate.enter(origin(host), None).await.err()? {
            Failure::Held { cause, pause } => Some(((pause.as_secs_f64() * 1e3).round() / 1e3, cause)),
            other => panic!("{other:?}"),
        }
    }

    async fn wait(seconds: f64) {
        tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    }

    fn unanswered() -> HeldCause {
        HeldCause::Unanswered(Box::new(Failure::TimedOut))
    }

    #[tokio::test(start_paused = true)]
    async fn eight_go_at_once_and_the_others_wait_their_turn() {
        let gate = gate();
        let mut under_way = join_all((0..8).map(|_| gate.enter(origin("a"), None))).await;
        let mut ninth = gate.enter(origin("a"), None).boxed();
        let mut tenth = gate.enter(origin("a"), None).boxed();
        assert!(ninth.as_mut().now_or_never().is_none());
        assert!(tenth.as_mut().now_or_never().is_none());
        assert!(gate.enter(origin("b"), None).now_or_never().unwrap().is_ok(), "each origin for itself");
        // Who gives up waiting does not stand in the way of the next.
        drop(ninth);
        under_way.pop();
        assert!(tenth.now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_pause_holds_all_until_it_is_over() {
        for (answer, expected) in [
            (answer(429, &[("retry-after", "7")], ""), Some(7.0)),
            (answer(429, &[], ""), Some(30.0)),
            (answer(429, &[("retry-after", "soon")], ""), Some(30.0)),
            (answer(429, &[("ratelimit-remaining", "0;w=21600")], ""), Some(30.0)),
            (answer(429, &[("retry-after", "86400")], ""), Some(3600.0)),
            (answer(429, &[], r#"{"error":{"details":[{"retryDelay":"57s"}]}}"#), Some(57.0)),
            (answer(503, &[("retry-after", "7")], ""), Some(7.0)),
            (answer(503, &[], ""), None),
            (answer(403, &[("retry-after", "7")], ""), Some(7.0)),
            (answer(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "45")], ""), Some(45.0)),
            (answer(403, &[("x-ratelimit-remaining", "0")], ""), Some(30.0)),
            (answer(403, &[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "45")], ""), None),
            (answer(403, &[], ""), None),
            (answer(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "45")], ""), None),
            (answer(401, &[("retry-after", "7")], ""), None),
        ] {
            let gate = gate();
            let name = format!("{} {:?}", answer.status, answer.headers);
            ends(&gate, "a", Ok(answer)).await.unwrap();
            assert_eq!(held(&gate, "a").await, expected.map(|seconds| (seconds, HeldCause::Asked)), "{name}");
            assert_eq!(held(&gate, "b").await, None, "{name}");
            let Some(pause) = expected else { continue };
            wait(pause - 1.0).await;
            assert_eq!(held(&gate, "a").await, Some((1.0, HeldCause::Asked)), "{name}");
            wait(1.0).await;
            assert_eq!(held(&gate, "a").await, None, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_those_who_wait_and_is_not_shortened_by_those_under_way() {
        let gate = gate();
        let mut under_way = join_all((0..8).map(|_| gate.enter(origin("a"), None))).await;
        let mut waiting = gate.enter(origin("a"), None).boxed();
        assert!(waiting.as_mut().now_or_never().is_none());
        for seconds in ["60", "5"] {
            let answer = answer(429, &[("retry-after", seconds)], "");
            let turn = under_way.pop().unwrap().unwrap();
            turn.heard(answer.status, &answer.headers);
            turn.over(&Ok(answer));
        }
        under_way.pop().unwrap().unwrap().over(&Ok(answer(200, &[], "")));
        let Err(failure) = waiting.now_or_never().unwrap() else { panic!("it was let in") };
        assert_eq!(failure, Failure::Held { cause: HeldCause::Asked, pause: Duration::from_secs(60) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_passes_by_the_clock_it_was_given() {
        let gate = Gate::new(Clock::running(60));
        ends(&gate, "a", Ok(answer(429, &[("retry-after", "60")], ""))).await.unwrap();
        assert_eq!(held(&gate, "a").await, Some((60.0, HeldCause::Asked)));
        wait(0.5).await;
        assert_eq!(held(&gate, "a").await, Some((30.0, HeldCause::Asked)));
        wait(0.5).await;
        assert_eq!(held(&gate, "a").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_hold_an_origin_and_each_further_one_for_longer() {
        let gate = gate();
        for _ in 0..5 {
            assert_eq!(fails(&gate, "a").await, Ok(()));
        }
        for hold in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            assert_eq!(held(&gate, "a").await, Some((hold, unanswered())));
            assert_eq!(held(&gate, "b").await, None);
            wait(hold).await;
            assert_eq!(fails(&gate, "a").await, Ok(()), "one may try after {hold} s");
        }
        wait(60.0).await;
        assert_eq!(is_answered(&gate, "a").await, Ok(()));
        for _ in 0..4 {
            assert_eq!(fails(&gate, "a").await, Ok(()), "the count begins anew");
        }
        assert_eq!(held(&gate, "a").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_that_say_nobody_is_there_count() {
        use super::super::{ForbiddenAddress as A, ProxyFailure as P};
        for (failure, counts) in [
            (Failure::TimedOut, true),
            (Failure::NotResolved, true),
            (Failure::ConnectionRefused, true),
            (Failure::NotConnected, true),
            (Failure::Broken, true),
            (Failure::Proxy(P::NotReached), true),
            (Failure::Tls("the certificate has expired".into()), false),
            (Failure::TooLong, false),
            (Failure::AddressNotAllowed(A::Loopback), false),
        ] {
            let gate = gate();
            for _ in 0..5 {
                ends(&gate, "a", Err(failure.clone())).await.unwrap();
            }
            let expected = counts.then(|| (1.0, HeldCause::Unanswered(Box::new(failure))));
            assert_eq!(held(&gate, "a").await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_single_request_finds_out_whether_it_is_over() {
        let gate = gate();
        for _ in 0..5 {
            fails(&gate, "a").await.unwrap();
        }
        wait(1.0).await;
        let trial = gate.enter(origin("a"), None).await.unwrap();
        assert_eq!(held(&gate, "a").await, Some((1.0, unanswered())));
        wait(30.0).await;
        assert_eq!(held(&gate, "a").await, Some((1.0, unanswered())), "however long it takes");
        drop(trial);
        let trial = gate.enter(origin("a"), None).await.unwrap();
        assert_eq!(held(&gate, "a").await, Some((1.0, unanswered())), "who gives up leaves it to the next");
        trial.over(&Ok(answer(500, &[], "")));
        let all = join_all((0..8).map(|_| gate.enter(origin("a"), None))).await;
        assert!(all.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_waited_for_any_more_got_no_answer() {
        let gate = gate();
        for _ in 0..5 {
            drop(gate.enter(origin("a"), None).await.unwrap());
        }
        assert_eq!(held(&gate, "a").await, None, "nothing was sent");
        for _ in 0..5 {
            gate.enter(origin("a"), None).await.unwrap().sends();
        }
        assert_eq!(held(&gate, "a").await, Some((1.0, unanswered())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_before_one_origin_is_noticed() {
        let gate = gate();
        let under_way = join_all((0..8).map(|_| gate.enter(origin("a"), None))).await;
        let mut waiting: Vec<_> = (0..8).map(|_| gate.enter(origin("a"), None).boxed()).collect();
        for wait in &mut waiting[..7] {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        assert!(!gate.is_crowded(&origin("a")));
        assert!(waiting[7].as_mut().now_or_never().is_none());
        assert!(gate.is_crowded(&origin("a")) && !gate.is_crowded(&origin("b")));
        drop((under_way, waiting));
        assert!(!gate.is_crowded(&origin("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_fail_together_are_one_round() {
        let gate = gate();
        let all = join_all((0..8).map(|_| gate.enter(origin("a"), None))).await;
        for turn in all {
            turn.unwrap().over(&Err(Failure::TimedOut));
        }
        assert_eq!(held(&gate, "a").await, Some((1.0, unanswered())));
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_is_forgotten_when_nothing_is_left_to_know() {
        let gate = gate();
        let count = || gate.lock().places.len();
        is_answered(&gate, "a").await.unwrap();
        assert_eq!(count(), 0);
        drop(gate.enter(origin("a"), None).await.unwrap());
        assert_eq!(count(), 0);
        for n in 0..5_000 {
            fails(&gate, &format!("host-{n}")).await.unwrap();
            wait(1.0).await;
        }
        assert!(count() < 4 * 600, "{} of 5000 origins are remembered", count());
        wait(600.0).await;
        for n in 0..5_000 {
            is_answered(&gate, &format!("host-{n}")).await.unwrap();
        }
        assert_eq!(count(), 0);
    }

    #[test]
    fn the_sentence_is_the_same_whether_a_try_was_held_or_sent() {
        let held = |cause, seconds| Failure::Held { cause, pause: Duration::from_secs(seconds) }.to_string();
        assert_eq!(held(unanswered(), 1), Failure::TimedOut.to_string());
        assert_eq!(held(HeldCause::Asked, 1), "the host asked to be called less often");
        assert_eq!(held(HeldCause::Asked, 1), held(HeldCause::Asked, 2));
    }

    #[tokio::test]
    async fn all_sessions_of_a_process_share_it_and_nothing_is_sent_while_it_is_closed() {
        let listener = Listener::saying(fixture::answer("429 Too Many Requests", &["Retry-After: 60"])).await;
        let http = http(settings());
        let url = listener.url("/");
        let (one, other) = (fixture::session(&http, &url), fixture::session(&http, &url));
        assert_eq!(fixture::get_by(&one, &url).await.unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        match failed(fixture::get_by(&other, &url).await) {
            Failure::Held { cause, pause } => {
                assert_eq!(cause, HeldCause::Asked);
                assert!(pause <= Duration::from_secs(60));
            }
            failure => panic!("{failure:?}"),
        }
        assert_eq!(listener.connections(), 1);
    }

    #[tokio::test]
    async fn a_redirect_waits_at_the_gate_like_any_request() {
        let http = http(settings());
        let gate = Arc::clone(&http.gate);
        // Somebody else learns of a pause between the redirect and its target.
        let redirects = Listener::new(move |mut stream, asked| {
            let gate = Arc::clone(&gate);
            async move {
                let origin = format!("http://{}/", stream.local_addr().unwrap()).parse::<Url>().unwrap().origin();
                let head = fixture::head(&mut stream).await;
                asked.lock().unwrap().push(head);
                gate.enter(origin, None).await.unwrap().heard(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new());
                let text = fixture::answer("307 Temporary Redirect", &["Location: /next"]);
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await;
            }
        });
        let redirects = redirects.await;
        let url = redirects.url("/");
        let result = fixture::get_by(&fixture::session(&http, &url), &url).await;
        assert!(matches!(failed(result), Failure::Held { cause: HeldCause::Asked, .. }));
        assert_eq!(redirects.requests().len(), 1);
    }

    #[tokio::test]
    async fn waiting_for_a_turn_does_not_count_as_time_of_the_request() {
        let listener = Listener::saying(fixture::answer("200 OK", &[])).await;
        let http = fixture::hasty(settings(), Duration::from_secs(2));
        let url = listener.url("/");
        let session = fixture::session(&http, &url);
        let gate = Arc::clone(&session.gate);
        let others = join_all((0..8).map(|_| gate.enter(url.parse::<Url>().unwrap().origin(), None))).await;
        let (result, ()) = tokio::join!(fixture::get_by(&session, &url), async {
            // Longer than the request itself may take.
            tokio::time::sleep(http.timeouts.request.mul_f64(1.2)).await;
            drop(others);
        });
        assert!(result.is_ok());
    }
}
