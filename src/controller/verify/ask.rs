//! Asks the registry, or tells why it is not asked now. IO.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::provider::Provider,
    controller::{
        Context,
        due::is_ahead,
        memory::Tested,
        observe::Observed,
        record::recorded_control,
        validate::{Connection, Site, TestPlan},
    },
    domain::credential::{Credential, Fingerprint},
    net::Certificates,
    problem::Problem,
    registry::{self, Findings, Question},
};

/// How long a registry may take to know a credential that its provider issued.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Whether a registry may not know of a credential yet.
pub(super) fn is_fresh(issued_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(issued_at) < PATIENCE
}

/// Asks the registry.
pub(super) async fn ask(
    context: &Context,
    connection: &Connection,
    site: &Site,
    observed: &Observed,
    plan: &TestPlan,
    (credential, authorities): (&Credential, Option<Certificates>),
    now: Timestamp,
) -> Findings {
    let TestPlan { repositories, timeout } = plan;
    let question = Question {
        registry: &site.endpoint.registry,
        token_hosts: &site.endpoint.token_hosts,
        this_machine: site.endpoint.this_machine,
        private: site.endpoint.private && context.may_reach_private(connection.reference.kind()),
        authorities,
        credential,
        repositories,
        reads_quota: matches!(connection.provider, Provider::Dockerhub(_)),
        control: recorded_control(observed),
        timeout: Duration::max(*timeout, Duration::from_secs(1)),
    };
    let findings = registry::ask(&context.http, &context.habits, &question, now).await;
    context.metrics.login(&findings.login);
    findings
}

/// What the last try of this very question met with, if it still rests: while a registry does not answer, a Secret that is
/// touched again and again must not make a login of every touch. A user who edits the spec wants to see what it does.
pub(super) fn resting(observed: &Observed, question: Fingerprint, now: Timestamp) -> Option<Problem> {
    let attempt = observed.memory.attempt.as_ref().filter(|attempt| attempt.question == Some(question))?;
    let is_over = now >= attempt.not_before || is_ahead(attempt.since, now);
    (!is_over && attempt.basis.generation == observed.generation()).then(|| attempt.trouble.clone())
}

/// Takes note of a test, in case its verdict cannot be written.
pub(super) fn remember(context: &Context, observed: &Observed, tested: Tested) {
    context.memories.update(observed.uid(), |memory| {
        (memory.tested, memory.crowded) = (Some(tested), None);
    });
}
