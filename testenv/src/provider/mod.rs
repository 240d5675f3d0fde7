//! The APIs of registries whose credentials are issued, renewed and revoked, on loopback.
//!
//! Each keeps its provider's contract, which stands as a table in `contract.rs` of its folder, and hands out credentials that a
//! real registry of its own accepts until they are revoked or expired. What can be called here is what the owner of an account
//! can do in the provider's console, and what everybody sees who uses the registry. Nobody gets at what is kept inside.

pub mod clock;
pub mod contract;
pub mod digital_ocean;
mod door;
mod front;
pub mod ionos;
mod limit;
mod store;

pub use clock::Clock;
pub use digital_ocean::DigitalOcean;
pub use front::{ApiRequest, Login, Outage};
pub use ionos::Ionos;

use std::iter::repeat_with;

use jiff::Timestamp;

/// A credential as a console lists it, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// From then on it is refused; `None` for never. In the provider's time.
    pub expires: Option<Timestamp>,
}

/// Random letters of a hexadecimal number.
fn hex(length: usize) -> String {
    repeat_with(|| char::from(b"0123456789abcdef"[fastrand::usize(..16)])).take(length).collect()
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> String {
    format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}
