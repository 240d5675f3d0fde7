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
    domain::host::RegistryHost,
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

    /// The UID; empty only for objects that no server made.
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Takes in a status that was just written.
    pub fn recorded(&mut self, status: RegistryConnectionStatus) {
        Arc::make_mut(&mut self.object).status = Some(status.clone());
        self.status = status;
    }

    /// Forgets what the status tells of another registry than this one: what was proven and delivered there means
    /// nothing here.
    pub fn forget_other_registries(&mut self, host: &RegistryHost) {
        let status = &mut self.status;
        if status.registry_host.as_deref().is_some_and(|before| before != host.as_str()) {
            (status.credential, status.last_test, status.last_refresh_at) = (None, None, None);
            status.observed_inputs.clear();
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
        status: with_last_login(object.status.clone().unwrap_or_default(), &memory),
        source: context.index.secret(&mapper::source(&object)),
        target: context.index.secret(&target_key),
        memory,
        target_key,
        object,
    }
}

/// The status with the last login of this process, in case it could not be written.
fn with_last_login(mut status: RegistryConnectionStatus, memory: &Memory) -> RegistryConnectionStatus {
    let Some(Tested { test, refusal, .. }) = &memory.tested else { return status };
    if status.last_test.as_ref().is_some_and(|recorded| recorded.time >= test.time) {
        return status;
    }
    status.last_test = Some(test.clone());
    status.last_refresh_at = Some(test.time.clone());
    if let Some(refusal) = refusal {
        status.observed_inputs = vec![refusal.input.clone()];
        status.last_error = Some(refusal.problem.to_last_error());
    }
    status
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
                fingerprint: Fingerprints::default().of(&registry, &wrong),
                test: LastTest { time: Time(minutes_later(3)), verdict: Reason::InvalidCredentials },
                refusal: Some(Refusal { problem: Problem::new(Reason::InvalidCredentials, "refused"), input }),
            }),
            ..Memory::default()
        };
        let mut observed = observed(object);
        observed.source = present("s", "2");
        observed.status = with_last_login(observed.status, &memory);
        observed.memory = memory;
        assert_eq!(due(&connection(&observed.object), &observed, created(), minutes_later(4)), Due::Nothing);
    }
}
