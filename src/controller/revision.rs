//! The name of a credential as it is delivered: new for every change, never used again, and no hash of anything.

use jiff::Timestamp;

use super::{observe::Observed, verify::Accepted};

/// The revision of an accepted credential: the recorded one if what it is rendered to is what was delivered, else a new
/// [`new`] one.
pub fn revision(observed: &Observed, accepted: &Accepted, now: Timestamp) -> String {
    let status = &observed.status;
    let is_delivered = observed.memory.accepted.map_or_else(
        || {
            // A fresh process: the same spec and the same source, accepted before, give the same credential.
            let was_accepted = status.last_test.as_ref().is_some_and(|test| test.verdict.is_acceptance());
            was_accepted
                && status.observed_generation == Some(observed.generation())
                && accepted.inputs.iter().all(|input| status.observed_inputs.contains(input))
        },
        |delivered| delivered == accepted.rendered,
    );
    match &status.credential {
        Some(credential) if is_delivered => credential.revision.clone(),
        Some(_) | None => new(observed.uid(), now),
    }
}

/// A revision that no credential of the connection with this UID had before: the beginning of the UID, the time, and a random
/// part, as two processes may have a credential issued in the same millisecond.
pub fn new(uid: &str, now: Timestamp) -> String {
    let uid: String = uid.chars().take(8).collect();
    format!("{uid}-{:x}-{:08x}", now.as_millisecond(), fastrand::u32(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_revisions_are_the_same_even_if_made_at_the_same_moment() {
        let now = Timestamp::UNIX_EPOCH;
        assert_ne!(new("9f8e", now), new("9f8e", now));
    }
}
