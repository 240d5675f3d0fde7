//! The controller of connections: watches, queue, and the recipe with one file per step.

pub mod announce;
pub mod api_failure;
pub mod apply;
mod conclude;
pub mod crash;
pub mod decode;
pub mod deliver;
pub mod due;
pub mod error;
pub mod events;
#[cfg(test)]
pub(crate) mod fixture;
pub mod flight;
pub mod index;
mod keep;
mod linked;
pub mod mapper;
mod mark;
pub mod memory;
pub mod observe;
mod pace;
mod places;
pub mod plan;
pub mod policy;
pub mod publish;
pub mod reconcile;
mod record;
pub mod remove;
pub mod renew;
pub mod report;
pub mod request;
pub mod resolve;
pub mod revision;
pub mod schedule;
pub mod secret_meta;
pub mod select;
pub mod sighting;
pub mod situation;
pub mod stored;
pub mod sweep;
mod tally;
pub mod targets;
pub mod unreadable;
pub mod validate;
pub mod verify;
pub mod wake;
pub mod watch;
pub mod withdraw;

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Client,
    runtime::controller::{Action, Config, applier},
};

use tracing::Instrument;

use crate::{
    clock::Clock,
    domain::{
        credential::{Fingerprint, Fingerprints},
        reference::{ConnectionReference, Kind},
    },
    leader::Leadership,
    linking,
    metrics::Metrics,
    net::Http,
    problem::Problem,
    provider::{Binds, Io, Sources},
    pulse::Pulse,
    registry::Habits,
};
use error::Error;
use events::Events;
use flight::Flights;
use index::Index;
use mapper::Wake;
use memory::{Attempt, Memories};
use observe::Observed;
pub use pace::Pace;
use places::Places;
use reconcile::reconcile;
use stored::Stored;

/// How many connections are worked on at the same time.
const PLACES: u16 = 32;

/// How many more may wait for somebody, such as a webhook or a registry.
const STRAGGLERS: u16 = 224;

/// How long one pass may take. A request that is never answered must not hold a connection for ever; registries have
/// shorter limits of their own.
pub const PASS_LIMIT: Duration = Duration::from_secs(60);

/// What every pass works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The way to registries.
    pub http: Http,
    /// The time.
    pub clock: Clock,
    /// What the watches told.
    pub index: Index,
    /// What earlier passes left behind.
    pub memories: Memories,
    /// What was found of Secrets that might have to go.
    pub kept: sweep::Kept,
    /// When ledgers of connections that are gone are looked at.
    pub waits: renew::orphan::Waits,
    /// Compares credentials without keeping them.
    pub fingerprints: Fingerprints,
    /// Which registries check logins.
    pub habits: Habits,
    /// What tests of the same login share.
    pub flights: Flights,
    /// Counters.
    pub metrics: Metrics,
    /// Publishes events; one for all, so that repeats are aggregated.
    pub events: Events,
    /// Connections to this machine are possible: for tests and the demo.
    pub allow_loopback: bool,
    /// Whether the Secrets of a namespace have to name the host for which they are meant.
    pub binds: Binds,
    /// The operator's own namespace, where ledgers are.
    pub namespace: String,
    /// How long a replaced credential that a provider issued works on.
    pub revocation_grace: SignedDuration,
    /// How long one pass may take.
    pub pass_limit: Duration,
    /// How fast targets are written.
    pub pace: Pace,
    /// What linking shares between namespaces.
    pub linking: linking::Shared,
    /// Whether the run loop and the watches live.
    pub pulse: Pulse,
    /// Whether this process is the one to work.
    pub leadership: Leadership,
    /// When it began to.
    pub began: OnceLock<Timestamp>,
}

impl Context {
    /// Since when this process is the one to work.
    pub fn began(&self) -> Timestamp {
        self.began.get().copied().unwrap_or_else(|| self.clock.started())
    }

    /// Before anything that a fence of the API server does not see, and that nobody can take back.
    ///
    /// # Errors
    /// This process is not the one to work now.
    pub fn ensure_leading(&self) -> Result<(), Error> {
        if self.leadership.may_write() { Ok(()) } else { Err(Error::NotLeading) }
    }

