//! Takes part in the election: waits for the turn, takes the lease, renews it, gives it back. IO.

use std::{
    pin::{Pin, pin},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    Candidate, Installation, LEASE, LEASE_DURATION, Leadership, RENEW_EVERY, State, WRITES_FOR,
    sightings::{Sightings, Turn},
};
use crate::{
    api::names::{FIELD_MANAGER, INSTALLATION_ANNOTATION, MANAGED_BY_LABEL},
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
    /// Another process holds the lease.
    #[error("the lease was lost to {0:?}, which leads now; this process ends, and is started anew as a follower")]
    To(String),
    /// Nobody holds it, and somebody may have while this process could not see it.
    #[error(
        "another process may have led while this one could not renew its lease; this one ends, and is started anew"
    )]
    Meanwhile,
    /// There are two installations.
    #[error("an older installation of regcred works, {0}: uninstall one of the two")]
    ToElder(Installation),
}

/// See the module.
pub struct Tenure {
    client: Client,
    leases: Api<Lease>,
    me: Candidate,
    clock: Clock,
    leadership: Leadership,
    /// The lease as this process wrote it last, while it is its own.
    held: Mutex<Option<Lease>>,
    /// A request was sent that may have made it its own.
    has_asked: AtomicBool,
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
    /// Of this process. The client is not fenced.
    pub fn new(client: Client, me: Candidate, clock: Clock, leadership: Leadership) -> Self {
        let leases = Api::namespaced(client.clone(), &me.installation.namespace);
        Self { client, leases, me, clock, leadership, held: Mutex::default(), has_asked: AtomicBool::new(false) }
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
        let mut told = None;
        loop {
            let now = Instant::now();
            let wake = match seen.turn(&self.me, now) {
                _ if !is_listed => None,
                Turn::Take(lease) if now >= not_before => {
                    let asked = Instant::now();
                    self.has_asked.store(true, Ordering::Relaxed);
                    match self.write(lease.as_deref()).await {
                        Written::Ours(lease) => {
                            self.leads(*lease, asked, seen);
                            return;
                        }
                        Written::Other(Some(lease)) => seen.saw(*lease, Instant::now()),
                        Written::Other(None) => seen.went(&self.me.installation.namespace),
                        Written::Unanswered(error) => {
                            tracing::warn!(
                                namespace = self.me.installation.namespace,
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
                    self.leadership.becomes(State::Following);
                    if told.as_ref() != Some(&holder) {
                        tracing::info!(leader = holder, "this process follows");
                        told = Some(holder);
                    }
                    Some(until)
                }
                Turn::Yield { elder, until } => {
                    if self.becomes(State::Yielding { elder: elder.clone() }) {
                        tracing::error!(
                            %elder,
                            "an older installation of regcred works; this one does nothing: uninstall one of the two"
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
                    if let Turn::Yield { elder, .. } = seen.turn(&self.me, Instant::now()) {
                        return Lost::ToElder(elder);
                    }
                    continue;
                }
                () = sleep_until(next) => {}
            }
            let asked = Instant::now();
            next = asked + RENEW_EVERY;
            let held = self.held().clone();
            let written = match self.write(held.as_ref()).await {
                Written::Other(found) => match self.lost(held.as_ref(), found.as_deref()) {
                    Some(lost) => return lost,
                    None => self.write(found.as_deref()).await,
                },
                written => written,
            };
            match written {
                Written::Ours(lease) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the lease was renewed; work goes on");
                    }
                    self.leads(*lease, asked, seen);
                }
                Written::Other(lease) => match lease.as_deref().and_then(holder) {
                    Some(other) if other != self.me.identity => return Lost::To(other.to_owned()),
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

    /// Whether the lease is lost that is not as this process wrote it: `held`, and as it is.
    fn lost(&self, held: Option<&Lease>, found: Option<&Lease>) -> Option<Lost> {
        let known =
            |lease: &Lease| (lease.metadata.uid.clone(), lease.spec.as_ref().and_then(|spec| spec.lease_transitions));
        match (found, found.and_then(holder)) {
            // An answer was lost, or somebody touched the lease.
            (_, Some(holder)) if holder == self.me.identity => None,
            (_, Some(other)) => Some(Lost::To(other.to_owned())),
            // Somebody took it away by hand, unless another one has had it and given it back since.
            (Some(found), None) => (held.map(known) != Some(known(found))).then_some(Lost::Meanwhile),
            // Nobody takes one that was deleted before this one must have noticed.
            (None, _) => (!self.leadership.may_write()).then_some(Lost::Meanwhile),
        }
    }

    /// Gives the lease back, so that a follower need not wait until it has run out. From here on nothing is written.
    pub async fn release(&self) {
        let held = self.held().take();
        if held.is_none() && !self.has_asked.load(Ordering::Relaxed) {
            return;
        }
        self.leadership.becomes(State::Following);
        match timeout(FAREWELL, self.give_back(held)).await {
            Ok(Ok(true)) => tracing::info!("the lease was given back"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the lease could not be given back; it runs out"
                );
            }
            Err(_) => tracing::warn!("the lease could not be given back in time; it runs out"),
        }
    }

    /// Whether it was ours to give.
    async fn give_back(&self, held: Option<Lease>) -> kube::Result<bool> {
        if let Some(held) = held {
            match self.leases.replace(LEASE, &parameters(), &self.given_back(held)).await {
                // The end came while a renewal was on its way.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                result => return result.map(|_| true),
            }
        }
        let found = self.leases.get_opt(LEASE).await?;
        let Some(held) = found.filter(|lease| holder(lease) == Some(&self.me.identity)) else { return Ok(false) };
        self.leases.replace(LEASE, &parameters(), &self.given_back(held)).await.map(|_| true)
    }

    fn given_back(&self, held: Lease) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(self.clock.now())),
            ..held.spec.clone().unwrap_or_default()
        };
        Lease { spec: Some(spec), ..held }
    }

    /// Takes note that the lease was written by a request that was sent at `asked`. Leads, unless a younger installation works: that
    /// one sees this lease, and ends.
    fn leads(&self, lease: Lease, asked: Instant, seen: &Sightings) {
        *self.held() = Some(lease);
        if !matches!(self.leadership.state(), State::Leading { .. }) {
            if let Some(other) = seen.another(&self.me, Instant::now()) {
                tracing::warn!(%other, "a younger installation of regcred works; this one begins once that has noticed");
                return;
            }
            tracing::info!(identity = self.me.identity, "this process leads");
        }
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
                self.me.installation.namespace
            )),
            Ok(Err(error)) => Written::Unanswered(error.to_string()),
            Err(_) => Written::Unanswered("the API server did not answer in time".to_owned()),
        }
    }

    /// The lease as it is to be.
    fn lease(&self, before: Option<&Lease>) -> Lease {
        let now = Some(MicroTime(self.clock.now()));
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_mine = spec.holder_identity.as_deref() == Some(&self.me.identity);
        let transitions = spec.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.me.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: if is_mine { spec.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(transitions.saturating_add(i32::from(before.is_some() && !is_mine))),
            ..spec
        };
        let metadata = before.map(|lease| lease.metadata.clone()).unwrap_or_default();
        let mut labels = metadata.labels.unwrap_or_default();
        labels.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.insert(INSTALLATION_ANNOTATION.into(), self.me.installation.name.clone());
        let metadata = ObjectMeta {
            name: Some(LEASE.into()),
            namespace: Some(self.me.installation.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
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
            seen.retain(shown, now);
            *is_listed = true;
        }
        Some(Event::Apply(lease)) => seen.saw(lease, now),
        Some(Event::Delete(lease)) => seen.went(lease.metadata.namespace.as_deref().unwrap_or_default()),
    }
}
