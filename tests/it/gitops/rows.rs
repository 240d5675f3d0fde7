//! The health check for Argo CD on every status the operator can write: row by row of the table of conditions.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use regcred::{
    api::{
        ConditionType, Reason, RegistryConnectionStatus,
        condition::{ConditionStatus, Desired, transition},
    },
    controller::{
        policy::{Delivery, Facts, conditions, suspended_conditions},
        situation::{SITUATIONS, Situation},
    },
    domain::reference::Kind,
    problem::Problem,
};
use serde_json::Value;

use super::court::{Court, GENERATION, object};

/// A status as the operator writes it.
fn status(desired: &[Desired]) -> Result<Value> {
    Ok(serde_json::to_value(RegistryConnectionStatus {
        observed_generation: Some(GENERATION),
        conditions: transition(&[], desired, GENERATION, Timestamp::UNIX_EPOCH),
        ..RegistryConnectionStatus::default()
    })?)
}

/// How healthy each row of the table of conditions is, and how healthy after five minutes. The rows are named by how they begin.
const ROWS: [(&str, &str, &str); 17] = [
    ("suspended before the first pass", "Suspended", "Suspended"),
    // Each of the others, with `spec.suspend`.
    ("suspended later", "-", "-"),
    ("the login in the Secret has ended", "Degraded", "Degraded"),
    ("the delivered login has ended, and what another needs", "Progressing", "Degraded"),
    ("the delivered login has ended, and there is no verdict", "Progressing", "Progressing"),
    ("the registry accepted the login, a listed repository fails", "Progressing", "Degraded"),
    ("the registry refused the login", "Degraded", "Degraded"),
    ("the spec or what is read cannot be used", "Degraded", "Degraded"),
    ("something that is read, or a key in it, is missing", "Progressing", "Degraded"),
    ("no verdict now, a proven login is delivered", "Healthy", "Healthy"),
    ("no verdict now, nothing is delivered", "Progressing", "Progressing"),
    ("the Secret cannot be written", "Degraded", "Degraded"),
    ("of a cluster's connection: the Secret cannot be written in some", "Healthy", "Healthy"),
    ("a working login is being replaced", "Healthy", "Healthy"),
    ("the first delivery", "Progressing", "Progressing"),
    ("delivered; the registry lets in any login", "Healthy", "Healthy"),
    ("proven and delivered", "Healthy", "Healthy"),
];

/// Judges what follows from facts, in all states that a connection with them can be in; which row of the table they are.
fn judge_facts(court: &Court, heard: &mut BTreeSet<String>, facts: &Facts<'_>) -> Result<Option<usize>> {
    let fits = |row: &Situation| row.fits.is_some_and(|fits| fits(facts));
    let Some(row) = SITUATIONS.iter().position(fits) else { return Ok(None) };
    let (name, soon, later) = ROWS[row];
    let expected = if facts.missing_for_long { later } else { soon };
    let desired = conditions(facts);
    let ready = desired.iter().find(|it| it.kind == ConditionType::Ready).context("no Ready")?;
    let subject = object(Kind::ALL[row % 2], status(&desired)?);
    if !heard.insert(format!("{row} {expected} {subject}")) {
        return Ok(Some(row));
    }

    let (health, message) = court.agreed(&subject)?;
    ensure!(health == expected, "{name}: {health}: {subject}");
    let told = if health == "Healthy" { ready.message.clone() } else { format!("{}: {}", ready.reason, ready.message) };
    ensure!(message == told, "{name}: {message} instead of {told}");

    let mut edited = subject.clone();
    edited["metadata"]["generation"] = (GENERATION + 1).into();
    let (health, message) = court.agreed(&edited)?;
    ensure!(health == "Progressing" && message.starts_with("waiting for the operator"), "{name}, edited: {health}");

    let mut deleted = subject.clone();
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    ensure!(court.agreed(&deleted)?.0 == "Progressing", "{name}, deleted");

    let mut suspended = subject;
    suspended["spec"]["suspend"] = true.into();
    let (health, message) = court.agreed(&suspended)?;
    ensure!(health == if expected == "Degraded" { "Degraded" } else { "Suspended" }, "{name}, suspended: {health}");
    ensure!(message.starts_with("suspended; ") && message.ends_with(&ready.message), "{name}, suspended: {message}");
    Ok(Some(row))
}

#[test]
fn every_row_of_the_table_of_conditions_has_its_health() -> Result<()> {
    for (row, (name, ..)) in SITUATIONS.iter().zip(ROWS) {
        assert!(row.name.starts_with(name), "{} is not {name}", row.name);
    }
    assert_eq!(SITUATIONS.len(), ROWS.len());
    let (court, mut heard) = (Court::new()?, BTreeSet::new());
    let trouble = Reason::ALL.iter().copied().filter(|reason| reason.class().is_trouble());
    let problems: Vec<_> = trouble.map(|reason| Some(Problem::new(reason, "why"))).chain([None]).collect();
    let verdicts = Reason::ALL.iter().copied().filter(|reason| reason.is_verdict()).map(Some);
    let verdicts: Vec<_> = verdicts.chain([None]).collect();
    let conflict = || Problem::new(Reason::TargetConflict, "taken");
    let deliveries =
        [Delivery::Current, Delivery::Outstanding, Delivery::Impossible(conflict()), Delivery::Partial(conflict())];
    let before = Desired {
        kind: ConditionType::Ready,
        status: ConditionStatus::True,
        reason: Reason::LoginProven,
        message: "good".into(),
    };
    let mut hits = vec![0; SITUATIONS.len()];
    for problem in &problems {
        for verdict in &verdicts {
            for delivery in &deliveries {
                for (missing_for_long, ready_before, expired) in [
                    (false, None, None),
                    (true, Some(before.clone()), None),
                    (false, Some(before.clone()), Some(Timestamp::UNIX_EPOCH)),
                    (true, None, Some(Timestamp::UNIX_EPOCH)),
                ] {
                    let facts = Facts {
                        problem: problem.as_ref(),
                        expired,
                        verdict: *verdict,
                        delivery,
                        subject: ("r.example", "images"),
                        places: None,
                        missing_for_long,
                        ready_before,
                    };
                    if let Some(row) = judge_facts(&court, &mut heard, &facts)? {
                        hits[row] += 1;
                    }
                }
            }
        }
    }
    for (situation, hits) in SITUATIONS.iter().zip(hits) {
        assert_eq!(hits > 0, situation.fits.is_some(), "{}: {hits} combinations", situation.name);
    }
    let mut suspended = object(Kind::Namespaced, status(&suspended_conditions())?);
    suspended["spec"]["suspend"] = true.into();
    let told = "the connection is suspended: nothing is tested or written";
    assert_eq!(court.agreed(&suspended)?, (ROWS[0].1.to_owned(), told.to_owned()));
    Ok(())
}
