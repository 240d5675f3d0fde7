//! The second controller: whose Pods name the Secrets. It works namespace by namespace, from the specs of all connections that serve
//! one; no credential passes through it, and it waits for none.
//!
//! ```text
//! watches, index ─▶ namespace ─▶ visit
//!   place      what is known: who asks for links here, what ServiceAccounts and the table name now
//!   survey     IO: Secrets of which nobody knows whether they are somebody else's
//!   wanted     pure: what is to be named, who holds the default
//!   release    IO: live looks at connections that do not ask any more
//!   table      pure: the ConfigMap that the admission policy reads, as an object or a patch
//!   account    pure: one ServiceAccount, as a patch
//!   write      IO
//!   standing   what became of it; the index keeps it, and the connection is woken to tell it
//! ```
//!
//! Beside all that [`support`] watches whether the cluster has the policy at all. Linking writes no status and no Secret. What
//! others wrote stays, and what is ours is remembered in an annotation beside it.

pub mod account;
mod agenda;
pub mod claims;
pub mod fights;
#[cfg(test)]
pub(crate) mod fixture;
pub mod leaving;
mod memory;
pub mod place;
mod release;
pub mod standing;
pub mod support;
mod survey;
pub mod table;
mod visit;
pub mod wanted;
pub mod wish;
mod write;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{sync::Mutex, time::Instant};
use tracing::Instrument;

use crate::controller::Context;
use agenda::Agenda;
use visit::{Next, visit};

/// How many namespaces are worked on at the same time.
const CONCURRENCY: usize = 32;

/// What linking shares between namespaces.
#[derive(Default)]
pub struct Shared {
    memory: memory::Memory,
    looks: release::Looks,
    /// One looks for Secrets everywhere at a time.
    surveys: Mutex<()>,
}

/// Links for ever.
pub async fn run(context: Arc<Context>) {
    let mut agenda = Agenda::default();
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < CONCURRENCY
            && let Some(namespace) = agenda.take(Instant::now())
        {
            let context = Arc::clone(&context);
            under_way.push(async move {
                let span = tracing::error_span!("link", namespace = namespace.as_ref());
                let visited = AssertUnwindSafe(visit(&context, &namespace)).catch_unwind().instrument(span).await;
                // A fault in one namespace is no reason to leave the others; `telemetry` logs its place.
                (namespace, visited.unwrap_or(Next::Soon))
            });
        }
        let is_free = under_way.len() < CONCURRENCY;
        let next = agenda.next().filter(|_| is_free);
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            woken = context.index.namespaces_to_link() => agenda.wake(woken, Instant::now()),
            Some((namespace, next)) = under_way.next() => {
                let now = Instant::now();
                match next {
                    Next::Never => agenda.rests(namespace),
                    Next::At(uptime) => agenda.rests_until(namespace, now + context.clock.wait_until_uptime(uptime)),
                    Next::Soon => agenda.fails(namespace, now, fastrand::f64()),
                }
            }
            () = due => {}
        }
    }
}
