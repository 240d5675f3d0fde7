//! Whether a Secret whose connection seems to be gone may be removed. Pure.
//!
//! The question is not whether the connection is there, but whether somebody took it away. A kind that is not served, is
//! on its way out, or was installed after the connection was made takes all connections away without anybody having
//! wanted that of one of them.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::connection::DeletionPolicy,
    controller::{
        index::{LastSeen, Orphan},
        policy::backoff,
        remove::{Looked, Removed},
        secret_meta::{ObjectKey, Ownership, SecretMeta},
    },
    domain::reference::ConnectionReference,
};

/// After what is no fault but may pass, such as a kind that is not installed, a Secret is looked at again after this time.
pub const SLOW: Duration = Duration::from_secs(300);

/// What a live look for a connection showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    There,
    /// The API server, which serves the kind, says that there is none of that name.
    Gone,
    /// The address is not served: that says nothing about the connection.
    NotServed,
    /// We may not look.
    Denied,
}

/// What a live look at the CustomResourceDefinition showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is established, and was created then.
    Served(Timestamp),
    /// It is not established (yet), or does not say since when it exists.
    Unready,
    /// It is being deleted, and all connections with it.
    Ending,
    /// There is none.
    Missing,
    /// We may not look.
    Denied,
}

/// What the operator may have no right to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Look at the Secret.
    ReadSecret,
    /// Look for its connection.
    ReadConnection,
    /// Look at the CustomResourceDefinition.
    ReadKind,
    /// Remove the Secret.
    RemoveSecret,
}

impl Act {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReadSecret => "read it",
            Self::ReadConnection => "read its connection",
            Self::ReadKind => "read the CustomResourceDefinition",
            Self::RemoveSecret => "delete it",
        }
    }
}

/// What came of a Secret that might have to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It is gone.
    Removed,
    /// It is on its way out.
    Ending,
    /// Its connection wanted it to stay.
    Retained,
    /// What its connection wanted is not known.
    PolicyUnknown,
    /// When its connection was made is not known.
    AgeUnknown,
    /// It says that its connection was made later than the one of that name that is there.
    ConnectionOlder,
    /// The kind was installed anew since its connection was made.
    KindYounger,
    /// It is not what its metadata say, with a clause about it.
    Spared(String),
    /// Its connection is there; the watch is behind.
    ConnectionThere,
    /// It was written meanwhile; the watch is behind.
    Changed,
    /// The kind is not served.
    NotServed,
    /// The CustomResourceDefinition is not there.
    KindMissing,
    /// The CustomResourceDefinition is not established.
    KindUnready,
    /// The CustomResourceDefinition is being deleted.
    KindEnding,
    /// The API server does not let us do this.
    Denied(Act),
    /// The API server did not answer, or with a fault of its own.
    Unanswered,
}

impl Finding {
    /// True if it is about all connections at once, or all that are older, so that there is no use in looking at another one
    /// now.
    pub fn is_of_the_kind(&self) -> bool {
        match self {
            Self::NotServed
            | Self::KindMissing
            | Self::KindUnready
            | Self::KindEnding
            | Self::KindYounger
            | Self::Denied(Act::ReadKind) => true,
            Self::Denied(Act::ReadSecret | Act::ReadConnection | Act::RemoveSecret) => false,
            Self::Removed
            | Self::Ending
            | Self::Retained
            | Self::PolicyUnknown
            | Self::AgeUnknown
            | Self::ConnectionOlder
            | Self::Spared(_)
            | Self::ConnectionThere
            | Self::Changed
            | Self::Unanswered => false,
        }
    }

    /// After which pause the Secret is looked at again, while it stays as it is; none means never. `count` is how often in a
    /// row it came to the same, `jitter` a random number in 0..1.
    pub fn pause(&self, count: u32, jitter: f64) -> Option<Duration> {
        match self {
            Self::Removed
            | Self::Ending
            | Self::Retained
            | Self::PolicyUnknown
            | Self::AgeUnknown
            | Self::ConnectionOlder
            | Self::KindYounger
            | Self::Spared(_) => None,
            Self::ConnectionThere
            | Self::Changed
            | Self::NotServed
            | Self::KindMissing
            | Self::KindUnready
            | Self::KindEnding
            | Self::Denied(_) => Some(SLOW),
            Self::Unanswered => Some(backoff(count, jitter)),
        }
    }

