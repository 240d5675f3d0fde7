//! Containers that a webhook injects count, too.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use testenv::{Listener, Reply, Seen, certificates::Authority};

use super::pod;
use crate::scenario::Scenario;

/// Injects a container of a private image.
fn inject(seen: &Seen) -> Reply {
    let review: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let sidecar = json!([{
        "op": "add", "path": "/spec/containers/-", "value": {"name": "sidecar", "image": "r.example/mesh/sidecar:v1"},
    }]);
    let answer = json!({
        "uid": review["request"]["uid"], "allowed": true,
        "patchType": "JSONPatch", "patch": STANDARD.encode(sidecar.to_string()),
    });
    Reply::status(200)
        .json(&json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_the_secret_of_a_container_that_a_webhook_injects_and_keeps_its_own_in_front() -> Result<()> {
    let scenario = Scenario::start("sidecar").await?;
    scenario.linked("mesh", json!({"autoLinkPattern": "r.example/mesh/*"})).await?;
    scenario.linked("images", json!({"autoLinkPattern": "r.example/team/*"})).await?;
    let authority = Authority::new()?;
    let listener = Listener::tls(&authority.server(&["127.0.0.1"])?, inject)?;
    let hook: MutatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": {"name": scenario.namespace},
        "webhooks": [{
            "name": "sidecar.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "url": format!("https://{}/", listener.host()), "caBundle": STANDARD.encode(authority.certificate()),
            },
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scenario.namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    }))?;
    let hooks: Api<MutatingWebhookConfiguration> = Api::all(scenario.client.clone());
    hooks.create(&PostParams::default(), &hook).await?;
    scenario.until_admitted(&pod("nginx"), &["mesh"]).await?;
    // Its own image was looked at before the webhook was asked, and that of the sidecar after it.
    scenario.until_admitted(&pod("r.example/team/app"), &["images", "mesh"]).await?;
    let mut spec = pod("r.example/team/app");
    spec["imagePullSecrets"] = json!([{"name": "mine"}]);
    scenario.until_admitted(&spec, &["mine", "images", "mesh"]).await?;
    hooks.delete(&scenario.namespace, &DeleteParams::default()).await?;
    scenario.finish().await
}