    /// What a provider may use for a connection: it reads from the connection's namespace, or, for one of a cluster, from the
    /// operator's, and there only what is meant for that.
    pub fn io(&self, connection: &ConnectionReference) -> Io<'_> {
        let sources = match connection.namespace() {
            Some(namespace) => Sources::Any { namespace: namespace.to_owned(), binds: self.binds },
            None => Sources::Marked { namespace: self.namespace.clone() },
        };
        Io::new(&self.client, sources, &self.http, &self.clock)
    }

    /// Whether a registry that a connection of this kind names may be in a private network: whoever declares one of a cluster may
    /// reach what the operator can reach.
    pub fn may_reach_private(&self, kind: Kind) -> bool {
        match kind {
            Kind::Namespaced => !self.http.forbids_private(),
            Kind::Cluster => true,
        }
    }

    /// What a provider may use to end something, with access that was read in this namespace before.
    pub fn io_in(&self, namespace: &str) -> Io<'_> {
        Io::new(
            &self.client,
            Sources::Any { namespace: namespace.to_owned(), binds: Binds::IfItSays },
            &self.http,
            &self.clock,
        )
    }

    /// Remembers that a pass came to nothing: it is tried again after the pause that `cause` calls for, or at once when
    /// something changes. `trouble` is what is told until then.
    fn failed(
        &self,
        observed: &Observed,
        question: Option<Fingerprint>,
        trouble: Problem,
        cause: &Problem,
        now: Timestamp,
    ) {
        let count = observed.memory.attempt.as_ref().map_or(0, |attempt| attempt.count + 1);
        let pause = policy::retry(cause, count, fastrand::f64());
        let pause =
            pause.map_or(SignedDuration::MAX, |pause| SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX));
        let not_before = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let basis = observed.basis();
        self.memories.update(observed.uid(), |memory| {
            let attempt = Attempt { count, since: now, not_before, basis, trouble, question, keeps: false };
            memory.attempt = Some(Box::new(attempt));
        });
    }

    /// Remembers whether what was delivered before may be delivered during the pause, which goes on about what there is now.
    fn keeps(&self, observed: &Observed, keeps: bool) {
        let basis = observed.basis();
        self.memories.update(observed.uid(), |memory| {
            if let Some(attempt) = &mut memory.attempt {
                (attempt.basis, attempt.keeps) = (basis, keeps);
            }
        });
    }

    /// Drops what is kept of a connection if it is gone. A pass that was under way when it went may have left something
    /// behind, so this is asked after every pass too.
    fn forget_if_gone(&self, connection: &Stored) {
        if self.index.is_alive(connection) {
            return;
        }
        self.memories.forget(connection.meta().uid.as_deref().unwrap_or_default());
    }
}

/// Works on connections until `shutdown` completes, then lets the passes under way finish. Before it is this process' turn it only
/// takes in what there is.
pub async fn run(context: Arc<Context>, shutdown: impl Future<Output = ()> + Clone + Send + 'static) {
    let queue = held_back(Arc::clone(&context)).take_until(shutdown);
    let beside = async {
        context.leadership.begins().await;
        tokio::select! {
            () = sweep::run(Arc::clone(&context)) => {}
            () = linking::run(Arc::clone(&context)) => {}
            () = linking::support::run(Arc::clone(&context)) => {}
        }
    };
    tokio::select! {
        () = work(Arc::clone(&context), queue) => {}
        () = beside => {}
        () = context.pulse.beat() => {}
        () = watch::follow_what_is_linked(Arc::clone(&context)) => {}
    }
}

/// Whom to look at: nobody before it is this process' turn; then all that there are, and whoever changes.
fn held_back(context: Arc<Context>) -> impl Stream<Item = Wake> + Send {
    let mut wakes = watch::wakes(Arc::clone(&context)).boxed();
    let turn = async move {
        {
            let mut begins = pin!(context.leadership.begins());
            loop {
                tokio::select! {
                    biased;
                    () = &mut begins => break,
                    // The index has taken in what it is about.
                    _ = wakes.next() => {}
                }
            }
        }
        // The first to ask decides; nobody else does.
        let _ = context.began.set(context.clock.now());
        // Before the lists are complete nobody can be judged; once they are, all are woken anyway.
        let all = if context.index.is_synced() { context.index.store().state() } else { vec![] };
        let all: Vec<Wake> = all.iter().map(|connection| mapper::wake_of(&connection.reference())).collect();
        stream::iter(all).chain(wakes)
    };
    stream::once(turn).flatten()
}

