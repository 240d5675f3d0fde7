//! Condition types, and the only way a condition changes.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Reason;

/// The condition types of a connection.
///
/// `Ready`, `CredentialsValid` and `Delivered` are always present and good when True, `Linked` where links are asked for. `Reconciling` and `Stalled` are
/// present only when True, never both, as kstatus expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Pods can pull with what was delivered.
    Ready,
    /// The registry accepts the credential.
    CredentialsValid,
    /// The Secret holds the current credential.
    Delivered,
    /// ServiceAccounts and Pods name the Secret as they should. Present only if that is asked for.
    Linked,
    /// The operator works on it, or waits for something that is expected to come by itself.
    Reconciling,
    /// It will not get better by itself.
    Stalled,
}

impl ConditionType {
    /// The name as it stands in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::CredentialsValid => "CredentialsValid",
            Self::Delivered => "Delivered",
            Self::Linked => "Linked",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It could not be found out.
    Unknown,
}

impl ConditionStatus {
    /// The value as it stands in `status.conditions[].status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition should say, before its times are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Which condition.
    pub kind: ConditionType,
    /// Its value.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// The reason in a sentence for the user.
    pub message: String,
}

/// The condition of the given type.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// True if the condition of the given type is present with value True.
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// The reason of a condition, unless a newer operator wrote one that this one does not know.
pub fn reason_of(condition: &Condition) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason)
}

/// The conditions that follow `old`: those of `desired` and no others. `lastTransitionTime` moves only when the value
/// of a condition changes, as the Kubernetes API conventions ask.
pub fn transition(old: &[Condition], desired: &[Desired], generation: i64, now: Timestamp) -> Vec<Condition> {
    desired
        .iter()
        .map(|desired| {
            let since = find(old, desired.kind)
                .filter(|old| old.status == desired.status.as_str())
                .map_or(Time(now), |old| old.last_transition_time.clone());
            Condition {
                type_: desired.kind.as_str().to_owned(),
                status: desired.status.as_str().to_owned(),
                reason: desired.reason.as_str().to_owned(),
                message: desired.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: since,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: ConditionStatus, message: &str) -> Desired {
        Desired { kind: ConditionType::Ready, status, reason: Reason::LoginProven, message: message.into() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn keeps_the_transition_time_while_the_value_stays() {
        let first = transition(&[], &[ready(ConditionStatus::True, "a")], 1, at(10));
        let second = transition(&first, &[ready(ConditionStatus::True, "b")], 2, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].message, "b");
        assert_eq!(second[0].observed_generation, Some(2));
    }

    #[test]
    fn moves_the_transition_time_when_the_value_changes() {
        let first = transition(&[], &[ready(ConditionStatus::True, "a")], 1, at(10));
        let second = transition(&first, &[ready(ConditionStatus::False, "a")], 1, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(20)));
    }

    #[test]
    fn drops_conditions_that_are_no_longer_wanted() {
        let first = transition(
            &[],
            &[
                ready(ConditionStatus::False, "a"),
                Desired {
                    kind: ConditionType::Stalled,
                    status: ConditionStatus::True,
                    reason: Reason::InvalidSpec,
                    message: "x".into(),
                },
            ],
            1,
            at(10),
        );
        assert!(is_true(&first, ConditionType::Stalled));
        let second = transition(&first, &[ready(ConditionStatus::True, "a")], 1, at(20));
        assert_eq!(find(&second, ConditionType::Stalled), None);
    }
}
