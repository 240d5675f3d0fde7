//! An API server that refuses, fails, or is another one than before.

use std::time::Duration;

use anyhow::{Result, anyhow};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use testenv::{Fault, Faults, fault::Counts};

use super::{pod, told};
use crate::scenario::{PASSWORD, Scenario};

/// What the operator needs besides what links take.
fn rules() -> Vec<Value> {
    vec![
        json!({"apiGroups": ["regcred.dev"], "resources": ["*"], "verbs": ["*"]}),
        json!({"apiGroups": [""], "resources": ["secrets", "namespaces"], "verbs": ["*"]}),
        json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["*"]}),
        json!({"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get"]}),
    ]
}

/// Lets a ServiceAccount of the scenario do these things.
async fn grant(scenario: &Scenario, account: &str, rules: Vec<Value>) -> Result<()> {
    let name = format!("{}-{account}", scenario.namespace);
    let roles: Api<ClusterRole> = Api::all(scenario.client.clone());
    let role = serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
    match roles.get_opt(&name).await? {
        Some(_) => {
            roles.replace(&name, &PostParams::default(), &role).await?;
            return Ok(());
        }
        None => roles.create(&PostParams::default(), &role).await?,
    };
    let bindings: Api<ClusterRoleBinding> = Api::all(scenario.client.clone());
    let binding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": scenario.namespace}],
    }))?;
    bindings.create(&PostParams::default(), &binding).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_see_accounts_nothing_is_linked_and_that_is_told() -> Result<()> {
    let mut scenario = Scenario::prepare("blind").await?;
    scenario.create_account("operator", &[]).await?;
    grant(&scenario, "operator", rules()).await?;
    scenario.act_as("operator").await?;
    scenario.write_login("login", PASSWORD).await?;
    // Who asks for no links does not notice.
    scenario.connect("plain", scenario.spec()).await?;
    scenario.ready("plain", "True", "LoginProven").await?;
    scenario.connect("images", scenario.spec_with(json!({"isDefault": true}))).await?;
    let refused = scenario.ready("images", "False", "Forbidden").await?;
    assert!(told(&refused).1.contains("does not let the operator watch ServiceAccounts"), "{:?}", told(&refused));
    assert!(scenario.secrets().get_opt("images").await?.is_some(), "it is delivered all the same");

    let mut more = rules();
    more.push(json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["list", "watch", "get", "patch"]}));
    grant(&scenario, "operator", more).await?;
    scenario.until_named_by("default", &["images"]).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_write_accounts_or_tables_it_is_told_which_and_tried_again() -> Result<()> {
    let mut scenario = Scenario::prepare("denied").await?;
    // Its operator has an account of its own.
    scenario.open_tables().await?;
    scenario.set_speed(20);
    scenario.create_account("operator", &[]).await?;
    let mut seeing = rules();
    seeing.push(json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["list", "watch", "get"]}));
    grant(&scenario, "operator", seeing.clone()).await?;
    scenario.act_as("operator").await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_with(json!({"isDefault": true}))).await?;
    let refused = scenario.ready("images", "False", "Forbidden").await?;
    assert!(told(&refused).1.contains("write ServiceAccount default"), "{:?}", told(&refused));
    scenario.edit("images", json!({"spec": {"isDefault": null, "autoLinkPattern": "r.example/*"}})).await?;
    let refused = scenario.until("images", |now| told(now).1.contains("write ConfigMap regcred-autolink")).await?;
    assert_eq!(told(&refused).0, "False/Forbidden");
    let tries = scenario.calls.count(|call| call.request.is_write() && call.request.resource == "configmaps");
    assert!(tries <= 5, "{tries} tries");

    seeing.push(json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch", "delete"]}));
    seeing.push(json!({"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["list", "watch"]}));
    grant(&scenario, "operator", seeing).await?;
    scenario.until_admitted(&pod("r.example/app"), &["images"]).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_fails_for_a_while_is_asked_until_the_links_are_made() -> Result<()> {
    let mut scenario = Scenario::prepare("fails").await?;
    let counts: Counts =
        |request| request.is_write() && matches!(request.resource.as_str(), "serviceaccounts" | "configmaps");
    let faults = Faults::new();
    scenario.faults = Some((faults.clone(), counts));
    scenario.start_operator().await?;
    scenario.write_login("login", PASSWORD).await?;
    for (number, fault) in
        [Fault::Answer(500), Fault::AnswerLost, Fault::NotSent, Fault::Answer(429)].into_iter().enumerate()
    {
        for request in [1, 2] {
            faults.arm(request, fault);
            let name = format!("images-{number}-{request}");
            let prefix = format!("team{number}{request}");
            let fields = json!({
                "isDefault": true, "repositoryPrefix": prefix, "autoLinkPattern": format!("r.example/{prefix}/*"),
            });
            scenario.linked(&name, fields).await?;
            faults.met().await;
            assert!(scenario.named_by("default").await?.contains(&name), "{fault:?} at request {request}");
            let table = scenario.config_maps().get("regcred-autolink").await?.data.unwrap_or_default();
            assert_eq!(table.get(&name), Some(&format!("r.example/{prefix}/*")), "{fault:?} at request {request}");
        }
    }
    let quiet = scenario.calls.quiet_for(Duration::from_secs(2)).await;
    quiet.map_err(|calls| anyhow!("{calls:?}"))?;
    scenario.finish().await
}