    /// Why it was not removed, as a clause, if somebody should know.
    pub fn clause(&self) -> Option<String> {
        let clause = match self {
            Self::Removed
            | Self::Ending
            | Self::Retained
            | Self::ConnectionThere
            | Self::Changed
            | Self::Unanswered => return None,
            Self::PolicyUnknown => "it does not say whether it is to be deleted",
            Self::AgeUnknown => "it does not say when its connection was created",
            Self::ConnectionOlder => "it says that it was written for a connection that was created later",
            Self::KindYounger => {
                "the CustomResourceDefinition was installed anew since, which deletes all connections without anybody's wish"
            }
            Self::Spared(clause) => return Some(format!("it {clause}")),
            Self::NotServed | Self::KindMissing => "the CustomResourceDefinition is not installed",
            Self::KindUnready => "the CustomResourceDefinition is not established",
            Self::KindEnding => "the CustomResourceDefinition is being deleted",
            Self::Denied(act) => return Some(format!("the operator may not {}", act.as_str())),
        };
        Some(clause.to_owned())
    }
}

impl From<Removed> for Finding {
    fn from(removed: Removed) -> Self {
        match removed {
            Removed::Now | Removed::Before => Self::Removed,
            Removed::Ending => Self::Ending,
            Removed::Spared(clause) => Self::Spared(clause),
            Removed::Changed => Self::Changed,
            Removed::Denied => Self::Denied(Act::RemoveSecret),
            Removed::Undecided => Self::Unanswered,
        }
    }
}

/// Whether the Secret is to go, going by its marks and by what was seen of its connection: when that was created, or why
/// not.
pub fn by_marks(orphan: &Orphan) -> Result<Timestamp, Finding> {
    match policy(orphan) {
        Some(DeletionPolicy::Delete) => {}
        Some(DeletionPolicy::Retain) => return Err(Finding::Retained),
        None => return Err(Finding::PolicyUnknown),
    }
    orphan.seen.connection_created().ok_or(Finding::AgeUnknown)
}

/// What the connection of an orphan wanted for its Secrets, if that is known.
pub fn policy(orphan: &Orphan) -> Option<DeletionPolicy> {
    wish(orphan.policy, orphan.seen.deletion_policy())
}

/// For which connection of a name a Secret was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenFor {
    /// For the one that is there.
    This,
    /// For an earlier one, which was created then.
    Predecessor(Timestamp),
}

/// Whether a Secret that its connection does not write any more is to go, going by its own marks: for which connection it
/// was written, or why it stays. `created` is when the connection that is there was created.
///
/// The connection wants its old Secrets deleted, or nobody would ask. That says nothing about a Secret that was to stay
/// when it was written last: it may have been left on purpose, and Pods may name it.
pub fn by_marks_of_renamed(secret: &SecretMeta, created: Timestamp) -> Result<WrittenFor, Finding> {
    match secret.deletion_policy() {
        Some(DeletionPolicy::Delete) => {}
        Some(DeletionPolicy::Retain) => return Err(Finding::Retained),
        None => return Err(Finding::PolicyUnknown),
    }
    match secret.connection_created() {
        None => Err(Finding::AgeUnknown),
        Some(then) if then == created => Ok(WrittenFor::This),
        Some(then) if then < created => Ok(WrittenFor::Predecessor(then)),
        Some(_) => Err(Finding::ConnectionOlder),
    }
}

