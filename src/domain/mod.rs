//! Plain values and their rules. Nothing here knows Kubernetes clients, HTTP or a clock.

pub mod credential;
pub mod docker_config;
pub mod glob;
pub mod host;
pub mod image;
pub mod image_name;
pub mod image_pattern;
pub mod ledger;
pub mod reference;
pub mod token;
