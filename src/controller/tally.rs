//! How all targets of a connection stand: how many hold the credential, which cannot, and why. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    observe::Observed,
    plan::{Pattern, Standing},
    policy::Delivery,
    sighting::SecretState,
    validate::Connection,
};
use crate::{
    api::{
        ConditionType, Reason, condition,
        names::ALLOW_REMOVAL_ANNOTATION,
        status::{DeliveredCredential, TargetFailure, Targets},
    },
    domain::reference::Kind,
    problem::{Problem, field},
};

/// How many failures a status names.
const MAX_FAILURES: usize = 10;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What follows for the connection.
    pub delivery: Delivery,
    /// What the status says.
    pub targets: Targets,
}

/// What is wrong in single namespaces, so far.
#[derive(Default)]
struct Failures {
    all: Vec<TargetFailure>,
    /// How many share a reason, and the first of them.
    by_reason: BTreeMap<Reason, (usize, Problem)>,
}

impl Failures {
    fn add(&mut self, namespace: &str, problem: Problem) {
        self.all.push(TargetFailure { namespace: namespace.to_owned(), reason: problem.reason });
        self.by_reason.entry(problem.reason).or_insert((0, problem)).0 += 1;
    }

    /// The problem that most have.
    fn commonest(&self) -> Option<&Problem> {
        self.by_reason.values().max_by_key(|(count, _)| *count).map(|(_, problem)| problem)
    }
}

/// How the targets stand to the credential that the status names, or is about to.
pub fn tally(
    connection: &Connection,
    observed: &Observed,
    delivered: Option<&DeliveredCredential>,
    now: Timestamp,
) -> Tally {
    let pattern = Pattern::new(connection, delivered);
    let revision = delivered.map(|credential| credential.revision.as_str());
    let (mut current, mut outstanding, mut failures) = (0, 0, Failures::default());
    for (namespace, state) in observed.targets.iter() {
        let denial = || observed.denial(namespace, state, revision, now).map(|denial| denial.problem.clone());
        match pattern.standing(namespace, state) {
            Standing::Current => current += 1,
            Standing::Foreign(problem) => failures.add(namespace, problem),
            Standing::Missing | Standing::Outdated(_) => match denial() {
                Some(problem) => failures.add(namespace, problem),
                None => outstanding += 1,
            },
        }
    }
    conclude(connection.reference.kind(), observed, current, outstanding, failures)
}

fn conclude(kind: Kind, observed: &Observed, current: usize, outstanding: usize, mut failures: Failures) -> Tally {
    for namespace in observed.targets.left_out() {
        failures.add(namespace, too_many(observed.targets.len(), observed.targets.left_out().len()));
    }
    let blocked = observed.targets.blocked();
    let failed = failures.all.len();
    let trouble = match blocked {
        0 => failures.commonest().cloned(),
        _ => Some(removal_blocked(blocked)),
    };
    let delivery = match (outstanding, trouble) {
        (0, None) => Delivery::Current,
        // One namespace must not turn the others' light red.
        // Nor does an edit that waits: what it would take away still works.
        (0, Some(problem)) if kind == Kind::Cluster && (current > 0 || blocked > 0 && failed == 0) => {
            Delivery::Partial(problem)
        }
        (0, Some(problem)) => Delivery::Impossible(problem),
        (_, _) => Delivery::Outstanding,
    };
    failures.all.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    failures.all.truncate(MAX_FAILURES);
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let targets = Targets {
        desired: count(observed.targets.len() + observed.targets.left_out().len()),
        current: count(current),
        failed: count(failed),
        blocked: (blocked > 0).then(|| count(blocked)),
        failures: failures.all,
    };
    Tally { delivery, targets }
}

/// How the targets stand as far as the status tells: all that is known while the spec makes no sense.
pub fn as_told(observed: &Observed) -> Tally {
    let was_delivered = condition::is_true(&observed.status.conditions, ConditionType::Delivered);
    let is_there = |state: &SecretState| matches!(state, SecretState::Present(_));
    let present = observed.targets.iter().filter(|(_, state)| is_there(state)).count();
    // What was not told to hold it may hold anything.
    let told = observed.status.targets.as_ref().map_or(0, |targets| usize::try_from(targets.current).unwrap_or(0));
    let current = if was_delivered { present } else { present.min(told) };
    conclude(observed.object.kind(), observed, current, observed.targets.len() - current, Failures::default())
}