/// What a connection that is gone wanted for its Secrets: the last word that was seen. Where the watch may have missed the
/// last word, and the Secret says something else, nothing is taken away.
pub fn wish(seen: Option<LastSeen>, written: Option<DeletionPolicy>) -> Option<DeletionPolicy> {
    match (seen, written) {
        (Some(LastSeen::AtTheEnd(policy)), _) => Some(policy),
        (Some(LastSeen::Before(_)), Some(DeletionPolicy::Retain)) => Some(DeletionPolicy::Retain),
        (Some(LastSeen::Before(policy)), Some(DeletionPolicy::Delete) | None) => Some(policy),
        (None, written) => written,
    }
}

/// Whether the Secret may go, going by live looks at it and for its connection. The look at the kind comes after.
///
/// It must be the very form that was known before the looks began: a connection that was made anew meanwhile writes it.
pub fn by_looks(orphan: &Orphan, secret: &Looked<SecretMeta>, presence: Presence) -> Result<SecretMeta, Finding> {
    let found = match secret {
        Looked::There(found) => found,
        Looked::Ending => return Err(Finding::Ending),
        Looked::Absent => return Err(Finding::Removed),
        Looked::Denied => return Err(Finding::Denied(Act::ReadSecret)),
    };
    match presence {
        Presence::Gone => {}
        Presence::There => return Err(Finding::ConnectionThere),
        Presence::NotServed => return Err(Finding::NotServed),
        Presence::Denied => return Err(Finding::Denied(Act::ReadConnection)),
    }
    if (&found.uid, &found.resource_version) != (&orphan.seen.uid, &orphan.seen.resource_version) {
        return Err(Finding::Changed);
    }
    is_surely_of(&orphan.key, &orphan.reference, found).map_err(Finding::Spared)?;
    Ok(SecretMeta::clone(found))
}

/// Whether everything about a Secret says that it was written for this connection; else a clause that completes "it …".
pub fn is_surely_of(key: &ObjectKey, reference: &ConnectionReference, found: &SecretMeta) -> Result<(), String> {
    if found.owner(key).as_ref() == Some(reference) {
        return Ok(());
    }
    Err(match found.ownership(reference) {
        Ownership::Foreign(clause) => clause,
        Ownership::Ours => "lacks marks of regcred".to_owned(),
    })
}

