//! Takes back what was delivered, where the user wants that of a login that the registry refuses for good.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use tokio::time::Instant;

use super::{
    Context,
    due::{PAUSE_AFTER_REFUSAL, settled_problem},
    error::Error,
    observe::Observed,
    pace::{CONCURRENCY, LONGEST},
    plan::{Pattern, Standing},
    remove::{Removed, remove},
    secret_meta::{Ownership, SecretMeta},
    sighting::SecretState,
    validate::{Connection, Site},
};
use crate::{
    api::{Reason, connection::OnRejected, names::DOCKER_CONFIG_JSON_KEY, status::LastTest},
    domain::{credential::Credential, docker_config::DockerConfig},
};

/// Whether the delivered Secrets have to go: the registry refused one login twice, with the pause after a refusal in between,
/// so that a passing fault of a registry takes nothing away.
pub fn is_due(connection: &Connection, last: Option<&LastTest>) -> bool {
    let is_refused_for_good = last.is_some_and(|test| {
        let since = test.refused_since.as_ref().filter(|_| test.verdict == Reason::InvalidCredentials);
        since.is_some_and(|since| test.time.0.duration_since(since.0) >= PAUSE_AFTER_REFUSAL)
    });
    is_refused_for_good && connection.on_rejected == OnRejected::Remove
}

/// Whether a delivered Secret still has to go, and nothing is known that speaks against it.
pub fn is_outstanding(connection: &Connection, observed: &Observed) -> bool {
    let refused = settled_problem(&observed.status).is_some_and(|problem| problem.reason == Reason::InvalidCredentials);
    refused
        && is_due(connection, observed.status.last_test.as_ref())
        && doubtful(connection, observed)
            .iter()
            .any(|(namespace, state)| observed.memory.spared.get(namespace) != Some(&state.sighting()))
}

/// The targets of ours that are there, by namespace.
fn doubtful(connection: &Connection, observed: &Observed) -> Vec<(Arc<str>, SecretState)> {
    let pattern = Pattern::new(connection, observed.status.credential.as_ref());
    let is_ours = |namespace: &str, state: &SecretState| match pattern.standing(namespace, state) {
        Standing::Current | Standing::Outdated(_) => true,
        Standing::Missing | Standing::Foreign(_) => false,
    };
    let ours = observed.targets.iter().filter(|(namespace, state)| is_ours(namespace, state));
    ours.map(|(namespace, state)| (Arc::clone(namespace), state.clone())).collect()
}

/// Removes the targets that hold the very login that was refused. What holds an earlier one stays: nobody refused that. True if
/// some are left about which the API server gave no decision.
///
/// # Errors
/// [`Error::Write`] if the API server did not answer; trying again may help.
pub async fn withdraw(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    site: &Site,
    refused: &Credential,
) -> Result<bool, Error> {
    let doubtful = doubtful(connection, observed);
    let (targets, config) = (&observed.targets, DockerConfig::new(&site.config_key, refused));
    let config = &config;
    // What is left then is still due.
    let end = Instant::now() + LONGEST;
    let removals = doubtful.into_iter().map(|(namespace, state)| async move {
        let key = targets.key(&namespace);
        let removal = remove(&context.client, &context.metrics, &key, |secret| {
            match SecretMeta::from_secret(secret).ownership(&connection.reference) {
                Ownership::Foreign(clause) => Err(clause),
                Ownership::Ours if holds(secret, config) => Ok(()),
                Ownership::Ours => Err("holds another login than the one that is refused".to_owned()),
            }
        });
        let removed = context.pace.at_its_turn(Some(end), removal).await.transpose()?;
        Ok(removed.map(|removed| (namespace, key, state, removed)))
    });
    let removals: Vec<_> = stream::iter(removals.collect::<Vec<_>>())
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
        .map_err(Error::Write)?;
    let (mut spared, mut is_any_left) = (BTreeMap::new(), false);
    for (namespace, key, state, removed) in removals.into_iter().flatten() {
        match removed {
            Removed::Now => {
                tracing::info!(secret = %key, "removed, because the registry refused its login twice (onRejected: Remove)");
                observed.targets.learn(&namespace, SecretState::Absent);
            }
            Removed::Before => observed.targets.learn(&namespace, SecretState::Absent),
            Removed::Denied => {
                spared.insert(namespace, state.sighting());
                tracing::warn!(secret = %key, "the API server refused to let the operator remove it (onRejected: Remove)");
            }
            Removed::Spared(clause) => {
                spared.insert(namespace, state.sighting());
                tracing::info!(secret = %key, clause, "not removed (onRejected: Remove)");
            }
            // The watch brings us back.
            Removed::Changed | Removed::Ending => {}
            Removed::Undecided => is_any_left = true,
        }
    }
    context.memories.update(observed.uid(), |memory| memory.spared = Arc::new(spared));
    Ok(is_any_left)
}

/// Whether a Secret holds exactly this.
fn holds(secret: &Secret, config: &DockerConfig) -> bool {
    let held = secret.data.as_ref().and_then(|data| data.get(DOCKER_CONFIG_JSON_KEY));
    held.is_some_and(|held| held.0 == config.expose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{
        fixture::{connection, delivered, minutes_later, named, one, site},
        plan::{Turn, Write, plan},
        verify::Proven,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn test(verdict: Reason, since: Option<i64>, minutes: i64) -> LastTest {
        LastTest {
            time: Time(minutes_later(minutes)),
            verdict,
            refused_since: since.map(|minutes| Time(minutes_later(minutes))),
            repositories: vec![],
            control: None,
        }
    }

    #[test]
    fn only_a_second_refusal_of_the_same_login_after_the_pause_takes_anything_away() {
        let wanted = |policy: &str| connection(&delivered(|object| object["spec"]["onRejected"] = policy.into()));
        let refused = Reason::InvalidCredentials;
        for (name, policy, last, expected) in [
            ("never tested", "Remove", None, false),
            ("first refusal", "Remove", Some(test(refused, Some(5), 5)), false),
            ("asked for again by the user", "Remove", Some(test(refused, Some(5), 34)), false),
            ("second refusal", "Remove", Some(test(refused, Some(5), 35)), true),
            ("third refusal", "Remove", Some(test(refused, Some(5), 65)), true),
            ("nobody knows since when", "Remove", Some(test(refused, None, 65)), false),
            ("accepted again", "Remove", Some(test(Reason::LoginProven, Some(5), 65)), false),
            ("to be kept", "Keep", Some(test(refused, Some(5), 65)), false),
        ] {
            assert_eq!(is_due(&wanted(policy), last.as_ref()), expected, "{name}");
        }
    }

    #[test]
    fn tells_the_refused_login_from_an_earlier_one() {
        let connection = connection(&delivered(|_| {}));
        let login = |password: &str| Credential::new("user".into(), password.into()).unwrap();
        let proven = Proven::for_test(login("refused"));
        let (site, targets) = (site(&connection), one(&connection, SecretState::Absent));
        let mut plan = plan(&connection, &proven, &named("r1"), &targets, |_, _| Turn::Soon);
        let Some(Write::Create(secret)) = plan.next().map(|planned| planned.write) else { panic!("not a creation") };
        let config = |password: &str| DockerConfig::new(&site.config_key, &login(password));
        assert!(holds(&secret, &config("refused")));
        assert!(!holds(&secret, &config("the last good one")));
        assert!(!holds(&Secret::default(), &config("refused")));
    }
}
