//! Takes part in the election: waits for the turn, takes the lease, renews it, gives it back. IO.

use std::{
    pin::{Pin, pin},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::watcher::{self, Event},
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    LEASE, LEASE_DURATION, Leadership, RENEW_EVERY, State, WRITES_FOR,
    sightings::{Sightings, Turn},
};
use crate::{
    api::names::{FIELD_MANAGER, MANAGED_BY_LABEL},
    clock::Clock,
    controller::watch::whole,
};

/// How long one request about the lease may take. What is on its way longer is found out about by the next.
const ANSWER: Duration = Duration::from_secs(4);

/// How long giving the lease back may hold up the end of the process.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a process that led may not go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It could not renew its lease in time.
    #[error("the lease was lost to {0:?}, which leads now; this process ends, and is started anew as a follower")]
    To(String),
    /// There are two installations.
    #[error("an older installation of regcred works in namespace {0:?}: uninstall one of the two")]
    ToElder(String),
}

/// See the module.
pub struct Tenure {
    client: Client,
    leases: Api<Lease>,
    namespace: String,
    identity: String,
    clock: Clock,
    leadership: Leadership,
    /// The lease as this process wrote it last, while it is its own.
    held: Mutex<Option<Lease>>,
}

/// What came of a write of the lease.
enum Written {
    /// It is ours, as it is now.
    Ours(Box<Lease>),
    /// It is another than was thought; none if there is none any more.
    Other(Option<Box<Lease>>),
    /// Nobody knows.
    Unanswered(String),
}

impl Tenure {
    /// Of a process with this name, which no other has, in an installation whose own namespace is `namespace`. The client is not
    /// fenced.
    pub fn new(client: Client, namespace: &str, identity: String, clock: Clock, leadership: Leadership) -> Self {
        let leases = Api::namespaced(client.clone(), namespace);
        Self { client, leases, namespace: namespace.to_owned(), identity, clock, leadership, held: Mutex::default() }
    }

    /// Takes part until the lease is lost; does not end otherwise.
    pub async fn run(&self) -> Lost {
        let config = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        let mut news = pin!(whole::<Lease>(&self.client, "leases", config));
        let mut seen = Sightings::default();
        self.take(news.as_mut(), &mut seen).await;
        let lost = self.keep(news, &mut seen).await;
        self.leadership.becomes(State::Following);
        *self.held() = None;
        lost
    }

