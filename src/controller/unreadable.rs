//! What is said of a connection whose spec cannot be read. Nothing of it is worked on: what was delivered stays as it is,
//! and is not looked after.

use jiff::Timestamp;
use kube::runtime::controller::Action;

use super::{
    Context,
    error::Error,
    linked, mapper,
    policy::{self, Delivery, Facts},
    publish::{Subject, write},
    report::settle,
    sighting::SecretState,
    stored::Unreadable,
};
use crate::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus, condition,
        status::{LastError, Targets},
    },
    clock::whole_seconds,
    domain::reference::Kind,
    problem::Problem,
};

/// What to do about it.
const HINT: &str = "correct the field (`kubectl explain registryconnection.spec --recursive` shows what fits), or upgrade \
                    regcred if it was written for a newer version; what was delivered stays until then";

/// Says so in its status. Only a change can mend it, which the watch shows.
///
/// # Errors
/// [`Error`] if the API server did not take the status; trying again may help.
pub async fn tell(object: &Unreadable, context: &Context) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    let before = object.status.clone().unwrap_or_default();
    let delivered = match mapper::delivered(object) {
        Some(key) => context.index.secret(&key),
        // Nobody looks into all namespaces for one that cannot be read.
        None if object.kind == Kind::Cluster => SecretState::Unknown,
        None => SecretState::Absent,
    };
    let after = status(object, &delivered, now);
    if before == after {
        return Ok(Action::await_change());
    }
    let subject = Subject { kind: object.kind, metadata: &object.metadata, before: &before };
    match write(context, &subject, &after, now).await {
        Ok(()) | Err(Error::Gone) => Ok(Action::await_change()),
        Err(error) => Err(error),
    }
}

/// The status of a connection that cannot be read, whose delivered Secret is in this state.
fn status(object: &Unreadable, delivered: &SecretState, now: Timestamp) -> RegistryConnectionStatus {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let problem = Problem::new(Reason::InvalidSpec, object.misfit.message.clone()).hint(HINT);
    let delivery = match delivered {
        SecretState::Present(_) | SecretState::Unknown
            if condition::is_true(&before.conditions, ConditionType::Delivered) =>
        {
            Delivery::Current
        }
        SecretState::Present(_) | SecretState::Unknown | SecretState::Absent => Delivery::Outstanding,
    };
    let mut status = before.clone();
    if before.observed_generation != Some(generation) {
        // The recorded verdict is about another spec.
        status.observed_inputs.clear();
    }
    status.last_error = Some(LastError { field: Some(object.misfit.field.clone()), ..problem.to_last_error() });
    status.next_refresh_at = None;
    match object.kind {
        Kind::Namespaced => {
            let current = i32::from(delivery == Delivery::Current);
            status.targets = Some(Targets { desired: 1, current, ..Targets::default() });
        }
        // They are not looked after, so what was counted last stands.
        Kind::Cluster => {}
    }
    let places = status.targets.as_ref().filter(|_| object.kind == Kind::Cluster);
    let places = places.map(|targets| (targets.current, targets.desired));
    let secret = before.secret_name.as_deref().or(object.metadata.name.as_deref());
    let mut desired = policy::conditions(&Facts {
        problem: Some(&problem),
        expired: None,
        verdict: None,
        delivery: &delivery,
        subject: (before.registry_host.as_deref().unwrap_or("the registry"), secret.unwrap_or_default()),
        places,
        missing_for_long: false,
        ready_before: None,
    });
    desired.extend(linked::as_before(&before.conditions));
    settle(status, &before, &desired, generation, whole_seconds(now))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::controller::{
        decode::Misfit,
        fixture::{delivered, minutes_later, present},
        report::MAX_STATUS,
    };

    fn unreadable() -> Unreadable {
        let before = delivered(|object| object["metadata"]["generation"] = 2.into());
        let misfit = Misfit { field: "spec.provider".into(), message: "spec.provider is missing".into() };
        Unreadable { kind: Kind::Namespaced, metadata: before.metadata, status: before.status, misfit }
    }

    fn told(status: &RegistryConnectionStatus) -> Vec<String> {
        status.conditions.iter().map(|found| format!("{} {} {}", found.type_, found.status, found.reason)).collect()
    }

    #[test]
    fn is_told_with_the_field_and_keeps_what_was_delivered() {
        let object = unreadable();
        let status = status(&object, &present("t", "5"), minutes_later(1));
        assert_eq!(
            told(&status),
            [
                "Ready False InvalidSpec",
                "CredentialsValid Unknown InvalidSpec",
                "Delivered True Delivered",
                "Stalled True InvalidSpec"
            ]
        );
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(2)));
        assert_eq!(status.observed_generation, Some(2));
        let error = status.last_error.unwrap();
        assert_eq!((error.code, error.field.as_deref()), (Reason::InvalidSpec, Some("spec.provider")));
        assert!(error.hint.is_some_and(|hint| hint.contains("correct the field") && !hint.ends_with("...")));
        let before = object.status.unwrap();
        assert_eq!((status.credential, status.last_test), (before.credential, before.last_test));
        assert!(status.observed_inputs.is_empty() && status.next_refresh_at.is_none());
    }

    #[test]
    fn what_was_told_is_not_told_again_until_the_secret_goes() {
        let mut object = unreadable();
        let first = status(&object, &present("t", "5"), minutes_later(1));
        object.status = Some(first.clone());
        assert_eq!(status(&object, &present("t", "5"), minutes_later(2)), first);
        assert_eq!(status(&object, &SecretState::Unknown, minutes_later(2)), first);
        let gone = status(&object, &SecretState::Absent, minutes_later(3));
        assert!(told(&gone).contains(&"Delivered False InvalidSpec".to_owned()), "{:?}", told(&gone));
        assert_eq!(gone.targets.as_ref().map(|targets| targets.current), Some(0));
        object.status = Some(gone.clone());
        assert_eq!(
            status(&object, &SecretState::Present(Arc::default()), minutes_later(4)),
            gone,
            "nobody delivered it"
        );
    }

    #[test]
    fn one_that_never_had_a_status_gets_a_whole_one_that_is_not_too_long() {
        let mut object = unreadable();
        object.status = None;
        object.metadata.name = Some("n".repeat(253));
        object.misfit.field = "f".repeat(300);
        object.misfit.message = "m".repeat(2000);
        let status = status(&object, &SecretState::Absent, minutes_later(1));
        assert_eq!(told(&status)[2], "Delivered False InvalidSpec");
        assert!(serde_json::to_vec(&status).unwrap().len() <= MAX_STATUS);
    }
}
