//! First step: everything a decision needs, in one value. It comes from the watches, so it costs no request.

use std::sync::Arc;

use super::{
    Context, mapper,
    memory::{Basis, Memory, Tested},
    secret_meta::SecretKey,
    sighting::SecretState,
};
use crate::{
    api::{RegistryConnection, RegistryConnectionStatus},
    domain::host::RegistryUrl,
};

/// A connection and what surrounds it.
pub struct Observed {
    /// The connection.
    pub object: Arc<RegistryConnection>,
    /// Its status, empty before the first pass.
    pub status: RegistryConnectionStatus,
    /// The Secret it reads.
    pub source: SecretState,
    /// The name of the Secret it writes.
    pub target_key: SecretKey,
    /// The Secret it writes.
    pub target: SecretState,
    /// What this process remembers of it.
    pub memory: Memory,
}

impl Observed {
    /// What a pass would work on now.
    pub fn basis(&self) -> Basis {
        Basis { generation: self.generation(), source: self.source.sighting(), target: self.target.sighting() }
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

    /// Narrows the status to what it tells of this registry, and adds the last login of this process there, in case it
    /// could not be written. What was proven and delivered elsewhere means nothing here.
    pub fn narrow_to(&mut self, registry: &RegistryUrl) {
        let status = &mut self.status;
        if status.registry_host.as_deref().is_some_and(|before| before != registry.host().as_str()) {
            (status.credential, status.last_test, status.last_refresh_at) = (None, None, None);
            status.observed_inputs.clear();
        }
        let Some(tested) = self.memory.tested.as_ref().filter(|tested| tested.registry == *registry) else { return };
        let Tested { test, refusal, .. } = tested;
        if status.last_test.as_ref().is_some_and(|recorded| recorded.time >= test.time) {
            return;
        }
        status.last_test = Some(test.clone());
        status.last_refresh_at = Some(test.time.clone());
        if let Some(refusal) = refusal {
            status.observed_inputs = vec![refusal.input.clone()];
            status.last_error = Some(refusal.problem.to_last_error());
        }
    }

    /// True if no pass was ever completed.
    pub fn is_new(&self) -> bool {
        self.status.conditions.is_empty()
    }
}

/// Gathers what is known of a connection.
pub fn observe(context: &Context, object: Arc<RegistryConnection>) -> Observed {
    let target_key = mapper::target(&object);
    let memory = context.memories.recall(object.metadata.uid.as_deref().unwrap_or_default());
    Observed {
        status: object.status.clone().unwrap_or_default(),
        source: context.index.secret(&mapper::source(&object)),
        target: context.index.secret(&target_key),
        memory,
        target_key,
        object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{
            Reason,
            status::{LastTest, ObservedInput},
        },
        controller::{
            due::{Due, due},
            fixture::{connection, created, delivered, minutes_later, observed, present},
            memory::Refusal,
        },
        domain::credential::{Credential, Fingerprints},
        problem::Problem,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn a_refusal_that_could_not_be_written_still_counts() {
        let object = delivered(|_| {});
        let registry = connection(&object).registry;
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
                fingerprint: Fingerprints::default().of(&registry, &wrong),
                test: LastTest { time: Time(minutes_later(3)), verdict: Reason::InvalidCredentials },
                refusal: Some(Refusal { problem: Problem::new(Reason::InvalidCredentials, "refused"), input }),
            }),
            ..Memory::default()
        };
        let mut observed = observed(object);
        observed.source = present("s", "2");
        observed.memory = memory;
        observed.narrow_to(&registry);
        assert_eq!(due(&connection(&observed.object), &observed, created(), minutes_later(4)), Due::Nothing);
    }

    #[test]
    fn a_refusal_elsewhere_counts_for_nothing_here() {
        let here = delivered(|object| {
            object["metadata"]["generation"] = 2.into();
            object["spec"]["provider"]["generic"]["registryUrl"] = "https://other.example".into();
        });
        let elsewhere = connection(&delivered(|_| {})).registry;
        let wrong = Credential::new("user".into(), "wrong".into()).unwrap();
        let mut observed = observed(here);
        observed.memory.tested = Some(Tested {
            fingerprint: Fingerprints::default().of(&elsewhere, &wrong),
            registry: elsewhere,
            test: LastTest { time: Time(minutes_later(3)), verdict: Reason::InvalidCredentials },
            refusal: None,
        });
        let connection = connection(&observed.object);
        observed.narrow_to(&connection.registry);
        assert_eq!((&observed.status.last_test, &observed.status.credential), (&None, &None));
        assert!(matches!(due(&connection, &observed, created(), minutes_later(4)), Due::Test(_)));
    }
}
