//! Seventh step: carries out a plan. IO; decides nothing and builds no object.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::Status,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    api_failure::ApiFailure,
    pace::{Pace, SLOW},
    plan::{PlannedWrite, Write},
    secret_meta::{ObjectKey, SecretMeta},
    sighting::SecretState,
};
use crate::{
    api::{Reason, names::FIELD_MANAGER},
    metrics::{Metrics, WriteOp, WriteResult},
    problem::{Problem, field},
};

/// So long one plan is carried out before there is another one, in which what is missing by then comes before what is outdated.
const SLICE: Duration = Duration::from_secs(1);

/// No slice is cut shorter for news: planning anew takes time of its own.
const SHORTEST: Duration = Duration::from_millis(40);

/// How often it is looked for news while there is nothing else to do than to wait for answers.
const LOOK: Duration = Duration::from_millis(100);

/// How many writes of one connection are under way at the same time, besides as many stragglers.
const CONCURRENCY: usize = 32;

/// From this many answers on that are no decision, it is not single namespaces that have trouble.
const MANY: usize = CONCURRENCY;

/// By then the API server has answered: the longest that it lets a webhook keep it waiting is 30 seconds.
pub const ANSWER: Duration = Duration::from_secs(32);

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

/// A write that the API server decided against.
pub struct Denied {
    /// The namespace of the Secret.
    pub namespace: Arc<str>,
    /// What was known of the Secret.
    pub known: SecretState,
    /// The server's words. They may quote the object, password and all.
    pub words: String,
    /// What to do, and in which field, as far as that is known.
    pub problem: Problem,
    /// Set if it is worth trying again as soon as after a problem of this reason.
    pub pause_like: Option<Reason>,
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

/// What one write came to.
enum Done {
    Written(SecretState),
    Surprised(SecretState),
    Denied(Denied),
    /// Its turn did not come in time.
    TooLate,
}

/// A write that came to nothing, and not by a decision about it.
enum Failed {
    /// The API server answered, as it may answer in one namespace alone, where a webhook is out of order; or it did not in time.
    Here(Denied, ApiFailure),
    /// It did not answer.
    Everywhere(ApiFailure),
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self::Everywhere(error.into())
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

/// Writes, and does not wait for ever.
async fn answered(client: &Client, metrics: &Metrics, planned: PlannedWrite) -> Result<Done, Failed> {
    let (namespace, known, key) = (Arc::clone(&planned.namespace), planned.known.clone(), planned.key.clone());
    let op = op(&planned.write);
    match timeout(ANSWER, write(client, metrics, planned)).await {
        Ok(done) => done,
        Err(_) => {
            metrics.target_write(op, WriteResult::Failed);
            let failure = ApiFailure::silence(ANSWER);
            let words = failure.to_string();
            let pause_like = Some(Reason::UpstreamError);
            Err(Failed::Here(Denied { namespace, known, words, problem: denied(&key), pause_like }, failure))
        }
    }
}

async fn write(client: &Client, metrics: &Metrics, planned: PlannedWrite) -> Result<Done, Failed> {
    let PlannedWrite { namespace, key, known, write } = planned;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let op = op(&write);
    let result = match write {
        Write::Create(secret) => {
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            secrets.create(&parameters, &secret).await
        }
        Write::Replace(secret) => {
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            secrets.replace(&key.name, &parameters, &secret).await
        }
        Write::Update(patch) => {
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
            secrets.patch(&key.name, &parameters, &Patch::<Secret>::Json(patch)).await
        }
    };
    let status = match result {
        Ok(secret) => {
            metrics.target_write(op, WriteResult::Written);
            // This very resourceVersion is ours, whoever else owns a field of the same value.
            let meta = SecretMeta { data_trusted: true, ..SecretMeta::from_secret(&secret) };
            return Ok(Done::Written(SecretState::Present(meta.into())));
        }
        Err(kube::Error::Api(status)) => status,
        Err(error) => {
            metrics.target_write(op, WriteResult::Failed);
            return Err(error.into());
        }
    };
    if let Some(problem) = refusal(&key, &status) {
        metrics.target_write(op, WriteResult::Denied);
        // A 500 is a webhook that could not be asked; it may be back any moment.
        let pause_like = (status.code == 500).then_some(Reason::UpstreamError);
        return Ok(Done::Denied(Denied { namespace, known, words: status.message, problem, pause_like }));
    }
    if !is_surprise(&status) {
        metrics.target_write(op, WriteResult::Failed);
        let (problem, words) = (denied(&key), status.message.clone());
        let failure = ApiFailure::from(kube::Error::Api(status));
        let pause_like = Some(Reason::UpstreamError);
        return Err(Failed::Here(Denied { namespace, known, words, problem, pause_like }, failure));
    }
    let found = match secrets.get_opt(&key.name).await {
        Ok(Some(secret)) => SecretState::Present(SecretMeta::from_secret(&secret).into()),
        Ok(None) => SecretState::Absent,
        Err(error) => {
            metrics.target_write(op, WriteResult::Failed);
            let kube::Error::Api(status) = &error else { return Err(error.into()) };
            let (problem, words) = (denied(&key), status.message.clone());
            let pause_like = Some(Reason::UpstreamError);
            return Err(Failed::Here(Denied { namespace, known, words, problem, pause_like }, error.into()));
        }
    };
    // The namespace may be gone, which the watch will show.
    let is_decision = status.is_invalid() || status.is_not_found();
    // An "invalid" that nothing in the cluster explains is a decision, as policies make it.
    if is_decision && found.is_no_news_after(&known) {
        metrics.target_write(op, WriteResult::Denied);
        let problem = denied(&key);
        return Ok(Done::Denied(Denied { namespace, known, words: status.message, problem, pause_like: None }));
    }
    metrics.target_write(op, WriteResult::Conflict);
    Ok(Done::Surprised(found))
}

fn op(write: &Write) -> WriteOp {
    match write {
        Write::Create(_) => WriteOp::Create,
        Write::Replace(_) | Write::Update(_) => WriteOp::Update,
    }
}

/// The name is taken, the Secret is gone, newer than we know, or not what we think: worth a look.
fn is_surprise(status: &Status) -> bool {
    status.is_already_exists() || status.is_conflict() || status.is_not_found() || status.is_invalid()
}

/// What the API server decided against a write, if its answer is a decision.
fn refusal(key: &ObjectKey, status: &Status) -> Option<Problem> {
    match status.code {
        // Not a decision about the write: who we are, that it is gone, newer, odd, or that we are too fast.
        401 | 404 | 409 | 429 => None,
        422 => invalid_marks(key, status),
        400..=500 => Some(denied(key)),
        _ => None,
    }
}

/// The problem of labels or annotations that the API server does not accept.
fn invalid_marks(key: &ObjectKey, status: &Status) -> Option<Problem> {
    let mut causes = status.details.iter().flat_map(|details| &details.causes).filter(|_| status.is_invalid());
    let field = causes.find_map(|cause| match cause.field.as_str() {
        "metadata.labels" => Some(field::SECRET_LABELS),
        "metadata.annotations" => Some(field::SECRET_ANNOTATIONS),
        _ => None,
    })?;
    Some(Problem::new(Reason::InvalidSpec, format!("the API server does not accept {field} on Secret {key}")).at(field))
}

fn denied(key: &ObjectKey) -> Problem {
    Problem::new(Reason::Forbidden, format!("the API server refused to let the operator write Secret {key}"))
        .at(field::SECRET_NAME)
        .hint(Reason::Forbidden.fix())
}
