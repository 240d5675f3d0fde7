//! The contract with the user: kinds, fields, conditions, reasons and every name that appears in a cluster.
//!
//! Types only. Nothing here knows a client, a clock or a network.

pub mod cluster;
pub mod condition;
pub mod connection;
pub mod crd;
pub mod declared;
pub mod issuer;
pub mod keys;
pub mod names;
pub mod provider;
pub mod reason;
pub mod status;

pub use cluster::{ClusterRegistryConnection, ClusterRegistryConnectionSpec, Selection};
pub use condition::ConditionType;
pub use connection::{RegistryConnection, RegistryConnectionSpec};
pub use crd::crds;
pub use declared::Declared;
pub use reason::Reason;
pub use status::RegistryConnectionStatus;
