//! Takes back what was delivered, where the user wants that of a login that the registry refuses for good.

use k8s_openapi::api::core::v1::Secret;

use super::{
    Context,
    due::{PAUSE_AFTER_REFUSAL, settled_problem},
    error::Error,
    observe::Observed,
    plan::{Standing, standing},
    remove::{Removed, remove},
    secret_meta::{Ownership, SecretMeta},
    sighting::SecretState,
    validate::{Connection, Site},
};
use crate::{
    api::{Reason, connection::OnRejected, names::DOCKER_CONFIG_JSON_KEY, status::LastTest},
    domain::{credential::Credential, docker_config::DockerConfig},
};

/// Whether the delivered Secret has to go: the registry refused one login twice, with the pause after a refusal in between,
/// so that a passing fault of a registry takes nothing away.
pub fn is_due(connection: &Connection, last: Option<&LastTest>) -> bool {
    let is_refused_for_good = last.is_some_and(|test| {
        let since = test.refused_since.as_ref().filter(|_| test.verdict == Reason::InvalidCredentials);
        since.is_some_and(|since| test.time.0.duration_since(since.0) >= PAUSE_AFTER_REFUSAL)
    });
    is_refused_for_good && connection.on_rejected == OnRejected::Remove
}

/// Whether the delivered Secret still has to go, and nothing is known that speaks against it.
pub fn is_outstanding(connection: &Connection, observed: &Observed) -> bool {
    let refused = settled_problem(&observed.status).is_some_and(|problem| problem.reason == Reason::InvalidCredentials);
    let is_there = match standing(connection, &observed.target, observed.status.credential.as_ref()) {
        Standing::Current | Standing::Outdated(_) => true,
        Standing::Missing | Standing::Foreign(_) => false,
    };
    refused
        && is_there
        && is_due(connection, observed.status.last_test.as_ref())
        && observed.memory.spared != Some(observed.target.sighting())
}

/// Removes the target, if it holds the very login that was refused. What holds an earlier one stays: nobody refused that.
///
/// # Errors
/// [`Error::Write`] if the API server did not answer as expected; trying again may help.
pub async fn withdraw(
    context: &Context,
    observed: &mut Observed,
    connection: &Connection,
    site: &Site,
    refused: &Credential,
) -> Result<(), Error> {
    match standing(connection, &observed.target, observed.status.credential.as_ref()) {
        Standing::Missing | Standing::Foreign(_) => return Ok(()),
        Standing::Current | Standing::Outdated(_) => {}
    }
    let key = &connection.target.key;
    let may_go = |secret: &Secret| match SecretMeta::from_secret(secret).ownership(key, &connection.reference) {
        Ownership::Foreign(clause) => Err(clause),
        Ownership::Ours if holds(secret, site, refused) => Ok(()),
        Ownership::Ours => Err("holds another login than the one that is refused".to_owned()),
    };
    match remove(&context.client, &context.metrics, key, may_go).await.map_err(Error::Write)? {
        Removed::Now => {
            tracing::info!(secret = %key, "removed, because the registry refused its login twice (onRejected: Remove)");
            observed.target = SecretState::Absent;
        }
        Removed::Before => observed.target = SecretState::Absent,
        Removed::Denied => {
            spare(context, observed);
            tracing::warn!(secret = %key, "the API server refused to let the operator remove it (onRejected: Remove)");
        }
        Removed::Spared(clause) => {
            spare(context, observed);
            tracing::info!(secret = %key, clause, "not removed (onRejected: Remove)");
        }
        // The watch brings us back.
        Removed::Changed | Removed::Ending => {}
    }
    Ok(())
}

/// Takes note that the target stays as it is.
fn spare(context: &Context, observed: &Observed) {
    let target = observed.target.sighting();
    context.memories.update(observed.uid(), |memory| memory.spared = Some(target));
}

/// Whether a Secret holds this login, as it would be delivered.
fn holds(secret: &Secret, site: &Site, credential: &Credential) -> bool {
    let config = DockerConfig::new(&site.config_key, credential);
    let held = secret.data.as_ref().and_then(|data| data.get(DOCKER_CONFIG_JSON_KEY));
    held.is_some_and(|held| held.0 == config.expose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{
        fixture::{connection, delivered, minutes_later, named, site},
        plan::{Write, plan},
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
        let site = site(&connection);
        let plan = plan(&connection, &site, &proven, &named("r1"), &SecretState::Absent);
        let Write::Create(secret) = &plan.writes[0].write else { panic!("not a creation") };
        assert!(holds(secret, &site, &login("refused")));
        assert!(!holds(secret, &site, &login("the last good one")));
        assert!(!holds(&Secret::default(), &site, &login("refused")));
    }
}
