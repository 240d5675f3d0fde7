//! Asking a registry what a credential is worth. Nothing here knows Kubernetes.
//!
//! ```text
//! reach ─▶ challenge ─▶ login ─▶ token ─▶ repositories
//! ```
//!
//! A *door* is a registry with the way it wants to be asked: without anything, with Basic authentication, or with a token. A
//! *control* is a request that tells what everybody can do: one without a login, or with one that cannot be right.
//!
//! * `challenge`, `trust`, `grant`, `fault`, `judge`: pure; what an answer means, and where a login may go
//! * `control`: whether a host lets in anybody, remembered so that it is asked at most once a day
//! * `ladder`, `login`, `repository`, `quota`: IO; one rung each
//! * [`probe`]: the ladder as a whole, with its time limit

pub mod challenge;
pub mod control;
mod fault;
pub mod grant;
mod judge;
mod known;
mod ladder;
mod login;
pub mod probe;
mod quota;
mod repository;
mod trust;

pub use control::{Finding, Habits};
pub use probe::{Findings, Login, Question, ask, is_crowded};
pub use quota::Quota;
pub use repository::{Found, Repository};