/// Whether the absence of a connection created at `created` means anything, going by a look at the kind that was made
/// after the connection was looked for: as long as it stands, no connection goes without somebody's wish.
pub fn by_kind(created: Timestamp, kind: Standing) -> Result<(), Finding> {
    match kind {
        Standing::Served(since) if since <= created => Ok(()),
        Standing::Served(_) => Err(Finding::KindYounger),
        Standing::Unready => Err(Finding::KindUnready),
        Standing::Ending => Err(Finding::KindEnding),
        Standing::Missing => Err(Finding::KindMissing),
        Standing::Denied => Err(Finding::Denied(Act::ReadKind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::names::{CONNECTION_CREATED_ANNOTATION, DELETION_POLICY_ANNOTATION},
        controller::{
            fixture::{connection, created, minutes_later, object, target},
            secret_meta::Unusable,
            sighting::SecretState,
        },
    };
    use DeletionPolicy::{Delete, Retain};
    use LastSeen::{AtTheEnd, Before};
    use std::sync::Arc;

    fn orphan(policy: Option<LastSeen>, change: impl FnOnce(&mut SecretMeta)) -> Orphan {
        let connection = connection(&object(|_| {}));
        let SecretState::Present(meta) = target(&connection, "r1") else { panic!("absent") };
        let mut meta = SecretMeta { touched_by_us: true, ..SecretMeta::clone(&meta) };
        change(&mut meta);
        Orphan {
            key: ObjectKey { namespace: "shop".into(), name: connection.target.name.clone() },
            seen: Arc::new(meta),
            reference: connection.reference,
            since: Duration::ZERO,
            policy,
        }
    }

    #[test]
    fn the_last_word_that_was_seen_counts_and_silence_removes_nothing() {
        for (name, seen, written, expected) in [
            ("seen to the end", Some(AtTheEnd(Delete)), Some("Delete"), Ok(created())),
            ("edited right before", Some(AtTheEnd(Retain)), Some("Delete"), Err(Finding::Retained)),
            ("edited the other way", Some(AtTheEnd(Delete)), Some("Retain"), Ok(created())),
            ("the mark was lost", Some(AtTheEnd(Delete)), None, Ok(created())),
            ("missed, both agree", Some(Before(Delete)), Some("Delete"), Ok(created())),
            ("missed, the Secret says stay", Some(Before(Delete)), Some("Retain"), Err(Finding::Retained)),
            ("missed, the connection said stay", Some(Before(Retain)), Some("Delete"), Err(Finding::Retained)),
            ("after a restart", None, Some("Delete"), Ok(created())),
            ("after a restart, to stay", None, Some("Retain"), Err(Finding::Retained)),
            ("after a restart, no mark", None, None, Err(Finding::PolicyUnknown)),
            ("after a restart, a word of the future", None, Some("Archive"), Err(Finding::PolicyUnknown)),
        ] {
            let orphan = orphan(seen, |meta| {
                Arc::make_mut(&mut meta.marks).annotations.remove(DELETION_POLICY_ANNOTATION);
                let written = written.map(|word| (DELETION_POLICY_ANNOTATION.to_owned(), word.to_owned()));
                Arc::make_mut(&mut meta.marks).annotations.extend(written);
            });
            assert_eq!(by_marks(&orphan), expected, "{name}");
        }
    }

    #[test]
    fn a_secret_that_does_not_tell_the_age_of_its_connection_stays() {
        for time in [None, Some("yesterday")] {
            let orphan = orphan(Some(AtTheEnd(Delete)), |meta| {
                Arc::make_mut(&mut meta.marks).annotations.remove(CONNECTION_CREATED_ANNOTATION);
                let time = time.map(|time| (CONNECTION_CREATED_ANNOTATION.to_owned(), time.to_owned()));
                Arc::make_mut(&mut meta.marks).annotations.extend(time);
            });
            assert_eq!(by_marks(&orphan), Err(Finding::AgeUnknown));
        }
    }

    #[test]
    fn an_old_name_goes_only_if_it_was_to_go_when_it_was_written_for_this_connection_or_an_earlier_one() {
        use WrittenFor::{Predecessor, This};
        let (now, before, after) = (created(), minutes_later(-1), minutes_later(1));
        for (name, policy, written, expected) in [
            ("renamed", Some("Delete"), Some(now.to_string()), Ok(This)),
            ("created anew under another name", Some("Delete"), Some(before.to_string()), Ok(Predecessor(before))),
            ("of a connection to come", Some("Delete"), Some(after.to_string()), Err(Finding::ConnectionOlder)),
            ("no age", Some("Delete"), None, Err(Finding::AgeUnknown)),
            ("no time", Some("Delete"), Some("yesterday".into()), Err(Finding::AgeUnknown)),
            ("to stay", Some("Retain"), Some(now.to_string()), Err(Finding::Retained)),
            ("left by an earlier one on purpose", Some("Retain"), Some(before.to_string()), Err(Finding::Retained)),
            ("no policy", None, Some(now.to_string()), Err(Finding::PolicyUnknown)),
            ("a word of the future", Some("Archive"), Some(now.to_string()), Err(Finding::PolicyUnknown)),
        ] {
            let orphan = orphan(None, |meta| {
                let marks =
                    [(DELETION_POLICY_ANNOTATION, policy.map(str::to_owned)), (CONNECTION_CREATED_ANNOTATION, written)];
                for (key, value) in marks {
                    Arc::make_mut(&mut meta.marks).annotations.remove(key);
                    Arc::make_mut(&mut meta.marks).annotations.extend(value.map(|value| (key.to_owned(), value)));
                }
            });
            assert_eq!(by_marks_of_renamed(&orphan.seen, created()), expected, "{name}");
        }
    }

    #[test]
    fn only_a_look_that_shows_the_very_secret_and_no_connection_lets_it_go() {
        let orphan = orphan(None, |_| {});
        let there = |change: fn(&mut SecretMeta)| {
            let mut found = SecretMeta::clone(&orphan.seen);
            change(&mut found);
            Looked::There(Box::new(found))
        };
        let same = || there(|_| {});
        let spared = |clause: &str| Err(Finding::Spared(clause.to_owned()));
        for (name, secret, presence, expected) in [
            ("all as known", same(), Presence::Gone, Ok(())),
            ("the connection is there", same(), Presence::There, Err(Finding::ConnectionThere)),
            ("not served", same(), Presence::NotServed, Err(Finding::NotServed)),
            ("no right", same(), Presence::Denied, Err(Finding::Denied(Act::ReadConnection))),
            ("gone", Looked::Absent, Presence::Gone, Err(Finding::Removed)),
            ("ending", Looked::Ending, Presence::Gone, Err(Finding::Ending)),
            ("unreadable", Looked::Denied, Presence::Gone, Err(Finding::Denied(Act::ReadSecret))),
            ("written", there(|m| m.resource_version = "6".into()), Presence::Gone, Err(Finding::Changed)),
            ("made anew", there(|m| m.uid = "other".into()), Presence::Gone, Err(Finding::Changed)),
            (
                "another type",
                there(|m| m.unusable = Some(Unusable::WrongType("Opaque".into()))),
                Presence::Gone,
                spared("has type \"Opaque\" instead of \"kubernetes.io/dockerconfigjson\""),
            ),
            ("immutable", there(|m| m.unusable = Some(Unusable::Immutable)), Presence::Gone, spared("is immutable")),
            (
                "no label of regcred",
                there(|m| drop(Arc::make_mut(&mut m.marks).labels.remove("app.kubernetes.io/managed-by"))),
                Presence::Gone,
                spared("lacks marks of regcred"),
            ),
        ] {
            assert_eq!(by_looks(&orphan, &secret, presence).map(drop), expected, "{name}");
        }
    }

    #[test]
    fn another_owner_or_place_than_was_thought_spares_it() {
        let known = orphan(None, |_| {});
        let found = Looked::There(Box::new(SecretMeta::clone(&known.seen)));
        let other = Orphan { reference: ConnectionReference::namespaced("shop", "other"), ..known.clone() };
        assert!(matches!(by_looks(&other, &found, Presence::Gone), Err(Finding::Spared(_))));
        let copy = Orphan { key: ObjectKey { namespace: "copy".into(), ..known.key.clone() }, ..known };
        assert!(matches!(by_looks(&copy, &found, Presence::Gone), Err(Finding::Spared(_))));
    }

    #[test]
    fn a_kind_that_is_not_older_and_standing_proves_nothing() {
        for (kind, expected) in [
            (Standing::Served(created()), Ok(())),
            (Standing::Served(minutes_later(-1)), Ok(())),
            (Standing::Served(minutes_later(1)), Err(Finding::KindYounger)),
            (Standing::Unready, Err(Finding::KindUnready)),
            (Standing::Ending, Err(Finding::KindEnding)),
            (Standing::Missing, Err(Finding::KindMissing)),
            (Standing::Denied, Err(Finding::Denied(Act::ReadKind))),
        ] {
            assert_eq!(by_kind(created(), kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_is_for_good_is_not_looked_at_again_and_what_may_pass_is() {
        for (finding, again) in [
            (Finding::Removed, None),
            (Finding::Retained, None),
            (Finding::PolicyUnknown, None),
            (Finding::AgeUnknown, None),
            (Finding::ConnectionOlder, None),
            (Finding::KindYounger, None),
            (Finding::Spared("is immutable".into()), None),
            (Finding::ConnectionThere, Some(SLOW)),
            (Finding::NotServed, Some(SLOW)),
            (Finding::KindEnding, Some(SLOW)),
            (Finding::Denied(Act::RemoveSecret), Some(SLOW)),
            (Finding::Unanswered, Some(Duration::from_secs(1))),
        ] {
            assert_eq!(finding.pause(0, 0.0), again, "{finding:?}");
        }
    }
}
