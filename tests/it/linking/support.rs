//! Clusters without the policy.

use anyhow::Result;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::{pod, told};
use crate::{
    scenario::{PASSWORD, Scenario},
    shared::{POLICY, apart, install_policy, policy, policy_api},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_the_policy_or_its_binding_a_pattern_is_told_to_be_of_no_use() -> Result<()> {
    let (shared, _guard) = apart().await?;
    let mut scenario = Scenario::prepare_on(shared, "unsupported").await?;
    scenario.start_operator().await?;
    let client = scenario.client.clone();
    scenario.write_login("login", PASSWORD).await?;
    let pattern = json!({"autoLinkPattern": "r.example/*"});
    scenario.connect("images", scenario.spec_with(pattern.clone())).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.until_admitted(&pod("r.example/app"), &["images"]).await?;
    for object in policy()? {
        let (api, kind) = policy_api(&client, &object)?;
        api.delete(POLICY, &DeleteParams::default()).await?;
        let told_of = scenario.ready("images", "False", "AutoLinkUnsupported").await?;
        let (linked, message) = told(&told_of);
        assert_eq!(linked, "False/AutoLinkUnsupported", "without the {kind}");
        assert!(message.contains("has no MutatingAdmissionPolicy autolink.regcred.dev"), "{message}");
        let error = told_of.status.and_then(|status| status.last_error);
        let hint = error.and_then(|error| error.hint).unwrap_or_default();
        assert!(hint.contains("deploy/autolink.yaml") && hint.contains("spec.isDefault"), "{hint}");
        install_policy(&client).await?;
        scenario.ready("images", "True", "LoginProven").await?;
        scenario.until_linked("images", "True/Linked").await?;
    }
    // A binding that lets it read something else is none.
    let binding = policy()?.pop().unwrap();
    let (api, _) = policy_api(&client, &binding)?;
    let other = Patch::Merge(json!({"spec": {"paramRef": {"name": "another"}}}));
    api.patch(POLICY, &PatchParams::default(), &other).await?;
    scenario.ready("images", "False", "AutoLinkUnsupported").await?;

    // Another link works.
    scenario.edit("images", json!({"spec": {"isDefault": true}})).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.until_linked("images", "False/AutoLinkUnsupported").await?;
    install_policy(&client).await?;
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}
