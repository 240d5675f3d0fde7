//! First step: everything a decision needs, in one value. It comes from the watches, so it costs no request.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Context,
    due::is_ahead,
    index::Index,
    mapper,
    memory::{Basis, Denial, DenialBasis, Memory, Tested},
    request::Requests,
    secret_meta::ObjectKey,
    sighting::{SecretState, Sighting},
    targets::Targets,
    validate::{Connection, Site},
};
use crate::{
    api::{Declared, Reason, RegistryConnectionStatus, provider::CaKind, status::ObservedInput},
    linking::standing::Linkage,
};

/// A connection and what surrounds it.
pub struct Observed {
    /// The connection.
    pub object: Arc<Declared>,
    /// Its status, empty before the first pass.
    pub status: RegistryConnectionStatus,
    /// The Secret it reads.
    pub source: SecretState,
    /// The object with the registry's certificate authority, if it refers to one.
    pub authority: Option<Authority>,
    /// Which Secret that is.
    pub source_key: ObjectKey,
    /// The Secrets it writes.
    pub targets: Targets,
    /// Its ledger, if its provider issues credentials, or one did for an earlier connection of its name.
    pub ledger: SecretState,
    /// What this process remembers of it.
    pub memory: Memory,
    /// What the user asks for by annotation.
    pub requests: Requests,
    /// What became of its links, as far as that is known now; none if it asks for none.
    pub links: Option<Linkage>,
    /// There is more to remove than fits into one pass: this one is to be short.
    pub is_hurried: bool,
}

/// The object with a registry's certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its kind.
    pub kind: CaKind,
    /// Its name.
    pub key: ObjectKey,
    /// What is known of it.
    pub sighting: Sighting,
}

impl Authority {
    /// As it stands in a status; none if it is not there.
    pub fn input(&self) -> Option<ObservedInput> {
        let Sighting::Present { uid, resource_version } = self.sighting.clone() else { return None };
        Some(ObservedInput { kind: self.kind.as_str().into(), name: self.key.name.clone(), uid, resource_version })
    }
}

impl Observed {
    /// What a pass would go by now.
    pub fn basis(&self) -> Basis {
        Basis {
            generation: self.generation(),
            source: self.source.sighting(),
            authority: self.authority.as_ref().map(|authority| authority.sighting.clone()),
            ledger: self.ledger.sighting(),
            asked: self.requests.asked().clone(),
        }
    }

    /// The generation of the spec.
    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    /// True if the spec is not the one that the status is about.
    pub fn is_edited(&self) -> bool {
        self.status.observed_generation != Some(self.generation())
    }

    /// The UID; empty only for objects that no server made.
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Takes in a status that was just written.
    pub fn recorded(&mut self, status: RegistryConnectionStatus) {
        Arc::make_mut(&mut self.object).status = Some(status.clone());
        self.status = status;
    }

    /// Narrows what is known to what matters for a valid spec: an authority only where there is a test, and of the status what
    /// it tells of this registry. Adds the last login of this process there, in case it
    /// could not be written. What was proven and delivered elsewhere means nothing here.
    pub fn narrow_to(&mut self, connection: &Connection) {
        if connection.test.is_none() {
            self.authority = None;
        }
        let Some(Site { endpoint, .. }) = &connection.site else { return };
        let status = &mut self.status;
        if status.registry_host.as_deref().is_some_and(|before| before != endpoint.shown_host().as_str()) {
            (status.credential, status.last_test) = (None, None);
            (status.last_refresh_at, status.last_success_at) = (None, None);
            status.observed_inputs.clear();
        }
        let Some(tested) = self.memory.tested.as_ref().filter(|tested| tested.registry == endpoint.registry) else {
            return;
        };
        let Tested { test, refreshed, problem, inputs, .. } = tested;
        // Not the time of the test: it may have been another connection's, from before.
        if status.last_test.is_some() && status.last_refresh_at.as_ref().is_some_and(|recorded| recorded >= refreshed) {
            return;
        }
        status.last_test = Some(test.clone());
        status.last_refresh_at = Some(refreshed.clone());
        if let Some(problem) = problem {
            status.observed_inputs.clone_from(inputs);
            status.last_error = Some(problem.to_last_error());
        }
    }

    /// Tells the index what reads showed, in case the watch passed it by before anyone referred to it, and takes note of it for
    /// this pass: a pause rests on what was read.
    pub fn saw(&mut self, index: &Index, inputs: &[ObservedInput], reason: Reason) {
        let seen = |kind: &str, name: &str| {
            let input = inputs.iter().find(|input| input.kind == kind && input.name == name);
            input.map(|input| Sighting::Present {
                uid: input.uid.clone(),
                resource_version: input.resource_version.clone(),
            })
        };
        let source = self.source_key.clone();
        let sighting = seen("Secret", &source.name).or((reason == Reason::SecretNotFound).then_some(Sighting::Absent));
        if let Some(sighting) = sighting {
            let state = SecretState::from(sighting);
            if self.source.sighting() != state.sighting() {
                if index.secret(&source) == SecretState::Unknown {
                    index.learn(&source, state.clone());
                }
                self.source = state;
            }
        }
        let Some(authority) = &mut self.authority else { return };
        let sighting = seen(authority.kind.as_str(), &authority.key.name);
        // The key may be missing in one that exists; then it was read.
        let sighting = sighting.or((reason == Reason::CaNotFound).then_some(Sighting::Absent));
        if let Some(sighting) = sighting.filter(|sighting| *sighting != authority.sighting) {
            index.learn_authority(authority.kind, &authority.key, sighting.clone());
            authority.sighting = sighting;
        }
    }

