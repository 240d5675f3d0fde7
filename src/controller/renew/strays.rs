//! Credentials that were issued and are known to nobody, where the provider lists what it issued: this operator, or the API
//! server, ended between the answer and its record. They are told by their names, which hold the connection's UID. IO.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    access::{Present, access_for},
    book::{Book, Obstacle},
    mint::{OURS, obstacle, prefix},
    revoke::save,
    tell,
};
use crate::{
    controller::Context,
    domain::ledger::{ChosenName, Entry, Issuer},
    provider::{
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
    present: Option<&Present<'_>>,
    uid: &str,
    now: Timestamp,
) -> Result<bool, Obstacle> {
    let Some(current) = book.ledger.current.as_ref().filter(|current| current.proven) else { return Ok(false) };
    let from = book.ledger.stray_since.and_then(|since| since.saturating_add(context.revocation_grace).ok());
    if from.is_none_or(|from| now < from) {
        return Ok(false);
    }
    let issuer = current.issuer.clone();
    let Ok(Some(access)) = access_for(context, &issuer, present).await? else { return Ok(false) };
    search(context, book, (&issuer, &access), uid, now).await?;
    let others: Vec<ChosenName> = book.ledger.names.iter().filter(|name| is_old(name, now)).cloned().collect();
    let unknown = match look_up(context, &others, present).await {
        Ok(unknown) => unknown,
        // Another API that fails is asked again at the next renewal.
        Err(Obstacle::Told(_)) => others,
        Err(cut @ Obstacle::Cut(_)) => return Err(cut),
    };
    book.ledger.names.retain(|name| !is_old(name, now) || unknown.contains(name));
    book.ledger.stray_since = None;
    Ok(true)
}

/// Ends what an API lists under a connection's UID, is old, and stands neither in the ledger nor among the names that were chosen
/// lately. Names that the list covers and that are old are forgotten; whoever calls it writes the ledger.
async fn search(
    context: &Context,
    book: &mut Book,
    (issuer, access): (&Issuer, &Access),
    uid: &str,
    now: Timestamp,
) -> Result<(), Obstacle> {
    let io = context.io_in(&context.namespace);
    let prefix = prefix(uid);
    let listed = issuing::list(&io, issuer, access, &prefix).await.map_err(obstacle)?;
    // What another operator wrote down meanwhile is not unknown.
    book.reopen(context).await?;
    let was_old = |time: Timestamp| now.duration_since(time) >= YOUNG;
    let is_stray = |listed: &&Listed| {
        let is_known = book.ledger.entries().any(|entry| entry.id.as_ref() == Some(&listed.id));
        let is_chosen_lately = book.ledger.names.iter().any(|name| name.name == listed.name && !was_old(name.at));
        !is_known
            && !is_chosen_lately
            && named_at(uid, listed).is_some_and(was_old)
            && listed.created_at.is_none_or(was_old)
    };
    for stray in listed.iter().filter(is_stray) {
        let ended = issuing::end(&io, issuer, access, stray).await.map_err(obstacle)?;
        tracing::info!(id = stray.id, ?ended, "a credential that no ledger knows was revoked");
    }
    let is_covered = |name: &ChosenName| name.issuer == *issuer && name.name.starts_with(&prefix);
    book.ledger.names.retain(|name| !(is_covered(name) && is_old(name, now)));
    Ok(())
}

/// Ends what may stand behind names, each looked for where it was to be issued. Those for which there is no way in are returned.
async fn look_up(
    context: &Context,
    names: &[ChosenName],
    present: Option<&Present<'_>>,
) -> Result<Vec<ChosenName>, Obstacle> {
    let mut unknown = vec![];
    let issuers: BTreeSet<&Issuer> = names.iter().map(|name| &name.issuer).collect();
    for issuer in issuers {
        let mine = names.iter().filter(|name| name.issuer == *issuer);
        let Ok(Some(access)) = access_for(context, issuer, present).await? else {
            unknown.extend(mine.cloned());
            continue;
        };
        let io = context.io_in(&context.namespace);
        let listed = issuing::list(&io, issuer, &access, OURS).await.map_err(obstacle)?;
        for stray in listed.iter().filter(|listed| mine.clone().any(|name| name.name == listed.name)) {
            issuing::end(&io, issuer, &access, stray).await.map_err(obstacle)?;
            tracing::info!(id = stray.id, "a credential that was never written down was revoked");
        }
    }
    Ok(unknown)
}

/// The same search for a connection that is gone, if one is outstanding, as long as the ledger says where: the names of what stands in
/// it hold the UID.
pub(super) async fn of_the_gone(context: &Context, book: &mut Book, now: Timestamp) -> Result<(), Obstacle> {
    if book.ledger.stray_since.is_none() {
        return Ok(());
    }
    let places: BTreeSet<(String, Issuer)> = book.ledger.entries().filter_map(place).collect();
    for (uid, issuer) in &places {
        if let Ok(Some(access)) = access_for(context, issuer, None).await? {
            search(context, book, (issuer, &access), uid, now).await?;
        }
    }
    book.ledger.stray_since = None;
    save(context, book).await
}

/// Under which UID something was issued, and where.
fn place(entry: &Entry) -> Option<(String, Issuer)> {
    let (uid, _) = entry.credential.username().strip_prefix(OURS)?.rsplit_once('-')?;
    entry.issuer.lists().then(|| (uid.to_owned(), entry.issuer.clone()))
}

fn is_old(name: &ChosenName, now: Timestamp) -> bool {
    now.duration_since(name.at) >= YOUNG
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
    let unknown = look_up(context, &names, None).await?;
    if !unknown.is_empty() {
        tell::unknown(context, &book.key, unknown.len(), now).await;
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
    present: &Present<'_>,
    now: Timestamp,
) -> Result<(), Obstacle> {
    let old: Vec<ChosenName> = book.ledger.names.iter().filter(|name| is_old(name, now)).cloned().collect();
    let unknown = look_up(context, &old, Some(present)).await?;
    if !unknown.is_empty() {
        tell::unknown(context, &book.key, unknown.len(), now).await;
    }
    book.ledger.names.retain(|name| !is_old(name, now));
    Ok(())
}

/// When a name was chosen, as the name itself says; none if it is not one of ours.
fn named_at(uid: &str, listed: &Listed) -> Option<Timestamp> {
    let time = listed.name.strip_prefix(&prefix(uid))?;
    Timestamp::from_millisecond(i64::from_str_radix(time, 16).ok()?).ok()
}
