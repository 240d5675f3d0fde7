//! Has a credential issued. Where we choose its name, the name is written down first; what was issued is written down before
//! anything else is done with it. What cannot be written down is ended. IO.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    access::Present,
    book::{Book, Obstacle, Saved},
    strays,
};
use crate::{
    api::{
        Reason,
        provider::{IssuedBy, Provider},
    },
    controller::{Context, error::Error, revision, validate::Connection},
    domain::ledger::{ChosenName, Entry, Retired},
    problem::Problem,
    provider::{
        self, Io,
        access::Access,
        issuing::{self, Api, Minted, Order, Prepared},
    },
};

/// How long it may take to find out what is needed before a credential is issued.
const PREPARATION: Duration = Duration::from_secs(15);

/// How often it is tried to write down what was issued.
const TRIES: u32 = 4;

/// The pause before the second try to write it down; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How many names may be unaccounted for. The provider can be asked about them once it answers.
const MAX_NAMES: usize = 16;

/// The shortest life of an issued credential that is of any use.
const LEAST_LIFE: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);

/// What the names of all our credentials begin with.
pub(super) const OURS: &str = "regcred-";

/// What the names of a connection's credentials begin with: nobody else's do.
pub(super) fn prefix(uid: &str) -> String {
    format!("{OURS}{uid}-")
}

/// Who has a credential issued.
pub(super) struct Buyer<'a> {
    /// The connection.
    pub(super) connection: &'a Connection,
    /// Its UID.
    pub(super) uid: &'a str,
    /// Its provider.
    pub(super) provider: IssuedBy<'a>,
    /// Where the provider's API is.
    pub(super) api: &'a Api,
    /// What gives access to it.
    pub(super) access: &'a Access,
    /// The refresh that the user asks for.
    pub(super) request: Option<&'a str>,
}

/// Has a credential issued, and writes it down as the candidate.
///
/// # Errors
/// The [`Obstacle`]. Nothing that was issued is left behind then, as far as it is known and can be ended.
pub(super) async fn mint(context: &Context, buyer: &Buyer<'_>, book: &mut Book) -> Result<(), Obstacle> {
    let Buyer { connection, uid, provider, access, .. } = buyer;
    let io = context.io(&connection.reference);
    let prepared = tokio::time::timeout(PREPARATION, issuing::prepare(&io, *provider, access));
    let prepared = prepared.await.unwrap_or_else(|_| Err(too_slow(&connection.provider))).map_err(obstacle)?;
    let now = context.clock.now();
    let name = prepared.takes_name.then(|| format!("{}{:x}", prefix(uid), now.as_millisecond()));
    if let Some(name) = &name {
        announce_name(context, buyer, book, &prepared, name, now).await?;
    }
    let life = issuing::life(*provider, interval(connection));
    let order = Order { name: name.as_deref(), life };
    context.ensure_leading().map_err(Obstacle::Cut)?;
    let issued = issuing::issue(&io, *provider, access, &prepared, &order).await;
    context.metrics.issued(connection.provider.key(), issued.is_ok());
    let minted = issued.map_err(obstacle)?;
    let entry = entry(buyer, &prepared, minted, now);
    if let Some(problem) = unusable(&entry, &prepared, now) {
        end(&io, &entry, access).await;
        return Err(Obstacle::Told(problem));
    }
    tracing::info!(
        connection = %connection.reference,
        revision = entry.revision,
        expires_at = %entry.expires_at,
        "a credential was issued"
    );
    let revision = entry.revision.clone();
    let recorded = record(context, book, &io, entry, name.as_deref(), access).await;
    recorded.inspect_err(|_| context.memories.update(uid, |memory| memory.ended = Some(revision)))
}

fn interval(connection: &Connection) -> Duration {
    Duration::try_from(connection.grid.interval()).unwrap_or_default()
}

/// Writes down which name is about to be used.
async fn announce_name(
    context: &Context,
    buyer: &Buyer<'_>,
    book: &mut Book,
    prepared: &Prepared,
    name: &str,
    now: Timestamp,
) -> Result<(), Obstacle> {
    if book.ledger.names.len() >= MAX_NAMES {
        let present = Present { provider: buyer.provider, access: buyer.access.clone() };
        strays::account(context, book, &present, now).await?;
    }
    if book.ledger.names.len() >= MAX_NAMES {
        let message =
            "credentials were asked for several times without an answer; the provider is to say first which exist";
        return Err(Obstacle::Told(Problem::new(Reason::UpstreamError, message).hint(Reason::UpstreamError.fix())));
    }
    book.ledger.chose(ChosenName { name: name.to_owned(), at: now, issuer: prepared.issuer.clone() });
    match book.save(context).await? {
        Saved::Now => Ok(()),
        // Somebody else is at work; what came of it is seen in the next pass.
        Saved::Conflict => Err(Obstacle::Cut(Error::Contended)),
    }
}