    /// Waits for the turn, and takes the lease.
    async fn take(&self, mut news: Pin<&mut impl Stream<Item = Option<Event<Lease>>>>, seen: &mut Sightings) {
        let (mut shown, mut is_listed) = (vec![], false);
        let mut not_before = Instant::now();
        loop {
            let now = Instant::now();
            let wake = match seen.turn(&self.namespace, &self.identity, now) {
                _ if !is_listed => None,
                Turn::Take(lease) if now >= not_before => {
                    let asked = Instant::now();
                    match self.write(lease.as_deref()).await {
                        Written::Ours(lease) => {
                            tracing::info!(identity = self.identity, "this process leads");
                            self.leads(*lease, asked);
                            return;
                        }
                        Written::Other(Some(lease)) => seen.saw(*lease, Instant::now()),
                        Written::Other(None) => seen.went(&self.namespace),
                        Written::Unanswered(error) => {
                            tracing::warn!(
                                namespace = self.namespace,
                                error,
                                "the lease could not be taken; it is tried again"
                            );
                        }
                    }
                    not_before = Instant::now() + RENEW_EVERY / 4;
                    continue;
                }
                Turn::Take(_) => Some(not_before),
                Turn::Wait { holder, until } => {
                    if self.becomes(State::Following) {
                        tracing::info!(leader = holder, "this process follows");
                    }
                    Some(until)
                }
                Turn::Yield { namespace, until } => {
                    if self.becomes(State::Yielding { namespace: namespace.clone() }) {
                        tracing::error!(
                            namespace,
                            "an older installation of regcred works in another namespace; this one does nothing: uninstall one \
                             of the two"
                        );
                    }
                    Some(until)
                }
            };
            let due = async {
                match wake {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(event) = news.next() => take_in(event, seen, &mut shown, &mut is_listed),
                () = due => {}
            }
        }
    }

    /// Renews the lease until it is another's.
    async fn keep(&self, mut news: Pin<&mut impl Stream<Item = Option<Event<Lease>>>>, seen: &mut Sightings) -> Lost {
        let (mut shown, mut is_listed) = (vec![], true);
        let mut next = Instant::now() + RENEW_EVERY;
        let mut is_failing = false;
        loop {
            tokio::select! {
                // Of the own lease the watch may tell what was true before this process took it; the next renewal finds out.
                Some(event) = news.next() => {
                    take_in(event, seen, &mut shown, &mut is_listed);
                    if let Turn::Yield { namespace, .. } = seen.turn(&self.namespace, &self.identity, Instant::now()) {
                        return Lost::ToElder(namespace);
                    }
                    continue;
                }
                () = sleep_until(next) => {}
            }
            let asked = Instant::now();
            next = asked + RENEW_EVERY;
            let held = self.held().clone();
            let written = match self.write(held.as_ref()).await {
                Written::Other(Some(lease)) => match holder(&lease) {
                    // An answer was lost, or somebody touched the lease.
                    Some(holder) if holder == self.identity => self.write(Some(&lease)).await,
                    Some(other) => return Lost::To(other.to_owned()),
                    // Somebody took it away from us, and nobody has it.
                    None => self.write(Some(&lease)).await,
                },
                Written::Other(None) => self.write(None).await,
                written => written,
            };
            match written {
                Written::Ours(lease) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the lease was renewed; work goes on");
                    }
                    self.leads(*lease, asked);
                }
                Written::Other(lease) => match lease.as_deref().and_then(holder) {
                    Some(other) if other != self.identity => return Lost::To(other.to_owned()),
                    Some(_) | None => next = asked + RENEW_EVERY / 4,
                },
                Written::Unanswered(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(error, "the lease could not be renewed; soon nothing is written until it is");
                    }
                }
            }
        }
    }

    /// Gives the lease back, so that a follower need not wait until it has run out. From here on nothing is written.
    pub async fn release(&self) {
        let Some(held) = self.held().take() else { return };
        self.leadership.becomes(State::Following);
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(self.clock.now())),
            ..held.spec.clone().unwrap_or_default()
        };
        let lease = Lease { spec: Some(spec), ..held };
        match timeout(FAREWELL, self.leases.replace(LEASE, &parameters(), &lease)).await {
            Ok(Ok(_)) => tracing::info!("the lease was given back"),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the lease could not be given back; it runs out"
                );
            }
            Err(_) => tracing::warn!("the lease could not be given back in time; it runs out"),
        }
    }

    /// Takes note that the lease was written by a request that was sent at `asked`.
    fn leads(&self, lease: Lease, asked: Instant) {
        *self.held() = Some(lease);
        self.leadership.becomes(State::Leading { until: asked + WRITES_FOR });
    }

    /// Whether that is news.
    fn becomes(&self, state: State) -> bool {
        let is_news = self.leadership.state() != state;
        self.leadership.becomes(state);
        is_news
    }

    /// Writes the lease as our own, if it still is as it was.
    async fn write(&self, before: Option<&Lease>) -> Written {
        let lease = self.lease(before);
        let written = async {
            match before {
                None => self.leases.create(&parameters(), &lease).await,
                Some(_) => self.leases.replace(LEASE, &parameters(), &lease).await,
            }
        };
        let look = async {
            match written.await {
                Ok(lease) => Ok(Written::Ours(Box::new(lease))),
                Err(kube::Error::Api(status)) if status.code == 409 || (status.code == 404 && before.is_some()) => {
                    Ok(Written::Other(self.leases.get_opt(LEASE).await?.map(Box::new)))
                }
                Err(error) => Err(error),
            }
        };
        match timeout(ANSWER, look).await {
            Ok(Ok(written)) => written,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Written::Unanswered(format!(
                "the operator's namespace {:?} does not exist: create it, or name another one with POD_NAMESPACE",
                self.namespace
            )),
            Ok(Err(error)) => Written::Unanswered(error.to_string()),
            Err(_) => Written::Unanswered("the API server did not answer in time".to_owned()),
        }
    }

    /// The lease as it is to be.
    fn lease(&self, before: Option<&Lease>) -> Lease {
        let now = Some(MicroTime(self.clock.now()));
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_mine = spec.holder_identity.as_deref() == Some(&self.identity);
        let transitions = spec.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: if is_mine { spec.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(transitions.saturating_add(i32::from(before.is_some() && !is_mine))),
            ..spec
        };
        let metadata = before.map(|lease| lease.metadata.clone()).unwrap_or_default();
        let mut labels = metadata.labels.unwrap_or_default();
        labels.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
        let metadata = ObjectMeta {
            name: Some(LEASE.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            managed_fields: None,
            ..metadata
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn held(&self) -> MutexGuard<'_, Option<Lease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Takes in an event of the watch; `shown` is what the list under way has shown so far.
fn take_in(event: Option<Event<Lease>>, seen: &mut Sightings, shown: &mut Vec<String>, is_listed: &mut bool) {
    let now = Instant::now();
    match event {
        None => {}
        Some(Event::Init) => shown.clear(),
        Some(Event::InitApply(lease)) => {
            shown.extend(lease.metadata.namespace.clone());
            seen.saw(lease, now);
        }
        Some(Event::InitDone) => {
            seen.retain(shown);
            *is_listed = true;
        }
        Some(Event::Apply(lease)) => seen.saw(lease, now),
        Some(Event::Delete(lease)) => seen.went(lease.metadata.namespace.as_deref().unwrap_or_default()),
    }
}