fn too_many(served: usize, left_out: usize) -> Problem {
    Problem::new(
        Reason::TooManyTargets,
        format!("{left_out} more namespaces are selected than the {served} that the connection serves already"),
    )
    .at(field::MAX_TARGETS)
    .hint("raise spec.maxTargets, or select fewer namespaces")
}

fn removal_blocked(count: usize) -> Problem {
    Problem::new(
        Reason::RemovalBlocked,
        format!("an edit of the selection would take the Secret from {count} namespaces; it stays, and is renewed, until that is allowed"),
    )
    .at(field::VISIBILITY)
    .hint(format!("if that is meant, allow it with the annotation {ALLOW_REMOVAL_ANNOTATION}: \"{count}\"; else select them again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::ClusterRegistryConnection,
        controller::{
            fixture::{connection, delivered, holding_in, minutes_later, named, object_json, observed, present},
            select::Served,
            targets,
        },
    };
    use serde_json::json;
    use std::sync::Arc;

    /// A connection of the cluster whose targets are in these states, in namespaces `n0` and so on.
    fn wide(states: &[&str], left_out: usize, blocked: usize) -> Tally {
        let object = object_json(|object| {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            object["spec"]["visibility"] = json!("All");
        });
        let object: crate::api::Declared = serde_json::from_value::<ClusterRegistryConnection>(object).unwrap().into();
        let connection = connection(&object);
        let name = |number: usize| Arc::<str>::from(format!("n{number}"));
        let served = Served {
            namespaces: (0..states.len()).map(name).collect(),
            left_out: (90..90 + left_out).map(name).collect(),
            blocked: (500..500 + blocked).map(name).collect(),
            dropped: vec![],
        };
        let state = |namespace: &str| match states[namespace[1..].parse::<usize>().unwrap()] {
            "holds" => holding_in(&connection, namespace, &named("r1")),
            "old" => holding_in(&connection, namespace, &named("r0")),
            "foreign" => present("x", "1"),
            _ => SecretState::Absent,
        };
        let targets = targets::Targets::new("images", served, |namespace| state(namespace));
        let observed = Observed { object: Arc::new(object), targets, ..observed(delivered(|_| {})) };
        tally(&connection, &observed, Some(&named("r1")), minutes_later(1))
    }

    fn counts(tally: &Tally) -> (i32, i32, i32) {
        (tally.targets.current, tally.targets.desired, tally.targets.failed)
    }

    #[test]
    fn single_namespaces_fail_alone_and_only_all_of_them_together_fail_the_connection() {
        let some = wide(&["holds", "foreign", "holds"], 0, 0);
        assert!(matches!(&some.delivery, Delivery::Partial(problem) if problem.reason == Reason::TargetConflict));
        assert_eq!(counts(&some), (2, 3, 1));
        assert_eq!(some.targets.failures[0].namespace, "n1");
        assert!(matches!(wide(&["foreign", "foreign"], 0, 0).delivery, Delivery::Impossible(_)));
        let under_way = wide(&["holds", "foreign", "old", "absent"], 0, 0);
        assert_eq!((under_way.delivery.clone(), counts(&under_way)), (Delivery::Outstanding, (1, 4, 1)));
        assert_eq!(wide(&[], 0, 0).delivery, Delivery::Current, "nothing is wanted, and nothing is missing");
    }

    #[test]
    fn tells_who_is_left_out_and_what_waits_to_be_removed() {
        let many = wide(&["holds"], 12, 0);
        assert!(matches!(&many.delivery, Delivery::Partial(problem) if problem.reason == Reason::TooManyTargets));
        assert_eq!((counts(&many), many.targets.failures.len()), ((1, 13, 12), MAX_FAILURES));
        let all_wait = wide(&[], 0, 300);
        assert!(matches!(&all_wait.delivery, Delivery::Partial(problem) if problem.reason == Reason::RemovalBlocked));
        let waits = wide(&["holds", "holds", "foreign"], 0, 2);
        let Delivery::Partial(problem) = &waits.delivery else { panic!("{:?}", waits.delivery) };
        assert_eq!((problem.reason, waits.targets.blocked), (Reason::RemovalBlocked, Some(2)));
        assert!(problem.hint.as_ref().is_some_and(|hint| hint.contains("regcred.dev/allow-removal-of: \"2\"")));
    }
}
