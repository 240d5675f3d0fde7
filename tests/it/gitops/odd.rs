//! The health check for Argo CD on statuses that the operator never writes, but that may be there.

use anyhow::{Result, ensure};
use regcred::domain::reference::Kind;
use serde_json::{Value, json};

use super::court::{Court, GENERATION, object};

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Cause", "message": "why", "observedGeneration": GENERATION})
}

fn told(conditions: Value) -> Value {
    json!({"observedGeneration": GENERATION, "conditions": conditions})
}

/// A status that the operator never writes, what Argo CD shows, and what kstatus says.
fn oddities() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let earlier = |mut condition: Value| {
        condition["observedGeneration"] = (GENERATION - 1).into();
        condition
    };
    // Its conditions do not tell which spec they are about.
    let about = |generation: i64| json!({"observedGeneration": generation, "conditions": [{"type": "Ready", "status": "True"}]});
    let mistyped =
        json!({"type": "Ready", "status": "True", "reason": 5, "message": {"a": []}, "observedGeneration": "3"});
    let nonsense = json!([null, 1, "Ready", {}, [], {"type": 1, "status": {}}, {"type": {}}]);
    vec![
        // What the API server makes of a fresh object.
        ("fresh", json!({"observedGeneration": -1}), "Progressing", "InProgress"),
        ("about an earlier spec", about(GENERATION - 1), "Progressing", "InProgress"),
        ("about a later spec", about(GENERATION + 1), "Progressing", "InProgress"),
        ("about this spec", about(GENERATION), "Healthy", "Current"),
        ("both", told(json!([condition("Ready", "True"), condition("Stalled", "True")])), "Degraded", "Failed"),
        (
            "both",
            told(json!([condition("Ready", "True"), condition("Reconciling", "True")])),
            "Progressing",
            "InProgress",
        ),
        (
            "Reconciling first",
            told(json!([condition("Reconciling", "True"), condition("Stalled", "True")])),
            "Progressing",
            "InProgress",
        ),
        (
            "Stalled first",
            told(json!([condition("Stalled", "True"), condition("Reconciling", "True")])),
            "Degraded",
            "Failed",
        ),
        ("not stalled", told(json!([condition("Stalled", "False"), condition("Ready", "True")])), "Healthy", "Current"),
        ("unknown", told(json!([condition("Ready", "Unknown")])), "Progressing", "InProgress"),
        ("not ready", told(json!([condition("Ready", "False")])), "Progressing", "InProgress"),
        // Here kstatus has no opinion, or takes what it does not know for good.
        ("none", Value::Null, "Progressing", "Current"),
        ("empty", json!({}), "Progressing", "Current"),
        ("text", json!("Ready"), "Progressing", "Unknown"),
        ("list", json!([1, 2]), "Progressing", "Unknown"),
        ("text for a number", json!({"observedGeneration": "3"}), "Progressing", "Unknown"),
        ("not of this spec", told(json!([earlier(condition("Ready", "True"))])), "Progressing", "Current"),
        ("no conditions", json!({"observedGeneration": GENERATION}), "Progressing", "Current"),
        ("null conditions", told(Value::Null), "Progressing", "Current"),
        ("empty conditions", told(json!([])), "Progressing", "Current"),
        ("text as conditions", told(json!("Ready")), "Progressing", "Unknown"),
        ("map as conditions", told(json!({"Ready": condition("Ready", "True")})), "Progressing", "Unknown"),
        ("nonsense as conditions", told(nonsense), "Progressing", "Unknown"),
        ("mistyped", told(json!([mistyped])), "Healthy", "Unknown"),
    ]
}

#[test]
fn a_status_that_makes_no_sense_is_never_an_error() -> Result<()> {
    let court = Court::new()?;
    for (name, status, health, kstatus) in oddities() {
        for change in [json!({}), json!({"spec": null}), json!({"spec": "x"}), json!({"spec": {"suspend": "true"}})] {
            let mut subject = object(Kind::Namespaced, status.clone());
            json_patch::merge(&mut subject, &change);
            let (found, message, found_by_kstatus) = court.hear(&subject)?;
            ensure!(
                (found.as_str(), found_by_kstatus.as_str()) == (health, kstatus),
                "{name}: {found}, {found_by_kstatus}"
            );
            ensure!(!message.is_empty(), "{name}: no message");
        }
    }
    // Without a generation, as in a file, there is nothing to compare with.
    let mut subject = object(Kind::Cluster, told(json!([condition("Ready", "True")])));
    subject["metadata"] = json!({"name": "images"});
    assert_eq!(court.agreed(&subject)?.0, "Healthy");
    Ok(())
}
