//! What those who may do anything in their own namespaces can do to others: nothing.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testenv::eventually;

use super::Wide;
use crate::scenario::DEADLINE;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_tenant_does_to_the_secret_is_put_right_and_touches_nobody_else() -> Result<()> {
    let wide = Wide::start("tenants").await?;
    wide.create_namespaces(0..3).await?;
    wide.connect("images", wide.spec()).await?;
    wide.until_delivered_to("images", &[0, 1, 2]).await?;
    let others = async || {
        let delivered = wide.delivered("images").await?;
        let versions = [0, 2].map(|number| delivered.get(&wide.namespace(number)).cloned());
        Ok::<_, anyhow::Error>(versions.map(|secret| secret.and_then(|secret| secret.metadata.resource_version)))
    };
    let (before, good) = (others().await?, wide.secrets(1).get("images").await?);
    let is_right = |now: &Secret| {
        let (is, was) = (&now.metadata, &good.metadata);
        now.data == good.data && is.labels == was.labels && is.annotations == was.annotations
    };
    for (name, change) in [
        ("other data", json!({"data": {".dockerconfigjson": "e30="}})),
        ("no labels", json!({"metadata": {"labels": null}})),
        (
            "no annotations but the connection's",
            json!({"metadata": {"annotations": {"regcred.dev/credential-revision": null}}}),
        ),
    ] {
        let changed = wide.secrets(1).patch("images", &PatchParams::default(), &Patch::Merge(change)).await?;
        eventually(name, DEADLINE, async || {
            let now = wide.secrets(1).get("images").await?;
            let is_new = now.metadata.resource_version != changed.metadata.resource_version;
            Ok((is_new && is_right(&now)).then_some(()))
        })
        .await?;
    }
    wide.secrets(1).delete("images", &DeleteParams::default()).await?;
    wide.until_delivered_to("images", &[0, 1, 2]).await?;
    assert_eq!(others().await?, before, "nobody else was written to");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_marks_bring_nobody_a_credential_and_take_nothing_away() -> Result<()> {
    let wide = Wide::start("forged").await?;
    wide.create_namespaces(0..1).await?;
    wide.create_namespace(1, json!({})).await?;
    wide.connect("images", wide.spec()).await?;
    wide.until_delivered_to("images", &[0]).await?;
    // A copy with all its marks, in a namespace that is not served, and one that pretends to be meant for it.
    let good = wide.secrets(0).get("images").await?;
    for (name, meant_for) in [("copy", wide.namespace(0)), ("pretender", wide.namespace(1))] {
        let mut forged: Secret = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        forged.metadata.labels.clone_from(&good.metadata.labels);
        let mut annotations = good.metadata.annotations.clone().context("no annotations")?;
        annotations.insert("regcred.dev/namespace".into(), meant_for);
        forged.metadata.annotations = Some(annotations);
        wide.secrets(1).create(&PostParams::default(), &forged).await?;
    }
    wide.create_namespaces(2..3).await?;
    wide.until_delivered_to("images", &[0, 2]).await?;
    wide.at_rest().await?;
    for name in ["copy", "pretender"] {
        let forged = wide.secrets(1).get(name).await?;
        ensure!(forged.data.is_none(), "{name} got something");
    }
    assert_eq!(wide.writes()[2], 0, "nothing was deleted");
    Ok(())
}
