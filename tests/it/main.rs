//! The shipped controller against a real API server, a real registry and real clients.
//!
//! One control plane for the whole run and a namespace for every test; each test runs an operator of its own whose view
//! is confined to that namespace. Tests of the command as a process have a control plane to themselves.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod another;
mod closing;
mod names;
mod objects;
mod scenario;
mod shared;
mod tell;

mod adoption;
mod arithmetic;
mod conflict;
mod controls;
mod delivery;
mod edit;
mod faults;
mod generated;
mod hostile;
mod layouts;
mod outage;
mod process;
mod quiet;
mod refusal;
mod reinstall;
mod removal;
mod rename;
mod repositories;
mod schema;
mod source;
mod suspend;
mod token;
mod unproven;
mod unsure;
mod verdicts;
mod walk;
