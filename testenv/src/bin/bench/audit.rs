//! The API server's audit log as the measuring instrument: who asked for what, and when it was answered.
//!
//! It is a file, so looking at it costs the API server nothing, however often that is done.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use testenv::audit::{AuditEvent, Follower};

use crate::stage::{FLOOR_USER, OPERATOR_USER};

/// What the names of ledgers begin with.
const LEDGER: &str = "regcred-ledger-";

/// The requests since a moment, up to the last look.
pub struct Window {
    follower: Follower,
    events: Vec<AuditEvent>,
}

/// Who asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// The operator.
    Operator,
    /// The bare loop.
    Floor,
    /// This program, the controllers of Kubernetes, and the API server itself.
    Others,
}

/// Who sent a request. Who leads is not what is measured.
pub fn who(event: &AuditEvent) -> Who {
    match event.user.username.as_str() {
        _ if event.object_ref.resource == "leases" => Who::Others,
        OPERATOR_USER => Who::Operator,
        FLOOR_USER => Who::Floor,
        _ => Who::Others,
    }
}

/// Stands for `update` and `patch`: what somebody else has edited is changed by the latter.
pub const CHANGE: &str = "change";

/// Whether it was about this, and was done. An empty name means any; otherwise also any that begins with it, if it ends with
/// a `*`.
pub fn is(event: &AuditEvent, verb: &str, resource: &str, name: &str) -> bool {
    let object = &event.object_ref;
    let found = if object.subresource.is_empty() {
        object.resource == resource
    } else {
        resource.split_once('/') == Some((&object.resource, &object.subresource))
    };
    let is_named = match name.strip_suffix('*') {
        Some(prefix) => object.name.starts_with(prefix),
        None => name.is_empty() || object.name == name,
    };
    let is_meant = event.verb == verb || verb == CHANGE && matches!(event.verb.as_str(), "update" | "patch");
    is_meant && found && is_named && event.response_status.code < 300
}

/// Whether it is no work on an object: a watch (opened anew every few minutes), a Lease or an Event.
fn is_apart(event: &AuditEvent) -> bool {
    event.verb == "watch" || matches!(event.object_ref.resource.as_str(), "leases" | "events")
}

/// Whether it is work on an object and changed something, or tried to.
fn is_write(event: &AuditEvent) -> bool {
    !is_apart(event) && !matches!(event.verb.as_str(), "get" | "list")
}

/// Requests of the operator, by verb and resource.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Requests {
    /// All but those apart.
    pub total: usize,
    /// How many of these were writes.
    pub writes: usize,
    /// Such as `create secrets`, or `patch secrets (ledger) 409` for one that was refused.
    pub by_kind: BTreeMap<String, usize>,
    /// The same of watches, which are counted when they end, Leases and Events.
    pub apart: BTreeMap<String, usize>,
}

impl Window {
    /// Begins with the next request that is answered.
    pub fn new(follower: Follower) -> Self {
        Self { follower, events: Vec::new() }
    }

    /// Forgets what was until now.
    pub fn begin(&mut self) -> Result<()> {
        self.look()?;
        self.events.clear();
        Ok(())
    }

    /// Takes in what is new.
    pub fn look(&mut self) -> Result<()> {
        self.events.append(&mut self.follower.read()?);
        Ok(())
    }

    /// All requests of somebody, in the order of their answers.
    pub fn of(&self, sender: Who) -> impl Iterator<Item = &AuditEvent> {
        self.events.iter().filter(move |event| who(event) == sender)
    }

    /// Those that were about this, and were done.
    pub fn done<'a>(
        &'a self,
        sender: Who,
        verb: &'a str,
        resource: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a AuditEvent> {
        self.of(sender).filter(move |event| is(event, verb, resource, name))
    }

    /// How many those are.
    pub fn count(&self, sender: Who, verb: &str, resource: &str, name: &str) -> usize {
        self.done(sender, verb, resource, name).count()
    }

    /// How many ledgers the operator wrote.
    pub fn ledgers(&self) -> usize {
        let name = format!("{LEDGER}*");
        ["create", "patch", "update"].iter().map(|verb| self.count(Who::Operator, verb, "secrets", &name)).sum()
    }

    /// How many statuses of connections of this kind the operator wrote.
    pub fn statuses(&self, plural: &str) -> usize {
        let resource = format!("{plural}/status");
        ["patch", "update"].iter().map(|verb| self.count(Who::Operator, verb, &resource, "")).sum()
    }

    /// When the first of these had come.
    pub fn first(&self, sender: Who, verb: &str, resource: &str, name: &str) -> Result<Timestamp> {
        let first = self.done(sender, verb, resource, name).map(|event| event.received).min();
        first.with_context(|| format!("the audit log has no {verb} of {resource} {name} by {sender:?}"))
    }

    /// When the last of these had been answered.
    pub fn last(&self, sender: Who, verb: &str, resource: &str, name: &str) -> Result<Timestamp> {
        let last = self.done(sender, verb, resource, name).map(|event| event.answered).max();
        last.with_context(|| format!("the audit log has no {verb} of {resource} {name} by {sender:?}"))
    }

    /// When the operator's first write had come.
    pub fn first_write(&self) -> Option<Timestamp> {
        self.of(Who::Operator).filter(|event| is_write(event)).map(|event| event.received).min()
    }

    /// When the last request had been answered that is work of the operator, or of anybody if nobody is named.
    pub fn last_work(&self, sender: Option<Who>) -> Option<Timestamp> {
        let asked = self.events.iter().filter(|event| sender.is_none_or(|sender| who(event) == sender));
        asked.filter(|event| !is_apart(event)).map(|event| event.answered).max()
    }

    /// What the operator asked, by verb and resource.
    pub fn requests(&self) -> Requests {
        let mut requests = Requests::default();
        for event in self.of(Who::Operator) {
            let into = if is_apart(event) { &mut requests.apart } else { &mut requests.by_kind };
            *into.entry(kind(event)).or_default() += 1;
            requests.total += usize::from(!is_apart(event));
            requests.writes += usize::from(is_write(event));
        }
        requests
    }
}

fn kind(event: &AuditEvent) -> String {
    let object = &event.object_ref;
    let mut text = format!("{} {}", event.verb, object.resource);
    if object.resource.is_empty() {
        text += event.uri.split('?').next().unwrap_or_default();
    }
    if !object.subresource.is_empty() {
        text = format!("{text}/{}", object.subresource);
    }
    if object.name.starts_with(LEDGER) {
        text += " (ledger)";
    }
    match event.response_status.code {
        code if code < 400 => text,
        code => format!("{text} {code}"),
    }
}

/// Seconds from one moment to a later one; negative if it was earlier.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
