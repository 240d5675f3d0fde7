//! Records every request a kube client sends, so that a test can say how many there were and of what kind.
//!
//! A `tower` layer; it changes nothing. Retries inside the client would hide below it: build the client as
//! `ControlPlane` does, without them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

use crate::request::Request;

/// One request that was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// What it was about.
    pub request: Request,
    /// Path and query as sent.
    pub uri: String,
    /// The answer's status; `None` while there is no answer, and for ever if the connection failed.
    pub status: Option<u16>,
}

impl Call {
    /// Whether verb, resource and subresource are these; an empty subresource means the object itself.
    pub fn is(&self, verb: &str, resource: &str, subresource: &str) -> bool {
        let Request { verb: v, resource: r, subresource: s, .. } = &self.request;
        *v == verb && r == resource && s == subresource
    }

    /// Whether it belongs to the hum of an idle operator: an open watch, or its Lease.
    pub fn is_hum(&self) -> bool {
        self.request.verb == "watch" || self.request.resource == "leases"
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.request.verb, self.uri)?;
        match self.status {
            Some(status) => write!(f, " -> {status}"),
            None => write!(f, " -> no answer"),
        }
    }
}

/// The record of one client, cheap to clone; all clones share it. It is also the layer that fills it.
#[derive(Clone, Debug)]
pub struct Calls {
    record: Arc<Mutex<Record>>,
    /// How many calls there ever were; wakes who waits for quiet.
    total: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Record {
    calls: Vec<Call>,
    /// How many calls `clear` has dropped, so that a late answer still finds its call, or that it is gone.
    dropped: usize,
}

impl Calls {
    /// An empty record.
    pub fn new() -> Self {
        Self { record: Arc::default(), total: watch::Sender::new(0) }
    }

    /// Every call since the last `clear`, in the order in which they were sent.
    pub fn all(&self) -> Vec<Call> {
        self.record().calls.clone()
    }

    /// How many calls are as `wanted` says.
    pub fn count(&self, wanted: impl Fn(&Call) -> bool) -> usize {
        self.record().calls.iter().filter(|call| wanted(call)).count()
    }

    /// The calls that asked for a change, Lease and events included.
    pub fn writes(&self) -> Vec<Call> {
        self.record().calls.iter().filter(|call| call.request.is_write()).cloned().collect()
    }

    /// Forgets all calls so far.
    pub fn clear(&self) {
        let mut record = self.record();
        record.dropped += record.calls.len();
        record.calls.clear();
    }

    /// Waits that long in real time. Succeeds if nothing is sent meanwhile but watches and Lease traffic.
    ///
    /// # Errors
    /// The calls that broke the silence, as soon as there is one.
    pub async fn quiet_for(&self, duration: Duration) -> Result<(), Vec<Call>> {
        let mut total = self.total.subscribe();
        let first = *total.borrow_and_update();
        let deadline = Instant::now() + duration;
        loop {
            let loud: Vec<Call> = self.since(first).into_iter().filter(|call| !call.is_hum()).collect();
            if !loud.is_empty() {
                return Err(loud);
            }
            // The sender lives in self, so the only ends are a new call and the deadline.
            if timeout_at(deadline, total.changed()).await.is_err() {
                return Ok(());
            }
        }
    }

    fn since(&self, first: usize) -> Vec<Call> {
        let record = self.record();
        record.calls.iter().skip(first.saturating_sub(record.dropped)).cloned().collect()
    }

    fn sent(&self, call: Call) -> usize {
        let mut record = self.record();
        record.calls.push(call);
        let total = record.dropped + record.calls.len();
        drop(record);
        self.total.send_replace(total);
        total - 1
    }

    fn answered(&self, index: usize, status: u16) {
        let mut record = self.record();
        let dropped = record.dropped;
        if let Some(call) = index.checked_sub(dropped).and_then(|index| record.calls.get_mut(index)) {
            call.status = Some(status);
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for Calls {
    type Service = Recording<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Recording { inner, calls: self.clone() }
    }
}

/// The service that [`Calls`] wraps around another.
#[derive(Clone, Debug)]
pub struct Recording<S> {
    inner: S,
    calls: Calls,
}

impl<S, B, R> Service<http::Request<B>> for Recording<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let about = Request::parse(request.method(), request.uri());
        let index = self.calls.sent(Call { request: about, uri: request.uri().to_string(), status: None });
        let calls = self.calls.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            calls.answered(index, answer.status().as_u16());
            Ok(answer)
        })
    }
}
