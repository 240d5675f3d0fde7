//! **regcred** keeps container registry credentials in Kubernetes obtained, proven, fresh and delivered.
//!
//! The flow of one pass over a connection; each step stands in the file of its name in [`controller`]:
//!
//! ```text
//! watch ─▶ connection ─▶ reconcile
//!   observe    the object, and what the watches know of the Secrets it reads and writes
//!   select     the namespaces that a cluster's connection serves; one in a namespace serves that
//!   validate   a spec that later steps can trust, or the field to change
//!   due        what there is to do: nothing, deliver, test, renew, revoke
//!   resolve    the credential, from the Secret that a user wrote
//!   renew      or: a credential that a provider issues, through the ledger; what was replaced is revoked after all
//!   verify     the registry's verdict on it: accepted, rejected, inconclusive
//!   plan       the writes, as finished objects and patches
//!   apply      carries them out
//!   report     conditions, status, events; written only if they say something new
//!   retire     takes away the Secrets that the connection wrote under other names, or where it serves nobody any more
//!   wake       when to look again
//! ```
//!
//! Beside it [`linking`] sees to it, namespace by namespace, that ServiceAccounts and Pods name these Secrets.
//!
//! [`api`] is the contract with the user, [`domain`] holds plain values, [`provider`] obtains credentials, [`registry`]
//! asks registries, [`net`] is the only way out of the cluster. [`check`] says of files what
//! `validate` says of objects.

pub mod api;
pub mod check;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod domain;
pub mod leader;
pub mod linking;
pub mod metrics;
pub mod net;
pub mod problem;
pub mod provider;
pub mod pulse;
pub mod registry;
pub mod run;
pub mod serve;
pub mod telemetry;
pub mod unanswered;
