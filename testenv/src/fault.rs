//! Counts the requests on one way, and lets a chosen one meet with a fault.
//!
//! The same record serves a kube client ([`Faults::on`]) and a [`Relay`](crate::Relay) before a registry. A sender that
//! is stopped at a request is stopped for good: whatever it sends from then on is neither passed on nor answered, as if
//! its process had ended at that very moment. Its successor gets through after [`Faults::release`]. Who stops the sender,
//! and who starts the next one, is not decided here.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::json;
use tokio::sync::watch;

use crate::request::Request;

/// What a request meets with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The sender is stopped before the request is sent.
    StopBefore,
    /// The request takes effect, and the sender is stopped before it has the answer.
    StopAfter,
    /// The request is not sent; the sender sees a connection that breaks.
    NotSent,
    /// The request takes effect; the sender sees a connection that breaks instead of the answer.
    AnswerLost,
    /// The request is not sent, and there is never an answer.
    NeverAnswered,
    /// The request is not sent and is answered with this HTTP status.
    Answer(u16),
}

impl Fault {
    /// Whether the sender is stopped for good.
    pub fn stops(self) -> bool {
        match self {
            Self::StopBefore | Self::StopAfter => true,
            Self::NotSent | Self::AnswerLost | Self::NeverAnswered | Self::Answer(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopBefore => f.write_str("stopped before"),
            Self::StopAfter => f.write_str("stopped after"),
            Self::NotSent => f.write_str("not sent"),
            Self::AnswerLost => f.write_str("answer lost"),
            Self::NeverAnswered => f.write_str("never answered"),
            Self::Answer(status) => write!(f, "answered {status}"),
        }
    }
}

/// Which requests to the API server count.
pub type Counts = fn(&Request) -> bool;

/// The count on one way; see the module. Clones share it.
#[derive(Clone, Debug)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    /// The request that met with the fault, in words.
    met: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    /// The requests since the last [`Faults::arm`], in words.
    seen: Vec<String>,
    armed: Option<(usize, Fault)>,
    /// Senders of a life before this one are stopped for good.
    life: usize,
    /// Those of this life are stopped, too.
    is_stopped: bool,
}

impl Faults {
    /// Nothing counted, and no fault.
    pub fn new() -> Self {
        Self { state: Arc::default(), met: watch::Sender::new(None) }
    }

    /// Counts from zero again; the request with this number, from 1, meets with `fault`.
    pub fn arm(&self, number: usize, fault: Fault) {
        self.met.send_replace(None);
        let mut state = self.state();
        (state.seen, state.armed) = (vec![], Some((number, fault)));
    }

    /// Counts from zero again, without a fault.
    pub fn count(&self) {
        self.met.send_replace(None);
        let mut state = self.state();
        (state.seen, state.armed) = (vec![], None);
    }

    /// The requests counted so far, in words.
    pub fn seen(&self) -> Vec<String> {
        self.state().seen.clone()
    }

    /// Waits for the request that meets with the fault, and until it has taken effect if it is to; returns it in words.
    pub async fn met(&self) -> String {
        let mut met = self.met.subscribe();
        // The sender lives in self.
        met.wait_for(Option::is_some).await.ok().and_then(|met| met.clone()).unwrap_or_default()
    }

    /// The request that met with the fault, in words, if it has come by now.
    pub fn has_met(&self) -> Option<String> {
        self.met.borrow().clone()
    }

    /// Stops for good whoever sends on this way now, if that was not done before, and lets its successor through.
    pub fn release(&self) {
        let mut state = self.state();
        (state.life, state.is_stopped, state.armed) = (state.life + 1, false, None);
    }

    /// Lets every request through from now on; says whether none has met with the fault yet.
    pub fn disarm(&self) -> bool {
        self.state().armed.take().is_some()
    }

    /// A client whose requests are counted, as far as they are of the kind that `counts`, and meet with the fault.
    pub fn on(&self, client: Client, counts: Counts) -> Client {
        let (faults, life) = (self.clone(), self.life());
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (faults, client) = (faults.clone(), client.clone());
            async move {
                let about = Request::parse(request.method(), request.uri());
                let what = words(&about);
                let fault = if counts(&about) { faults.meet(life, &what) } else { None };
                match fault {
                    None => faults.hold_if_stopped(life).await,
                    Some(Fault::StopBefore | Fault::NeverAnswered) => {
                        faults.has_happened(what);
                        return std::future::pending().await;
                    }
                    Some(Fault::StopAfter) => {
                        drop(client.send(request).await);
                        faults.has_happened(what);
                        return std::future::pending().await;
                    }
                    Some(Fault::NotSent) => {
                        faults.has_happened(what);
                        return Err(broken());
                    }
                    Some(Fault::AnswerLost) => {
                        drop(client.send(request).await);
                        faults.has_happened(what);
                        return Err(broken());
                    }
                    Some(Fault::Answer(status)) => {
                        faults.has_happened(what);
                        return Ok(answer(status, &about));
                    }
                }
                client.send(request).await
            }
        });
        Client::new(service, namespace)
    }

    /// The present life of senders; those of earlier ones are stopped.
    pub(crate) fn life(&self) -> usize {
        self.state().life
    }

    /// Counts a request of a sender of this life, and says what it meets with.
    pub(crate) fn meet(&self, life: usize, what: &str) -> Option<Fault> {
        let mut state = self.state();
        if state.life != life || state.is_stopped {
            return None;
        }
        state.seen.push(what.to_owned());
        let (number, fault) = state.armed?;
        if state.seen.len() != number {
            return None;
        }
        state.armed = None;
        state.is_stopped = fault.stops();
        Some(fault)
    }

    /// Tells who waits that the fault has happened.
    pub(crate) fn has_happened(&self, what: String) {
        self.met.send_replace(Some(what));
    }

    /// Completes at once for a sender of the present life, and never for one that was stopped.
    pub(crate) async fn hold_if_stopped(&self, life: usize) {
        let is_stopped = {
            let state = self.state();
            state.life != life || state.is_stopped
        };
        if is_stopped {
            std::future::pending::<()>().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

fn broken() -> kube::Error {
    kube::Error::Service(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)))
}

/// A request in words, such as `patch registryconnections/status images`.
fn words(request: &Request) -> String {
    let Request { verb, resource, subresource, name, .. } = request;
    let slash = if subresource.is_empty() { "" } else { "/" };
    let name = if resource == "events" { "" } else { name };
    format!("{verb} {resource}{slash}{subresource} {name}").trim_end().to_owned()
}

/// An answer as the API server makes it (k8s.io/apimachinery/pkg/api/errors).
fn answer(status: u16, about: &Request) -> Response<Body> {
    let Request { verb, resource, name, .. } = about;
    let (reason, message, retry_after) = match status {
        409 if *verb == "create" => ("AlreadyExists", format!("{resource} \"{name}\" already exists"), None),
        409 => (
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {resource} \"{name}\": the object has been modified; please apply your \
                 changes to the latest version and try again"
            ),
            None,
        ),
        422 => ("Invalid", "the server rejected our request due to an error in our request".to_owned(), None),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".to_owned(),
            Some(1),
        ),
        _ => ("InternalError", "Internal error occurred: etcdserver: request timed out".to_owned(), None),
    };
    let mut details = json!({"name": name, "kind": resource});
    if let Some(seconds) = retry_after {
        details["retryAfterSeconds"] = seconds.into();
    }
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": status,
    });
    let mut answer = Response::new(Body::from(body.to_string().into_bytes()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from(seconds));
    }
    answer
}
