//! What every provider has in front: the log of its requests, its clock, and a switch for an outage.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Clock;
use super::contract::query_names;
use crate::listener::{Reply, Seen};

/// A request to a provider's API. Those for a login at the registry are not among them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiRequest {
    /// The HTTP method.
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// The names of the query parameters, in their order.
    pub query: Vec<String>,
    /// The answer's status, also of one that was lost; `None` if there was none, because of an outage.
    pub status: Option<u16>,
    /// When it came, in the provider's time.
    pub at: Timestamp,
    /// Who asked.
    pub login: Login,
}

/// Who asks an API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Login {
    /// Nobody: there is no login, or one that cannot be read.
    None,
    /// Somebody whom the provider does not know, or no longer.
    Stranger,
    /// An API token: the how manieth that was made, from 0.
    ApiToken(usize),
    /// A user with a password.
    User(String),
    /// A credential that the provider has issued.
    Issued,
}

/// What becomes of requests to the API. Logins at the registry go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outage {
    /// They are taken and never answered.
    Silent,
    /// Their connection ends without an answer.
    Closed,
    /// They are answered 503, without a body that means anything.
    Unavailable,
    /// They are fulfilled, but their connection ends without the answer.
    AnswersLost,
    /// They are fulfilled at once, but answered so much later, in real time.
    Late(Duration),
}

#[derive(Debug)]
pub(super) struct Front {
    pub(super) clock: Clock,
    requests: Mutex<Vec<ApiRequest>>,
    outage: Mutex<Option<Outage>>,
}

impl Front {
    pub(super) fn new(speed: u32) -> Self {
        Self { clock: Clock::new(speed), requests: Mutex::default(), outage: Mutex::default() }
    }

    /// Answers by the outage, or else as `answer` does, which says status and who asked; and writes it down.
    pub(super) fn serve(&self, seen: &Seen, answer: impl FnOnce(Timestamp) -> (u16, Login, Reply)) -> Reply {
        let at = self.clock.now();
        let outage = *self.outage();
        let (status, login, reply) = match outage {
            None | Some(Outage::AnswersLost | Outage::Late(_)) => {
                let (status, login, reply) = answer(at);
                (Some(status), login, reply)
            }
            Some(Outage::Silent) => (None, Login::None, Reply::hang()),
            Some(Outage::Closed) => (None, Login::None, Reply::close()),
            Some(Outage::Unavailable) => (Some(503), Login::None, Reply::status(503).body("no server is available")),
        };
        let reply = match outage {
            Some(Outage::AnswersLost) => Reply::close(),
            Some(Outage::Late(delay)) => reply.delayed(delay),
            None | Some(Outage::Silent | Outage::Closed | Outage::Unavailable) => reply,
        };
        let (method, path, query) = (seen.method.clone(), seen.path().to_owned(), query_names(seen));
        self.log().push(ApiRequest { method, path, query, status, at, login });
        reply
    }

    pub(super) fn requests(&self) -> Vec<ApiRequest> {
        self.log().clone()
    }

    pub(super) fn set_outage(&self, outage: Option<Outage>) {
        *self.outage() = outage;
    }

    fn log(&self) -> MutexGuard<'_, Vec<ApiRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
