//! The shipped controller against a real API server, a real registry and real clients.
//!
//! One control plane for the whole run and a namespace for every test; each test runs an operator of its own whose view
//! is confined to that namespace. Tests of the command as a process have a control plane to themselves.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod another;
mod cases;
mod closing;
mod names;
mod objects;
mod refusing;
mod scenario;
mod shared;
mod tell;

mod adoption;
mod arithmetic;
mod check;
mod cluster;
mod conditions;
mod conflict;
mod controls;
mod crash;
mod crowded;
mod delivery;
mod docs;
mod edit;
mod events;
mod expiry;
mod faults;
mod generated;
mod gitops;
mod guide;
mod hostile;
mod image;
mod install;
mod issued;
mod layouts;
mod limits;
mod linking;
mod metrics;
mod outage;
mod process;
mod quiet;
mod reference;
mod refusal;
mod reinstall;
mod removal;
mod rename;
mod repositories;
mod request;
mod schema;
mod sharing;
mod source;
mod storm;
mod suspend;
mod token;
mod unproven;
mod unreadable;
mod unsure;
mod verdicts;
mod walk;
mod withdraw;
