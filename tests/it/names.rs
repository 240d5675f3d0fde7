//! Host names that a scenario makes up, in place of a name server that says what a test wants.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use futures::future::{BoxFuture, FutureExt, ready};
use regcred::net::{Lookup, SystemLookup};

/// What each made-up name answers, in turn; the last answer stays. All other names are asked of the system.
#[derive(Default)]
pub struct Names(Mutex<HashMap<String, VecDeque<Vec<SocketAddr>>>>);

impl Names {
    /// Lets a name stand for one address. Its port counts where a URL names none, so that a registry on any port can be
    /// reached as if it were on the usual one.
    pub fn set(&self, name: &str, address: SocketAddr) {
        self.script(name, &[&[address]]);
    }

    /// Lets a name answer with these addresses, then with those, and so on.
    pub fn script(&self, name: &str, answers: &[&[SocketAddr]]) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), answers);
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answers) = names.get_mut(name) else { return SystemLookup.lookup(name) };
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        ready(Ok(answer.unwrap_or_default())).boxed()
    }
}