    /// What a denied write of the target in this state was about, or would be.
    pub fn denial_basis(&self, revision: Option<&str>, state: &SecretState) -> DenialBasis {
        DenialBasis {
            generation: self.generation(),
            asked: self.requests.asked().clone(),
            target: Some((revision.map(str::to_owned), state.sighting())),
        }
    }

    /// Why the target in a namespace is not written now: the API server decided against it, and nothing has changed since.
    pub fn denial(
        &self,
        namespace: &str,
        state: &SecretState,
        revision: Option<&str>,
        now: Timestamp,
    ) -> Option<&Denial> {
        self.memory.denials.get(namespace).filter(|denial| {
            now < denial.not_before
                && !is_ahead(denial.since, now)
                && denial.basis.applies_to(&self.denial_basis(revision, state))
        })
    }

    /// True if no pass was ever completed.
    pub fn is_new(&self) -> bool {
        self.status.conditions.is_empty()
    }
}

/// Gathers what is known of a connection.
pub fn observe(context: &Context, object: Arc<Declared>) -> Observed {
    let home = &context.namespace;
    let source_key = mapper::source(&object, home);
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let mut memory = context.memories.recall(uid);
    let is_elsewhere = |name: &str, denial: &Denial| context.index.namespace(name) != denial.in_namespace;
    if memory.denials.iter().any(|(name, denial)| is_elsewhere(name, denial)) {
        // What was decided of a namespace says nothing of another one of its name.
        Arc::make_mut(&mut memory.denials).retain(|name, denial| !is_elsewhere(name, denial));
        context.memories.update(uid, |kept| kept.denials.clone_from(&memory.denials));
    }
    let status = object.status.clone().unwrap_or_default();
    Observed {
        requests: Requests::of(&object, &status, &memory.handled),
        status,
        source: context.index.secret(&source_key),
        source_key,
        targets: context.index.targets(&object),
        ledger: context.index.secret(&ObjectKey::of_ledger(home, &object.reference())),
        authority: mapper::authority(&object, home).map(|(kind, key)| Authority {
            kind,
            sighting: context.index.authority(kind, &key),
            key,
        }),
        memory,
        object,
        links: None,
        is_hurried: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::status::LastTest,
        controller::{
            due::{Due, due},
            fixture::{connection, created, delivered, minutes_later, observed, present, site},
        },
        domain::credential::{Credential, Fingerprints},
        problem::Problem,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn a_refusal_that_could_not_be_written_still_counts() {
        let object = delivered(|_| {});
        let registry = site(&connection(&object)).endpoint.registry;
        let wrong = Credential::new("user".into(), "wrong".into()).unwrap();
        let input = ObservedInput {
            kind: "Secret".into(),
            name: "login".into(),
            uid: "s".into(),
            resource_version: "2".into(),
        };
        let memory = Memory {
            tested: Some(Tested {
                registry: registry.clone(),
                question: Fingerprints::default().of(&registry, &wrong),
                test: LastTest {
                    time: Time(minutes_later(3)),
                    verdict: Reason::InvalidCredentials,
                    refused_since: None,
                    repositories: vec![],
                    control: None,
                },
                number: 1,
                refreshed: Time(minutes_later(3)),
                problem: Some(Problem::new(Reason::InvalidCredentials, "refused")),
                inputs: vec![input],
            }),
            ..Memory::default()
        };
        let mut observed = observed(object);
        observed.source = present("s", "2");
        observed.memory = memory;
        observed.narrow_to(&connection(&observed.object));
        assert_eq!(due(&connection(&observed.object), &observed, created(), minutes_later(4)), Due::Nothing);
    }

    #[test]
    fn a_refusal_that_another_connection_met_with_before_and_could_not_be_written_still_counts() {
        let object = delivered(|object| object["status"]["lastRefreshAt"] = "2026-01-01T00:05:00Z".into());
        let registry = site(&connection(&object)).endpoint.registry;
        let wrong = Credential::new("user".into(), "wrong".into()).unwrap();
        let mut observed = observed(object);
        let test = LastTest {
            time: Time(minutes_later(-3)),
            verdict: Reason::InvalidCredentials,
            refused_since: None,
            repositories: vec![],
            control: None,
        };
        observed.memory.tested = Some(Tested {
            question: Fingerprints::default().of(&registry, &wrong),
            registry,
            test: test.clone(),
            number: 1,
            refreshed: Time(minutes_later(6)),
            problem: None,
            inputs: vec![],
        });
        let connection = connection(&observed.object);
        observed.narrow_to(&connection);
        assert_eq!(observed.status.last_test, Some(test), "it is older than the recorded one, and came later");
        assert_eq!(observed.status.last_refresh_at, Some(Time(minutes_later(6))));
    }

    #[test]
    fn a_refusal_elsewhere_counts_for_nothing_here() {
        let here = delivered(|object| {
            object["metadata"]["generation"] = 2.into();
            object["spec"]["provider"]["generic"]["registryUrl"] = "https://other.example".into();
        });
        let elsewhere = site(&connection(&delivered(|_| {}))).endpoint.registry;
        let wrong = Credential::new("user".into(), "wrong".into()).unwrap();
        let mut observed = observed(here);
        observed.memory.tested = Some(Tested {
            question: Fingerprints::default().of(&elsewhere, &wrong),
            registry: elsewhere,
            test: LastTest {
                time: Time(minutes_later(3)),
                verdict: Reason::InvalidCredentials,
                refused_since: None,
                repositories: vec![],
                control: None,
            },
            number: 1,
            refreshed: Time(minutes_later(3)),
            problem: None,
            inputs: vec![],
        });
        let connection = connection(&observed.object);
        observed.narrow_to(&connection);
        assert_eq!((&observed.status.last_test, &observed.status.credential), (&None, &None));
        assert!(matches!(due(&connection, &observed, created(), minutes_later(4)), Due::Test(_)));
    }
}
