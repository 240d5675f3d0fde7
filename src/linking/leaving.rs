//! What is named for a connection that does not ask for it, or not any more: whether it may go is found out as for the Secrets
//! themselves (`docs/design/0003`). Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    claims::Claims,
    place::{Place, Word},
    wanted::Wanted,
    wish::Identity,
};
use crate::{
    api::connection::DeletionPolicy,
    controller::{
        index::LastSeen,
        sweep::{GRACE, verdict},
    },
    domain::reference::ConnectionReference,
};

/// Something that is named for a connection, as far as it matters to whether it may go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// For whom.
    pub reference: ConnectionReference,
    /// When that connection was created, as it was told then.
    pub created: Timestamp,
}

/// What is to be found out before something may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the connection still is what was seen.
    IsUnchanged(Identity),
    /// Whether the connection is gone, and its kind is older than it.
    IsGone,
}

/// What is known of a claim that nobody asks for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Stays,
    /// It may go from this uptime on, if the answer is yes.
    Goes(Duration, Question),
}

/// The fate of what is named for a connection under this name, if nobody asks for it. `written` is the deletionPolicy on the Secret
/// of that name, if it is the connection's; none if there is no such Secret.
pub fn fate(place: &Place, wanted: &Wanted, claim: &Claim, written: Option<DeletionPolicy>) -> Fate {
    let reference = &claim.reference;
    if wanted.at_rest.contains(reference) {
        return Fate::Stays;
    }
    match place.words.get(reference) {
        None | Some(Word::Silent) => Fate::Stays,
        Some(Word::Speaks(identity)) => {
            let asks_here = place.asking.iter().find(|asking| asking.wish.connection.reference == *reference);
            // Under another name it is not there yet: until then Pods need the one they have.
            let is_renamed_too_early = asks_here.is_some() && !wanted.arrived.contains(reference) && written.is_some();
            match is_renamed_too_early {
                true => Fate::Stays,
                false => Fate::Goes(Duration::ZERO, Question::IsUnchanged(identity.clone())),
            }
        }
        Some(Word::Gone { since, policy }) => match goes_with_its_connection(*policy, written) {
            true => Fate::Goes(since.saturating_add(GRACE), Question::IsGone),
            false => Fate::Stays,
        },
    }
}

/// Whether the end of a connection is the end of its links: of a Secret that stays they stay, and of one that is not there they go.
fn goes_with_its_connection(seen: Option<LastSeen>, written: Option<DeletionPolicy>) -> bool {
    let written = written.or(seen.is_none().then_some(DeletionPolicy::Delete));
    verdict::wish(seen, written) == Some(DeletionPolicy::Delete)
}

/// What was found out of claims: those that may go.
pub type Released = BTreeSet<Claim>;

/// All claims of a Secret in an object.
pub fn claims_of<'a>(claims: &'a Claims, secret: &str) -> impl Iterator<Item = Claim> + 'a {
    let holders = claims.of(secret).into_iter().flatten();
    holders.map(|(reference, created)| Claim { reference: reference.clone(), created: *created })
}

/// Whether everything that a Secret is named for may go.
pub fn may_go(claims: &Claims, secret: &str, released: &BTreeMap<String, Released>) -> bool {
    let released = released.get(secret);
    claims_of(claims, secret).all(|claim| released.is_some_and(|released| released.contains(&claim)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::{
        fixture::{asking, place, wish},
        place::Naming,
        wanted::wanted,
    };
    use DeletionPolicy::{Delete, Retain};
    use LastSeen::{AtTheEnd, Before};
    use serde_json::json;

    fn claim() -> Claim {
        let created = "2026-01-01T01:00:00Z".parse().unwrap();
        Claim { reference: ConnectionReference::namespaced("shop", "images"), created }
    }

    /// What becomes of what is named for `images` and nobody asks for, if this is known of it.
    fn fate_of(word: Option<Word>, written: Option<DeletionPolicy>) -> Fate {
        let place = Place { words: word.map(|word| (claim().reference, word)).into_iter().collect(), ..place(vec![]) };
        fate(&place, &wanted(&place), &claim(), written)
    }

    #[test]
    fn what_nobody_surely_wants_to_go_stays() {
        let since = Duration::from_secs(100);
        let gone = |policy| Some(Word::Gone { since, policy });
        let due = since + GRACE;
        for (name, word, written, goes) in [
            ("nothing is known of it", None, Some(Delete), None),
            ("it is suspended, or cannot be read", Some(Word::Silent), Some(Delete), None),
            ("it went, and said so", gone(Some(AtTheEnd(Delete))), None, Some(due)),
            ("it is to be retained", gone(Some(AtTheEnd(Retain))), Some(Delete), None),
            ("its last word may have been missed", gone(Some(Before(Delete))), Some(Retain), None),
            ("it went before the start, and its Secret stays", gone(None), Some(Retain), None),
            ("it went before the start, and its Secret goes", gone(None), Some(Delete), Some(due)),
            ("it went before the start, and so did its Secret", gone(None), None, Some(due)),
        ] {
            let expected = goes.map_or(Fate::Stays, |from| Fate::Goes(from, Question::IsGone));
            assert_eq!(fate_of(word, written), expected, "{name}");
        }
    }

    #[test]
    fn the_name_of_before_goes_when_the_secret_of_the_new_one_is_there() {
        for (naming, written, goes) in
            [(Naming::Awaited, Some(Delete), false), (Naming::There, Some(Delete), true), (Naming::Awaited, None, true)]
        {
            let wish = wish("images", 1, json!({"isDefault": true, "secret": {"name": "new"}}));
            let identity = wish.connection.clone();
            let mut place = place(vec![asking(wish, naming)]);
            place.words.insert(claim().reference, Word::Speaks(identity.clone()));
            let expected = match goes {
                true => Fate::Goes(Duration::ZERO, Question::IsUnchanged(identity)),
                false => Fate::Stays,
            };
            assert_eq!(fate(&place, &wanted(&place), &claim(), written), expected, "{naming:?} {written:?}");
        }
    }
}