fn entry(buyer: &Buyer<'_>, prepared: &Prepared, minted: Minted, now: Timestamp) -> Entry {
    let Minted { credential, id, registry, expires_at } = minted;
    let revision = revision::new(buyer.uid, now);
    Entry {
        request: buyer.request.map(str::to_owned),
        api_digest: buyer.access.digest(&now.to_string()),
        plain_http: buyer.api.endpoint(&registry).is_some_and(|endpoint| endpoint.registry.is_plain_http()),
        id,
        credential,
        issued_at: now,
        expires_at,
        registry,
        config_key: None,
        proven: false,
        refused: false,
        issuer: prepared.issuer.clone(),
        terms: buyer.connection.provider.terms(),
        revision,
    }
}

/// What is wrong with what was issued, if anything is.
fn unusable(entry: &Entry, prepared: &Prepared, now: Timestamp) -> Option<Problem> {
    let wrong = |message: String| {
        let hint = "it was revoked; if this stays, tell the provider's support, or correct apiUrl";
        Some(Problem::new(Reason::ProtocolError, message).hint(hint))
    };
    if entry.expires_at.duration_since(now) < LEAST_LIFE {
        return wrong(format!("the provider issued a credential that ends at {}, which is no use", entry.expires_at));
    }
    match &prepared.registry {
        Some(expected) if *expected != entry.registry => {
            wrong(format!("the provider issued a credential for {} instead of {expected}", entry.registry))
        }
        Some(_) | None => None,
    }
}

/// Writes down what was issued. If another operator was faster, its credential is used, and this one is to be revoked.
async fn record(
    context: &Context,
    book: &mut Book,
    io: &Io<'_>,
    entry: Entry,
    name: Option<&str>,
    access: &Access,
) -> Result<(), Obstacle> {
    let before = book.ledger.current.as_ref().map(|current| current.revision.clone());
    let mut pause = FIRST_PAUSE;
    let mut obstacle = Obstacle::Cut(Error::Contended);
    let mut is_stale = false;
    for _ in 0..TRIES {
        if is_stale {
            match book.reopen(context).await {
                Ok(()) => is_stale = false,
                Err(error) => obstacle = error,
            }
        }
        if !is_stale {
            // The write before took effect, and only its answer was lost.
            if book.ledger.entries().any(|other| other.revision == entry.revision) {
                return Ok(());
            }
            let now = context.clock.now();
            let is_first = book.ledger.candidate.as_ref().is_none_or(|other| other.issued_at < entry.issued_at)
                && book.ledger.current.as_ref().map(|current| &current.revision) == before.as_ref();
            match is_first {
                true => book.ledger.issued(entry.clone(), name, now),
                false => {
                    book.ledger.names.retain(|chosen| Some(chosen.name.as_str()) != name);
                    book.ledger.retired.push(Retired {
                        entry: entry.clone(),
                        at: now,
                        undelivered: true,
                        succeeded_at: None,
                    });
                }
            }
            match book.save(context).await {
                Ok(Saved::Now) => return Ok(()),
                Ok(Saved::Conflict) => {
                    is_stale = true;
                    continue;
                }
                Err(error) => obstacle = error,
            }
            is_stale = true;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    // What nobody knows of, nobody would ever end.
    end(io, &entry, access).await;
    Err(obstacle)
}

/// Ends what was just issued and comes to nothing, as far as that is possible.
async fn end(io: &Io<'_>, entry: &Entry, access: &Access) {
    if let Err(error) = issuing::revoke(io, entry, Some(access)).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            expires_at = %entry.expires_at,
            "a credential that was issued in vain could not be revoked; it runs out"
        );
    }
}

fn too_slow(provider: &Provider) -> provider::Error {
    let message = format!("the API of {} did not answer in time", provider.key());
    provider::Error::Provider(Box::new(Problem::new(Reason::Unreachable, message).hint(Reason::Unreachable.fix())))
}

/// What an error of a provider means for a pass.
pub(super) fn obstacle(error: provider::Error) -> Obstacle {
    match error {
        provider::Error::Unusable { problem, .. }
        | provider::Error::Provider(problem)
        | provider::Error::Denied(problem) => Obstacle::Told(*problem),
        provider::Error::Api(error) => Obstacle::Cut(Error::Read(error.into())),
    }
}
