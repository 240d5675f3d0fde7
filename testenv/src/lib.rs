//! Real parts on loopback, for the tests, the demo and the benchmark of regcred.
//!
//! A real control plane, a real registry, a token server that it believes, a real client, and the kubelet's and Flux's
//! own code as judges; the APIs of providers whose credentials such a registry takes; and servers by script for what no
//! real part does on demand. Nothing here knows the operator; nothing here outlives the process that started it.

pub mod access;
pub mod audit;
pub mod calls;
pub mod certificates;
pub mod client;
mod compile;
pub mod confine;
pub mod control_plane;
pub mod crane;
pub mod fault;
pub mod helm;
pub mod image;
pub mod judges;
pub mod kubeconfig;
pub mod listener;
mod parts;
pub mod process;
pub mod provider;
pub mod registry;
pub mod relay;
pub mod request;
pub mod scratch;
pub mod settled;
pub mod token_server;
pub mod tools;
pub mod wait;

pub use access::Access;
pub use calls::{Call, Calls};
pub use confine::Confine;
pub use control_plane::ControlPlane;
pub use crane::Crane;
pub use fault::{Fault, Faults};
pub use helm::Helm;
pub use judges::{Conditions, Health, HealthCheck, Judgement, Keyring};
pub use listener::{Listener, Reply, Seen};
pub use provider::{DigitalOcean, Ionos};
pub use registry::Registry;
pub use relay::Relay;
pub use scratch::Scratch;
pub use settled::Snapshot;
pub use token_server::{TokenRequest, TokenServer};
pub use wait::{eventually, namespace};
