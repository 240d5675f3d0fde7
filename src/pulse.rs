//! Whether the process lives: its run loop turns, passes come to their end, and its watches are opened again and again.
//!
//! Only what a new start would mend counts. An API server that is away does not: whoever asks it again and again lives. A watch of
//! which nobody hears may be a quiet one, but the API server ends it after minutes, and then it is opened anew; one that is not is
//! dead. So what is looked at is when each was opened last: by a layer of the client, which sees all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use http::{Method, Request};
use tokio::time::Instant;
use tower::{Layer, Service};

/// How often the run loop says that it turns.
pub const BEAT: Duration = Duration::from_secs(5);

/// For how long it may say nothing: longer than a machine that is short of everything holds it up.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// For how long no pass may come to its end while there are some: each has a limit of a fraction of that.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(5 * 60);

/// For how long a watch may be open: kube asks for five minutes at most, and some are asked for again after as long a pause.
const LONGEST_WATCH: Duration = Duration::from_secs(12 * 60);

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    beat: Instant,
    /// How many passes are going on.
    passes: usize,
    /// When one ended last, or when the first of them began.
    moved: Instant,
    /// When each watch was opened last, or listed what it is about, by its address.
    watches: BTreeMap<String, Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        let (beat, moved) = (Instant::now(), Instant::now());
        Self(Arc::new(Mutex::new(State { beat, passes: 0, moved, watches: BTreeMap::new() })))
    }
}

impl Pulse {
    /// Says that the run loop turns, for ever. To be polled by the very task that is looked at.
    pub async fn beat(&self) {
        loop {
            self.state().beat = Instant::now();
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Says that a pass goes on until the answer is dropped.
    pub fn pass(&self) -> Pass {
        let mut state = self.state();
        if state.passes == 0 {
            state.moved = Instant::now();
        }
        state.passes += 1;
        Pass(self.clone())
    }

    /// What is dead; none while everything lives.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        let silence = state.beat.elapsed();
        if silence > LONGEST_SILENCE {
            return Some(format!("the run loop has been stuck for {} s", silence.as_secs()));
        }
        let standstill = state.moved.elapsed();
        if state.passes > 0 && standstill > LONGEST_STANDSTILL {
            return Some(format!("no pass has come to its end for {} s", standstill.as_secs()));
        }
        let (what, since) = state.watches.iter().min_by_key(|(_, opened)| **opened)?;
        let open = since.elapsed();
        (open > LONGEST_WATCH).then(|| format!("the watch of {what} has been dead for {} s", open.as_secs()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that goes on.
#[derive(Debug)]
pub struct Pass(Pulse);

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.passes, state.moved) = (state.passes.saturating_sub(1), Instant::now());
    }
}

impl<S> Layer<S> for Pulse {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Watched { inner, pulse: self.clone() }
    }
}

/// A service whose watches a [`Pulse`] takes note of.
#[derive(Clone, Debug)]
pub struct Watched<S> {
    inner: S,
    pulse: Pulse,
}

impl<S, B> Service<Request<B>> for Watched<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        match asks(&request) {
            Some((what, true)) => drop(self.pulse.state().watches.insert(what, Instant::now())),
            // What cannot be listed is not watched either, and whoever tries again and again lives.
            Some((what, false)) => {
                self.pulse.state().watches.entry(what).and_modify(|opened| *opened = Instant::now());
            }
            None => {}
        }
        self.inner.call(request)
    }
}

/// What a request is about if it reads, and whether it watches that. Watches of the same kind differ in what they select.
fn asks<B>(request: &Request<B>) -> Option<(String, bool)> {
    let query: BTreeMap<_, _> = form_urlencoded(request.uri().query().unwrap_or_default());
    let is_watch = query.get("watch").is_some_and(|value| value == "true");
    let selected = query.get("fieldSelector").map(|selector| format!("?{selector}")).unwrap_or_default();
    (request.method() == Method::GET).then(|| (format!("{}{selected}", request.uri().path()), is_watch))
}

fn form_urlencoded(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn send(pulse: &Pulse, uri: &str) {
        let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(())));
        pulse.layer(inner).oneshot(Request::get(uri).body(()).unwrap()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_loop_that_turns_lives_and_one_that_is_stuck_does_not() {
        let pulse = Pulse::default();
        let turns = tokio::time::timeout(Duration::from_secs(3600), pulse.beat()).await;
        assert!(turns.is_err() && pulse.trouble().is_none());
        tokio::time::advance(LONGEST_SILENCE + BEAT * 2).await;
        assert!(pulse.trouble().unwrap().starts_with("the run loop has been stuck for "));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_moves_lives_however_long_and_one_that_stands_still_does_not() {
        let pulse = Pulse::default();
        let beating = pulse.clone();
        tokio::spawn(async move { beating.beat().await });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let stuck = pulse.pass();
        for _ in 0..20 {
            let pass = pulse.pass();
            tokio::time::sleep(LONGEST_STANDSTILL).await;
            assert_eq!(pulse.trouble(), None);
            drop(pass);
        }
        tokio::time::sleep(LONGEST_STANDSTILL + BEAT).await;
        assert_eq!(pulse.trouble().unwrap(), "no pass has come to its end for 305 s");
        drop(stuck);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(pulse.trouble(), None, "there is nothing to do");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_opened_again_lives_however_quiet_and_one_that_is_not_is_dead() {
        let pulse = Pulse::default();
        let beating = pulse.clone();
        tokio::spawn(async move { beating.beat().await });
        send(&pulse, "/api/v1/secrets?watch=true&allowWatchBookmarks=true").await;
        send(&pulse, "/api/v1/configmaps?fieldSelector=metadata.name%3Dregcred-autolink&watch=true").await;
        send(&pulse, "/api/v1/configmaps?limit=500").await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(290)).await;
            send(&pulse, "/api/v1/configmaps?fieldSelector=metadata.name%3Dregcred-autolink&watch=true").await;
            if pulse.trouble().is_some() {
                break;
            }
        }
        assert_eq!(pulse.trouble().unwrap(), "the watch of /api/v1/secrets has been dead for 870 s");
        // Whoever asks for a list, without an answer, is about to watch again.
        send(&pulse, "/api/v1/secrets?limit=500").await;
        assert_eq!(pulse.trouble(), None);
    }
}
