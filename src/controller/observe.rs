//! First step: everything a decision needs, in one value. It comes from the watches, so it costs no request.

use std::sync::Arc;

use super::{
    Context, mapper,
    memory::{Basis, Memory},
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
    Observed {
        status: object.status.clone().unwrap_or_default(),
        source: context.index.secret(&mapper::source(&object)),
        target: context.index.secret(&target_key),
        memory: context.memories.recall(object.metadata.uid.as_deref().unwrap_or_default()),
        target_key,
        object,
    }
}
