//! What is told of links: the condition `Linked`, and what it makes of the others. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::policy::desired;
use crate::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus,
        condition::{self, ConditionStatus, Desired, reason_of},
    },
    linking::standing::Linkage,
    problem::Problem,
};

/// The conditions of a connection that asks for links, from those that are true without them. If nothing that was asked for works,
/// and that is not going to change by itself, nobody can pull because of this connection, however good its login.
pub fn with_links(mut conditions: Vec<Desired>, linkage: &Linkage) -> Vec<Desired> {
    let is_ready = |it: &Desired| it.kind == ConditionType::Ready && it.status == ConditionStatus::True;
    let linked = |status, reason, message: &str| desired(ConditionType::Linked, status, reason, message.to_owned());
    let Some(problem) = &linkage.problem else {
        conditions.push(match (linkage.is_under_way, linkage.waits) {
            (true, _) => linked(ConditionStatus::False, Reason::Progressing, "links are being made"),
            (false, true) => linked(ConditionStatus::False, Reason::Progressing, &linkage.summary),
            (false, false) => linked(ConditionStatus::True, Reason::Linked, &linkage.summary),
        });
        return conditions;
    };
    let told = |kind, status| desired(kind, status, problem.reason, problem.message.clone());
    if !linkage.works
        && let Some(ready) = conditions.iter_mut().find(|it| is_ready(it))
    {
        *ready = told(ConditionType::Ready, ConditionStatus::False);
        conditions.push(told(ConditionType::Stalled, ConditionStatus::True));
    }
    conditions.push(told(ConditionType::Linked, ConditionStatus::False));
    conditions
}

/// The condition as it was, for a connection of which nothing can be said now: its links stay as they are.
pub fn as_before(conditions: &[Condition]) -> Option<Desired> {
    let linked = condition::find(conditions, ConditionType::Linked)?;
    let status = [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown]
        .into_iter()
        .find(|status| status.as_str() == linked.status)?;
    Some(Desired { kind: ConditionType::Linked, status, reason: reason_of(linked)?, message: linked.message.clone() })
}

/// What was told of the links last, for a process that has not looked yet. None if nothing was told.
pub fn told_before(status: &RegistryConnectionStatus) -> Option<Linkage> {
    let Desired { status: value, reason, message, .. } = as_before(&status.conditions)?;
    let told = Linkage { accounts: status.linked_service_accounts, summary: message.clone(), ..Linkage::default() };
    Some(match value {
        ConditionStatus::True => Linkage { works: true, ..told },
        ConditionStatus::False | ConditionStatus::Unknown if reason == Reason::Progressing => {
            Linkage { waits: true, ..told }
        }
        ConditionStatus::False | ConditionStatus::Unknown => {
            let error = status.last_error.as_ref().filter(|error| error.code == reason);
            let problem = error.map_or_else(|| Problem::new(reason, message), Problem::from_last_error);
            let ready = condition::find(&status.conditions, ConditionType::Ready);
            let works = ready.is_none_or(|ready| reason_of(ready) != Some(reason));
            Linkage { problem: Some(problem), works, ..told }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionStatus::{False, True};

    fn row(ready: ConditionStatus, linkage: &Linkage) -> Vec<String> {
        let before = vec![desired(ConditionType::Ready, ready, Reason::LoginProven, "before".into())];
        let told = with_links(before, linkage).into_iter();
        told.map(|it| format!("{}={}/{}", it.kind.as_str(), it.status.as_str(), it.reason)).collect()
    }

    #[test]
    fn a_link_that_fails_turns_the_light_red_only_if_no_other_works() {
        let problem = || Some(Problem::new(Reason::DefaultTaken, "taken"));
        let works = Linkage { works: true, ..Linkage::default() };
        for (name, ready, linkage, expected) in [
            ("all is well", True, works.clone(), &["Ready=True/LoginProven", "Linked=True/Linked"][..]),
            (
                "another one works",
                True,
                Linkage { problem: problem(), ..works },
                &["Ready=True/LoginProven", "Linked=False/DefaultTaken"],
            ),
            (
                "none works",
                True,
                Linkage { problem: problem(), ..Linkage::default() },
                &["Ready=False/DefaultTaken", "Stalled=True/DefaultTaken", "Linked=False/DefaultTaken"],
            ),
            (
                "none works, and it was not ready for another cause",
                False,
                Linkage { problem: problem(), ..Linkage::default() },
                &["Ready=False/LoginProven", "Linked=False/DefaultTaken"],
            ),
            (
                "the account does not exist yet",
                True,
                Linkage { waits: true, ..Linkage::default() },
                &["Ready=True/LoginProven", "Linked=False/Progressing"],
            ),
            (
                "nobody has looked yet",
                True,
                Linkage { is_under_way: true, ..Linkage::default() },
                &["Ready=True/LoginProven", "Linked=False/Progressing"],
            ),
        ] {
            assert_eq!(row(ready, &linkage), expected, "{name}");
        }
    }
}
