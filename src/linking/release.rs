//! Live looks before anything is taken away: what the watches say is not enough. IO.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::core::ObjectMeta;

use super::{
    leaving::{Claim, Fate, Question, Released, claims_of, fate},
    place::Place,
    wanted::Wanted,
};
use crate::{
    controller::{
        Context,
        secret_meta::ObjectKey,
        sweep::{
            live,
            verdict::{self, Presence, Standing},
        },
    },
    domain::reference::{ConnectionReference, Kind},
};

/// An answer is that old at most when something is taken away because of it: many namespaces ask the same.
const FRESH: Duration = Duration::from_secs(1);

/// After an answer that keeps everything in place the question is put again after this time.
const AGAIN: Duration = Duration::from_secs(300);

/// The answers of a moment ago; see [`FRESH`].
#[derive(Default)]
pub struct Looks {
    unchanged: Mutex<HashMap<(ConnectionReference, String, i64), (Duration, bool)>>,
    gone: Mutex<HashMap<ConnectionReference, (Duration, Option<Standing>)>>,
}

/// What may go, and when the rest is worth another look, as uptime.
#[derive(Default)]
pub struct Release {
    /// By the name of the Secret.
    pub released: BTreeMap<String, Released>,
    /// None if only a change makes a difference.
    pub next: Option<Duration>,
}

/// Finds out what of all that is named in a namespace, and that nobody asks for, may go now.
pub async fn release(context: &Context, namespace: &str, place: &Place, wanted: &Wanted) -> Release {
    let mut release = Release::default();
    for (secret, claim) in unasked(place, wanted) {
        let key = ObjectKey { namespace: namespace.to_owned(), name: secret.clone() };
        let written = context.index.policy_on(&key, &claim.reference);
        let Fate::Goes(from, question) = fate(place, wanted, &claim, written) else { continue };
        let now = context.clock.uptime();
        let again = if now < from {
            from
        } else if may_go(context, &claim, &question).await {
            release.released.entry(secret).or_default().insert(claim);
            continue;
        } else {
            tracing::debug!(namespace, secret, connection = %claim.reference, "what is named for a connection stays for now");
            now.saturating_add(AGAIN)
        };
        release.next = Some(release.next.map_or(again, |next| next.min(again)));
    }
    release
}

/// What is named in a namespace although nobody asks for it.
fn unasked(place: &Place, wanted: &Wanted) -> Vec<(String, Claim)> {
    let mut unasked = vec![];
    for (name, account) in &place.accounts {
        let asked = wanted.accounts.get(name);
        for secret in account.links.claims.0.keys() {
            if asked.is_none_or(|secrets| !secrets.contains_key(secret)) {
                unasked.extend(claims_of(&account.links.claims, secret).map(|claim| (secret.clone(), claim)));
            }
        }
    }
    let table = place.table.iter().filter(|table| table.content.is_ours);
    for claims in table.map(|table| &table.content.claims) {
        for secret in claims.0.keys() {
            let asked = wanted.table.get(secret);
            let claims = claims_of(claims, secret);
            let others = claims.filter(|it| asked.is_none_or(|row| !row.holders.contains_key(&it.reference)));
            unasked.extend(others.map(|claim| (secret.clone(), claim)));
        }
    }
    unasked.sort();
    unasked.dedup();
    unasked
}

async fn may_go(context: &Context, claim: &Claim, question: &Question) -> bool {
    let reference = &claim.reference;
    match question {
        Question::IsUnchanged(identity) => {
            let key = (reference.clone(), identity.uid.clone(), identity.generation);
            if let Some(known) = fresh(context, &context.linking.looks.unchanged, &key) {
                return known;
            }
            let (uid, generation) = (Some(identity.uid.clone()), Some(identity.generation));
            let seen = ObjectMeta { uid, generation, ..ObjectMeta::default() };
            let is_unchanged = matches!(live::is_unchanged(&context.client, reference, &seen).await, Ok(Ok(true)));
            keep(context, &context.linking.looks.unchanged, key, is_unchanged);
            is_unchanged
        }
        Question::IsGone => {
            let standing = match fresh(context, &context.linking.looks.gone, reference) {
                Some(known) => known,
                None => {
                    let found = look_for(context, reference).await;
                    keep(context, &context.linking.looks.gone, reference.clone(), found);
                    found
                }
            };
            standing.is_some_and(|standing| verdict::by_kind(claim.created, standing).is_ok())
                && context.index.is_gone(reference)
        }
    }
}

/// How the kind of a connection stands, if the connection is gone. The look at the kind comes last: only while it stands does the
/// absence of a connection mean anything.
async fn look_for(context: &Context, reference: &ConnectionReference) -> Option<Standing> {
    let kind: Kind = reference.kind();
    match live::presence(&context.client, reference).await {
        Ok(Presence::Gone) => live::definition(&context.client, kind).await.ok(),
        Ok(Presence::There | Presence::NotServed | Presence::Denied) | Err(_) => None,
    }
}

type Answers<K, V> = Mutex<HashMap<K, (Duration, V)>>;

fn fresh<K: std::hash::Hash + Eq, V: Clone>(context: &Context, answers: &Answers<K, V>, key: &K) -> Option<V> {
    let now = context.clock.uptime();
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers.retain(|_, (at, _)| now < at.saturating_add(FRESH));
    answers.get(key).map(|(_, answer)| answer.clone())
}

fn keep<K: std::hash::Hash + Eq, V>(context: &Context, answers: &Answers<K, V>, key: K, answer: V) {
    let now = context.clock.uptime();
    answers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (now, answer));
}
