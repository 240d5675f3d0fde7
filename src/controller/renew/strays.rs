//! Credentials that were issued and are known to nobody, where the provider lists what it issued: this operator, or the API
//! server, ended between the answer and its record. They are told by their names, which hold the connection's UID. IO.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    book::{Book, Obstacle},
    mint::{obstacle, prefix},
    revoke::{access_for, save},
};
use crate::{
    controller::Context,
    domain::ledger::{ChosenName, Issuer},
    provider::{
        Io,
        access::Access,
        issuing::{self, Listed},
    },
};

/// A credential younger than this may be one that another operator is about to write down.
const YOUNG: SignedDuration = SignedDuration::from_mins(15);

/// Ends credentials that carry the connection's UID in their names and stand in no ledger: they were issued in a moment in
/// which this operator or the API server ended. True if that was looked for, and the ledger is to be written.
pub(super) async fn strays(
    context: &Context,
    book: &mut Book,
    access: Option<&Access>,
    uid: &str,
    now: Timestamp,
) -> Result<bool, Obstacle> {
    let Some(current) = book.ledger.current.as_ref().filter(|current| current.proven) else { return Ok(false) };
    let from = book.ledger.stray_since.and_then(|since| since.saturating_add(context.revocation_grace).ok());
    if from.is_none_or(|from| now < from) {
        return Ok(false);
    }
    let issuer = current.issuer.clone();
    let Ok(Some(access)) = access_for(context, &issuer, access).await? else { return Ok(false) };
    let io = Io::new(&context.client, &context.namespace, &context.http, &context.clock);
    let listed = issuing::list(&io, &issuer, &access, &prefix(uid)).await.map_err(obstacle)?;
    // What another operator wrote down meanwhile is not unknown.
    book.reopen(context).await?;
    let is_old = |time: Timestamp| now.duration_since(time) >= YOUNG;
    let is_stray = |listed: &&Listed| {
        let is_known = book.ledger.entries().any(|entry| entry.id.as_ref() == Some(&listed.id));
        let is_chosen_lately = book.ledger.names.iter().any(|name| name.name == listed.name && !is_old(name.at));
        !is_known
            && !is_chosen_lately
            && named_at(uid, listed).is_some_and(is_old)
            && listed.created_at.is_none_or(is_old)
    };
    for stray in listed.iter().filter(is_stray) {
        let ended = issuing::end(&io, &issuer, &access, stray).await.map_err(obstacle)?;
        tracing::info!(id = stray.id, ?ended, "a credential that no ledger knows was revoked");
    }
    book.ledger.names.retain(|name| !is_old(name.at));
    book.ledger.stray_since = None;
    Ok(true)
}

/// Ends what may stand behind names in the ledger of a connection that is gone: they were chosen, and it is not known whether
/// anything was issued. How long to wait, if one is too young to tell.
pub(super) async fn unaccounted(
    context: &Context,
    book: &mut Book,
    now: Timestamp,
) -> Result<Option<Duration>, Obstacle> {
    let names = book.ledger.names.clone();
    if let Some(youngest) = names.iter().map(|name| name.at).max() {
        let left = YOUNG.saturating_sub(now.duration_since(youngest));
        if left.is_positive() {
            return Ok(Some(Duration::try_from(left).unwrap_or_default()));
        }
    }
    for ChosenName { name, issuer, .. } in &names {
        // Without access nothing can be asked; what may be there runs out.
        if let Ok(Some(access)) = access_for(context, issuer, None).await? {
            let io = Io::new(&context.client, &context.namespace, &context.http, &context.clock);
            let listed = issuing::list(&io, issuer, &access, name).await.map_err(obstacle)?;
            for stray in listed.iter().filter(|listed| listed.name == *name) {
                issuing::end(&io, issuer, &access, stray).await.map_err(obstacle)?;
                tracing::info!(id = stray.id, "a credential that was never written down was revoked");
            }
        }
    }
    if !names.is_empty() {
        book.ledger.names.clear();
        save(context, book).await?;
    }
    Ok(None)
}

/// Ends what stands behind names in the ledger that are old enough for it to be known, and forgets them. Whoever calls it
/// writes the ledger.
pub(super) async fn account(
    context: &Context,
    book: &mut Book,
    (issuer, access): (&Issuer, &Access),
    prefix: &str,
    now: Timestamp,
) -> Result<(), Obstacle> {
    let io = Io::new(&context.client, &context.namespace, &context.http, &context.clock);
    let listed = issuing::list(&io, issuer, access, prefix).await.map_err(obstacle)?;
    let is_old = |name: &ChosenName| now.duration_since(name.at) >= YOUNG;
    for stray in listed.iter().filter(|listed| {
        book.ledger.names.iter().any(|name| name.name == listed.name && name.issuer == *issuer && is_old(name))
    }) {
        issuing::end(&io, issuer, access, stray).await.map_err(obstacle)?;
        tracing::info!(id = stray.id, "a credential that was never written down was revoked");
    }
    book.ledger.names.retain(|name| !is_old(name));
    Ok(())
}

/// When a name was chosen, as the name itself says; none if it is not one of ours.
fn named_at(uid: &str, listed: &Listed) -> Option<Timestamp> {
    let time = listed.name.strip_prefix(&prefix(uid))?;
    Timestamp::from_millisecond(i64::from_str_radix(time, 16).ok()?).ok()
}