async fn work(context: Arc<Context>, queue: impl Stream<Item = Wake> + Send) {
    let store = context.index.store();
    // Whoever waits for its turn to write must not be overtaken: there would be more than get one in the time of a pass.
    let stragglers = if context.pace.is_limited() { 0 } else { STRAGGLERS };
    let places = Arc::new(Places::new(PLACES.into(), stragglers.into()));
    // Whoever has no place when the queue ends is not begun with.
    let end = future::lazy({
        let places = Arc::clone(&places);
        move |_| {
            places.close();
            None
        }
    });
    let queue = queue.map(Some).chain(stream::once(end)).filter_map(future::ready);
    let pass = |object: Arc<Stored>, context: Arc<Context>| {
        let places = Arc::clone(&places);
        async move {
            let (_under_way, _pass) = (context.metrics.under_way(), context.pulse.pass());
            let Some(place) = places.take().await else { return Ok(Action::await_change()) };
            // While it waited, there may have come a newer one.
            let Some(newest) = context.index.connection(&object.reference()) else { return Ok(Action::await_change()) };
            // Many may wait: what a pass needs is taken when it begins.
            let span = tracing::error_span!("pass", connection = %newest.reference());
            place.work(Box::pin(measured(&newest, &context)).instrument(span)).await
        }
        .boxed()
    };
    applier(
        pass,
        come_back,
        Arc::clone(&context),
        store,
        queue.map(Ok::<_, std::convert::Infallible>),
        Config::default().concurrency(PLACES + stragglers),
    )
    .for_each(|result| {
        if let Err(error) = result {
            tracing::debug!(error = &error as &dyn std::error::Error, "a pass was not completed");
        }
        future::ready(())
    })
    .await;
}

/// One pass, and what is counted and remembered of it.
async fn measured(object: &Stored, context: &Arc<Context>) -> Result<Action, Error> {
    let started = tokio::time::Instant::now();
    let result = match limited(look_at(object, context), context).await {
        Err(Error::Panicked) => limited(crash::report(object, context), context).await,
        result => result,
    };
    if result.is_ok() {
        context.memories.completed(object.meta().uid.as_deref().unwrap_or_default());
    }
    context.forget_if_gone(object);
    context.metrics.reconciled(started.elapsed(), &result);
    result
}

/// One pass over an object.
async fn look_at(object: &Stored, context: &Arc<Context>) -> Result<Action, Error> {
    match object {
        Stored::Readable(connection) => reconcile(Arc::clone(connection), Arc::clone(context)).await,
        Stored::Unreadable(object) => unreadable::tell(object, context).await,
    }
}

/// A pass that neither lasts for ever nor takes others down with it.
async fn limited(pass: impl Future<Output = Result<Action, Error>>, context: &Context) -> Result<Action, Error> {
    let pass = tokio::time::timeout(context.pass_limit, crash::contained(pass));
    pass.await.unwrap_or(Err(Error::TimedOut))
}

/// The pause after a pass was cut short: full jitter, growing with every time in a row.
fn come_back(object: Arc<Stored>, error: &Error, context: Arc<Context>) -> Action {
    let mut count = 0;
    context.memories.update(object.meta().uid.as_deref().unwrap_or_default(), |memory| {
        count = memory.cut_short;
        memory.cut_short = memory.cut_short.saturating_add(1);
    });
    context.forget_if_gone(&object);
    let pause = policy::backoff(count, fastrand::f64());
    tracing::warn!(
        connection = %object.reference(),
        error = error as &dyn std::error::Error,
        pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        "a pass was cut short; it is tried again"
    );
    Action::requeue(pause.max(Duration::from_millis(50)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_may_write_may_ask_a_provider_for_what_cannot_be_taken_back() {
        let alone = fixture::nowhere();
        assert!(alone.ensure_leading().is_ok());
        let follower = Context { leadership: Leadership::following(), ..alone };
        assert!(matches!(follower.ensure_leading(), Err(Error::NotLeading)));
    }
}
