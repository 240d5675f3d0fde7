//! One active writer among all replicas: who it is, and what it may do for how long.
//!
//! ```text
//! watch of Leases ─▶ sightings ─▶ turn ─▶ tenure ─▶ Leadership ─▶ fence, run loop, /readyz
//!                    pure         pure    IO
//! ```
//!
//! As in client-go, nobody's clock is compared with another's: a lease has run out once it was seen not to change for as long
//! as it says. Unlike there, a leader whose renewals fail neither ends nor goes on: it stops writing while its lease is still
//! its own, and goes on once it has renewed it, if nobody took it in between. Who lost it ends the process, because what it
//! knows may be old; so does who cannot tell.

mod fence;
mod sightings;
mod tenure;

use std::{fmt, time::Duration};

use tokio::{sync::watch, time::Instant};

pub use fence::Fence;
pub use tenure::{Lost, Tenure};

/// How long others wait for a leader that does not renew its lease (`LeaseDuration` of client-go).
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// For how long after a renewal a leader writes (`RenewDeadline` of client-go). The difference is what a request may still be on
/// its way.
pub const WRITES_FOR: Duration = Duration::from_secs(10);

/// The pause between renewals (`RetryPeriod` of client-go).
pub const RENEW_EVERY: Duration = Duration::from_secs(2);

/// The name of the Lease in the operator's namespace.
pub const LEASE: &str = "regcred";

/// An installation of regcred: a Deployment of the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The operator's own namespace.
    pub namespace: String,
    /// Its name in there; all its replicas have the same.
    pub name: String,
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who takes part in an election.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which installation the process belongs to.
    pub installation: Installation,
    /// The name of the process, which no other has.
    pub identity: String,
}

/// What a process is among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nobody else: it was started without an election.
    Alone,
    /// It knows what there is, and waits for its turn.
    Following,
    /// An older installation works, so this one does nothing.
    Yielding {
        /// Which.
        elder: Installation,
    },
    /// It writes.
    Leading {
        /// Not after this time, unless the lease is renewed.
        until: Instant,
    },
}

/// Tells all parts of a process what it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    state: watch::Sender<State>,
}

impl Leadership {
    /// Of a process without others.
    pub fn alone() -> Self {
        Self { state: watch::Sender::new(State::Alone) }
    }

    /// Of a process that waits for its turn.
    pub fn following() -> Self {
        Self { state: watch::Sender::new(State::Following) }
    }

    /// What it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether it may write now.
    pub fn may_write(&self) -> bool {
        match &*self.state.borrow() {
            State::Alone => true,
            State::Following | State::Yielding { .. } => false,
            State::Leading { until } => Instant::now() < *until,
        }
    }

    /// Completes when it is the first time to work.
    pub async fn begins(&self) {
        let is_begun = |state: &State| matches!(state, State::Alone | State::Leading { .. });
        // The sender is ours, so this ends only with what was waited for.
        let _ = self.state.subscribe().wait_for(is_begun).await;
    }

    fn becomes(&self, state: State) {
        self.state.send_replace(state);
    }
}
