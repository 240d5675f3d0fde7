//! Seventh step: carries out a plan. IO; decides nothing and builds no object.

mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use tokio::time::{Instant, timeout_at};

use super::{
    api_failure::ApiFailure,
    pace::{CONCURRENCY, Pace},
    places::SLOW,
    plan::PlannedWrite,
    sighting::SecretState,
};
use crate::metrics::Metrics;
pub use write::{ANSWER, Denied};
use write::{Done, Failed, answered};

/// So long one plan is carried out before there is another one, in which what is missing by then comes before what is outdated.
const SLICE: Duration = Duration::from_secs(1);

/// No slice is cut shorter for news: planning anew takes time of its own.
const SHORTEST: Duration = Duration::from_millis(40);

/// How often it is looked for news while there is nothing else to do than to wait for answers.
const LOOK: Duration = Duration::from_millis(100);

/// From this many answers on that are no decision, it is not single namespaces that have trouble.
const MANY: usize = CONCURRENCY;

/// What a slice of writes came to. Only [`Writes::slice`] makes one.
#[derive(Default)]
pub struct Applied {
    known: Vec<(Arc<str>, SecretState)>,
    surprised: Vec<Arc<str>>,
    denied: Vec<Denied>,
    undecided: Vec<Denied>,
    is_cut: bool,
    failure: Option<ApiFailure>,
}

impl Applied {
    /// What is now known of the Secrets that were written, and of those that turned out to be other than was thought, by namespace.
    pub fn known(&self) -> impl Iterator<Item = &(Arc<str>, SecretState)> {
        self.known.iter()
    }

    /// Where something was other than was thought, so that another plan may do better.
    pub fn surprised(&self) -> &[Arc<str>] {
        &self.surprised
    }

    /// The writes the API server refused.
    pub fn denied(&self) -> &[Denied] {
        &self.denied
    }

    /// The writes that the API server gave no decision about, where too many had none for it to be about single namespaces.
    pub fn undecided(&self) -> &[Denied] {
        &self.undecided
    }

    /// True if the plan is not carried out yet, or some of it is still under way.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What ended the writes early: an answer of the API server that is no decision about a write, or none at all. Trying again
    /// may help.
    pub fn into_failure(self) -> Option<ApiFailure> {
        self.failure
    }

    fn take(&mut self, namespace: Arc<str>, done: Done) {
        match done {
            Done::Written(state) => self.known.push((namespace, state)),
            Done::Surprised(state) => {
                self.surprised.push(Arc::clone(&namespace));
                self.known.push((namespace, state));
            }
            Done::Denied(denied) => self.denied.push(denied),
            Done::TooLate => self.is_cut = true,
        }
    }
}

/// A write in a namespace, until it is known what came of it.
type UnderWay<'a> = BoxFuture<'a, (Arc<str>, Result<Done, Failed>)>;

/// Writes that are under way for a connection. They go on from one plan to the next: a namespace that keeps its write waiting, as
/// a webhook may, must not keep the others waiting.
pub struct Writes<'a> {
    client: &'a Client,
    metrics: &'a Metrics,
    pace: &'a Pace,
    under_way: FuturesUnordered<UnderWay<'a>>,
    /// The namespaces they are in, and when they were begun.
    begun: BTreeMap<Arc<str>, Instant>,
}

impl<'a> Writes<'a> {
    /// None yet.
    pub fn new(client: &'a Client, metrics: &'a Metrics, pace: &'a Pace) -> Self {
        Self { client, metrics, pace, under_way: FuturesUnordered::new(), begun: BTreeMap::new() }
    }

    /// Whether the Secret in a namespace is being written.
    pub fn are_under_way_in(&self, namespace: &str) -> bool {
        self.begun.contains_key(namespace)
    }

    /// How many have been waiting for their answer for so long that nobody should wait for them.
    pub fn stragglers(&self) -> usize {
        self.begun.values().filter(|begun| begun.elapsed() > SLOW).count()
    }

    /// Carries out the writes of a plan, as far as they fit into a slice of time; at least one, if there is room for one. News end a
    /// slice early: there may be something missing now that comes before what is outdated. What has no answer by then goes on.
    ///
    /// Where the API server gives no decision in a few namespaces among more, as `among` counts them, or in one that `has_failed`
    /// before, those rest as if it had decided against them. Otherwise no write is begun after such an answer.
    pub async fn slice(
        &mut self,
        plan: impl Iterator<Item = PlannedWrite>,
        among: usize,
        has_failed: impl Fn(&str) -> bool,
        has_news: impl Fn() -> bool,
    ) -> Applied {
        let mut applied = Applied::default();
        let started = Instant::now();
        let (mut end, shortest) = (started + SLICE, started + SHORTEST);
        let mut plan = plan.peekable();
        let mut failing = vec![];
        let mut is_any_begun = false;
        loop {
            let is_failing = applied.failure.is_some() || failing.len() >= MANY.min(among);
            if end > shortest && has_news() {
                end = shortest;
            }
            while !is_failing && self.has_room() && (!is_any_begun || Instant::now() < end) {
                let Some(planned) = plan.next() else { break };
                let latest = std::mem::replace(&mut is_any_begun, true).then_some(end);
                self.begin(planned, latest);
            }
            // Those that are under way when there is trouble may still tell what became of them.
            let until = if is_failing { started + SLICE + SLOW } else { end };
            match timeout_at(until.min(Instant::now() + LOOK), self.under_way.next()).await {
                Ok(None) => break,
                Ok(Some((namespace, done))) => {
                    self.begun.remove(&namespace);
                    match done {
                        Ok(done) => applied.take(namespace, done),
                        Err(Failed::Here(denied, _)) if among > 1 && has_failed(&namespace) => {
                            applied.denied.push(denied)
                        }
                        Err(Failed::Here(denied, failure)) => failing.push((denied, failure)),
                        Err(Failed::Everywhere(failure)) => applied.failure = Some(failure),
                    }
                }
                Err(_) if Instant::now() >= until => break,
                Err(_) => {}
            }
        }
        applied.is_cut |= plan.peek().is_some() || !self.under_way.is_empty();
        let is_of_few = failing.len() < MANY.min(among);
        for (denied, failure) in failing {
            if is_of_few {
                applied.denied.push(denied);
            } else {
                applied.undecided.push(denied);
                applied.failure = Some(failure);
            }
        }
        applied
    }

    fn has_room(&self) -> bool {
        self.under_way.len() - self.stragglers().min(CONCURRENCY) < CONCURRENCY
    }

    fn begin(&mut self, planned: PlannedWrite, latest: Option<Instant>) {
        let Self { client, metrics, pace, .. } = *self;
        let namespace = Arc::clone(&planned.namespace);
        self.begun.insert(Arc::clone(&namespace), Instant::now());
        self.under_way.push(
            async move {
                let done = pace.at_its_turn(latest, answered(client, metrics, planned)).await;
                (namespace, done.unwrap_or(Ok(Done::TooLate)))
            }
            .boxed(),
        );
    }
}
