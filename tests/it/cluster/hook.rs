//! Webhooks of namespaces, which decide late or not at all.

use std::time::Duration;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::{Listener, Reply, Seen, certificates::Authority, eventually};
use tokio::time::timeout;

use super::Wide;
use crate::scenario::DEADLINE;

/// How long a probe waits for its answer.
const LOOK: Duration = Duration::from_millis(200);

/// A webhook that is asked about Secrets in some namespaces.
pub struct Hook {
    _listener: Listener,
}

impl Hook {
    /// Asks it about this operation in those of these numbers.
    pub async fn install(
        wide: &Wide,
        operation: &str,
        numbers: std::ops::Range<usize>,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let authority = Authority::new()?;
        let listener = Listener::tls(&authority.server(&["127.0.0.1"])?, reply)?;
        let (first, mark) = (numbers.start, json!({"hooked": wide.scenario.namespace}));
        for number in numbers {
            wide.label(number, mark.clone()).await?;
        }
        let bundle = STANDARD.encode(authority.certificate());
        let hook = json!({
            "metadata": {"name": wide.scenario.namespace},
            "webhooks": [{
                "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 30,
                "clientConfig": {"url": format!("https://{}/", listener.host()), "caBundle": bundle},
                "namespaceSelector": {"matchLabels": mark},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": ["secrets"]},
                ],
            }],
        });
        Self::all(wide).create(&PostParams::default(), &serde_json::from_value(hook)?).await?;
        // The API server learns of it in its own time.
        let probe: Secret = serde_json::from_value(json!({"metadata": {"name": "probe"}}))?;
        eventually("the webhook to be asked", DEADLINE, async || {
            let (secrets, parameters) = (wide.secrets(first), PostParams::default());
            // The answer may not come at all.
            let _ = timeout(LOOK, secrets.create(&parameters, &probe)).await;
            let change = Patch::Merge(json!({"metadata": {"labels": {"probe": "changed"}}}));
            let _ = timeout(LOOK, secrets.patch("probe", &PatchParams::default(), &change)).await;
            let _ = timeout(LOOK, secrets.delete("probe", &DeleteParams::default())).await;
            Ok((!listener.requests().is_empty()).then_some(()))
        })
        .await?;
        Ok(Self { _listener: listener })
    }

    pub async fn remove(self, wide: &Wide) -> Result<()> {
        Self::all(wide).delete(&wide.scenario.namespace, &DeleteParams::default()).await?;
        Ok(())
    }

    fn all(wide: &Wide) -> Api<ValidatingWebhookConfiguration> {
        Api::all(wide.scenario.client.clone())
    }
}

/// No decision of a webhook.
pub fn later(seen: &Seen) -> Reply {
    let review: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let answer =
        json!({"uid": review["request"]["uid"], "allowed": false, "status": {"code": 503, "message": "later"}});
    Reply::status(200)
        .json(&json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}))
}
