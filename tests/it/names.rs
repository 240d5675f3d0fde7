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
pub struct Names {
    answers: Mutex<HashMap<String, VecDeque<Vec<SocketAddr>>>>,
    /// How often each name made the resolver panic; names that are no key do not.
    panics: Mutex<HashMap<String, usize>>,
}

impl Names {
    /// Lets a name stand for one address. Its port counts where a URL names none, so that a registry on any port can be
    /// reached as if it were on the usual one.
    pub fn set(&self, name: &str, address: SocketAddr) {
        self.script(name, &[&[address]]);
    }

    /// Lets a name answer with these addresses, then with those, and so on.
    pub fn script(&self, name: &str, answers: &[&[SocketAddr]]) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), answers);
    }

    /// Lets the resolver panic at a name, until it is set to something else.
    pub fn panic_at(&self, name: &str) {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), 0);
    }

    /// How often it did.
    pub fn panics_at(&self, name: &str) -> usize {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or_default()
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        if let Some(count) = self.panics.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            *count += 1;
            panic!("a fault in the resolver of {name}");
        }
        let mut names = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answers) = names.get_mut(name) else { return SystemLookup.lookup(name) };
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        ready(Ok(answer.unwrap_or_default())).boxed()
    }
}
