//! Live looks before anything is taken away: what the watches say is not enough. IO.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::{
    leaving::{Claim, Fate, Question, Released, claims_of, fate},
    place::Place,
    wanted::Wanted,
    wish::Identity,
};
use crate::{
    controller::{
        Context,
        secret_meta::ObjectKey,
        sweep::{
            live,
            verdict::{self, Finding, Presence, Standing},
        },
    },
    domain::reference::{ConnectionReference, Kind},
};

/// An answer is that old at most when something is taken away because of it: many namespaces ask the same.
const FRESH: Duration = Duration::from_secs(1);

/// After an answer that keeps everything in place the question is put again after this time.
const AGAIN: Duration = Duration::from_secs(300);

/// And after this time, if there was none.
const UNANSWERED: Duration = Duration::from_secs(10);

/// Answers, and when they were given, as uptime.
type Answers<K, V> = Mutex<HashMap<K, (Duration, V)>>;

/// The answers of a moment ago; see [`FRESH`].
#[derive(Default)]
pub struct Looks {
    unchanged: Answers<Identity, Answer>,
    gone: Answers<ConnectionReference, Result<Standing, Answer>>,
    /// When each kind was installed, as far as that was seen. It can only have been installed again since.
    kinds: Mutex<BTreeMap<Kind, Timestamp>>,
}

/// Whether something may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    /// Not now; it is worth another look.
    NotNow,
    /// Nobody answered.
    Unanswered,
    /// Not while its connection stays away.
    No,
}

/// What may go, and when the rest is worth another look, as uptime.
#[derive(Default)]
pub struct Release {
    /// By the name of the Secret.
    pub released: BTreeMap<String, Released>,
    /// None if only a change makes a difference.
    pub next: Option<Duration>,
}

/// So many questions are asked in one look at a namespace. Anybody may write an annotation that calls for thousands.
const QUESTIONS: usize = 32;

/// The others are asked after this time, if anything came of these.
const NEXT_QUESTIONS: Duration = Duration::from_secs(1);

/// Finds out what of all that is named in a namespace, and that nobody asks for, may go now.
pub async fn release(context: &Context, namespace: &str, place: &Place, wanted: &Wanted) -> Release {
    let mut release = Release::default();
    let mut questions = 0;
    let unasked = unasked(place, wanted);
    let mut are_more = false;
    for (secret, claim) in &unasked {
        let key = ObjectKey { namespace: namespace.to_owned(), name: secret.clone() };
        let written = context.index.policy_on(&key, &claim.reference);
        let Fate::Goes(from, question) = fate(place, wanted, claim, written) else { continue };
        let now = context.clock.uptime();
        let again = if stays_for_good(context, claim, &question) {
            continue;
        } else if now < from {
            from
        } else if questions == QUESTIONS {
            are_more = true;
            now.saturating_add(AGAIN)
        } else {
            questions += 1;
            match ask(context, claim, &question).await {
                Answer::Yes => {
                    release.released.entry(secret.clone()).or_default().insert(claim.clone());
                    continue;
                }
                Answer::NotNow => now.saturating_add(AGAIN),
                Answer::Unanswered => now.saturating_add(UNANSWERED),
                Answer::No => continue,
            }
        };
        release.next = Some(release.next.map_or(again, |next| next.min(again)));
    }
    // As long as something goes each time, the others come soon.
    let goes = |secret: &String, released: &Released| {
        unasked.iter().filter(|(name, _)| name == secret).all(|(_, claim)| released.contains(claim))
    };
    if are_more && release.released.iter().any(|(secret, released)| goes(secret, released)) {
        release.next = Some(context.clock.uptime().saturating_add(NEXT_QUESTIONS));
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

/// Whether it is known without a look that a claim stays: its kind was installed anew since its connection was made.
fn stays_for_good(context: &Context, claim: &Claim, question: &Question) -> bool {
    let kinds = context.linking.looks.kinds.lock().unwrap_or_else(PoisonError::into_inner);
    *question == Question::IsGone && kinds.get(&claim.reference.kind()).is_some_and(|since| *since > claim.created)
}

async fn ask(context: &Context, claim: &Claim, question: &Question) -> Answer {
    let reference = &claim.reference;
    match question {
        Question::IsUnchanged(identity) => {
            if let Some(known) = fresh(context, &context.linking.looks.unchanged, identity) {
                return known;
            }
            let (uid, generation) = (Some(identity.uid.clone()), Some(identity.generation));
            let seen = ObjectMeta { uid, generation, ..ObjectMeta::default() };
            let answer = match live::is_unchanged(&context.client, reference, &seen).await {
                Ok(Ok(true)) => Answer::Yes,
                Ok(Ok(false) | Err(_)) => Answer::NotNow,
                Err(_) => Answer::Unanswered,
            };
            keep(context, &context.linking.looks.unchanged, identity.clone(), answer);
            answer
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
            match standing.map(|standing| verdict::by_kind(claim.created, standing)) {
                Ok(Ok(())) if context.index.is_gone(reference) => Answer::Yes,
                Ok(Ok(())) => Answer::NotNow,
                Ok(Err(Finding::KindYounger)) => {
                    tracing::info!(
                        connection = %reference,
                        "what is named for it stays: its CustomResourceDefinition was installed anew since it was created"
                    );
                    Answer::No
                }
                Ok(Err(_)) => Answer::NotNow,
                Err(answer) => answer,
            }
        }
    }
}

/// How the kind of a connection stands, if the connection is gone. The look at the kind comes last: only while it stands does the
/// absence of a connection mean anything.
async fn look_for(context: &Context, reference: &ConnectionReference) -> Result<Standing, Answer> {
    let kind: Kind = reference.kind();
    match live::presence(&context.client, reference).await {
        Ok(Presence::Gone) => {
            let standing = live::definition(&context.client, kind).await;
            if let Ok(Standing::Served(since)) = standing {
                let mut kinds = context.linking.looks.kinds.lock().unwrap_or_else(PoisonError::into_inner);
                kinds.entry(kind).and_modify(|known| *known = since.max(*known)).or_insert(since);
            }
            standing.map_err(|_| Answer::Unanswered)
        }
        Ok(Presence::There | Presence::NotServed | Presence::Denied) => Err(Answer::NotNow),
        Err(_) => Err(Answer::Unanswered),
    }
}

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
