//! Asking a registry whether it accepts a credential.

pub mod challenge;
pub mod probe;

pub use probe::{Doubt, Login, login};
