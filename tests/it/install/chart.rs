//! The chart by itself: what it renders for whatever values, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::{Map, Value, json};
use testenv::{Helm, Scratch};

use crate::{
    scenario::shared,
    shared::{CHART, OPERATOR_NAMESPACE},
};

/// For each value another one than the default, by its path; parents that are maps of anything stand for themselves.
fn flipped() -> Vec<(&'static str, Value)> {
    let peer = json!([{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]);
    let spread = json!([{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "regcred"}}}]);
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
        [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
    vec![
        ("replicas", json!(1)),
        ("image.repository", json!("r.example/mirror/regcred")),
        ("image.tag", json!("v9")),
        ("image.digest", json!(format!("sha256:{}", "a".repeat(64)))),
        ("image.pullPolicy", json!("Always")),
        ("imagePullSecrets", json!(["mirror"])),
        ("fullnameOverride", json!("other")),
        ("crds.enabled", json!(false)),
        ("crds.keep", json!(false)),
        ("autoLink.mode", json!("policy")),
        ("protectedNamespaces.allow", json!(["kube-system"])),
        ("policies.operator", json!(false)),
        ("policies.tables", json!(false)),
        ("policies.leases", json!(false)),
        ("policies.allowedRegistries", json!(["r.example", "*.example.com:5000"])),
        ("policies.forbidInsecure", json!(true)),
        ("policies.requireSourceHost", json!(true)),
        ("serviceAccount.create", json!(false)),
        ("serviceAccount.name", json!("other")),
        ("serviceAccount.annotations", json!({"a": "b"})),
        ("rbac.create", json!(false)),
        ("rbac.aggregate", json!(false)),
        ("operator.logLevel", json!("info,regcred=debug")),
        ("operator.logFormat", json!("text")),
        ("operator.revocationGrace", json!("1h30m")),
        ("operator.maxWritesPerSecond", json!(50)),
        ("operator.forbidPrivateAddresses", json!(true)),
        ("operator.allowLoopback", json!(true)),
        ("proxy.url", json!("http://proxy.example:3128")),
        ("proxy.urlSecret.name", json!("proxy")),
        ("proxy.urlSecret.key", json!("address")),
        ("proxy.noProxy", json!("10.0.0.0/8,.example.com")),
        ("ca.configMap", json!("authorities")),
        ("ca.key", json!("bundle.pem")),
        ("resources", json!({"requests": {"cpu": "1"}})),
        ("podDisruptionBudget.enabled", json!(false)),
        ("networkPolicy.enabled", json!(false)),
        ("networkPolicy.metricsFrom", peer),
        ("networkPolicy.egress", json!([{"ports": [{"port": 443}]}])),
        ("metrics.port", json!(9090)),
        ("metrics.serviceMonitor.enabled", json!(true)),
        ("metrics.serviceMonitor.interval", json!("1m")),
        ("metrics.serviceMonitor.labels", json!({"release": "prometheus"})),
        ("commonLabels", json!({"team": "platform"})),
        ("podAnnotations", json!({"a": "b"})),
        ("podLabels", json!({"c": "d"})),
        ("nodeSelector", json!({"kubernetes.io/arch": "arm64"})),
        ("tolerations", json!([{"operator": "Exists"}])),
        ("affinity", affinity),
        ("priorityClassName", json!("system-cluster-critical")),
        ("topologySpreadConstraints", spread),
    ]
}

/// Values that change nothing by themselves, and what they go with.
const TOGETHER: [(&str, &str); 4] = [
    ("proxy.urlSecret.key", "proxy.urlSecret.name"),
    ("ca.key", "ca.configMap"),
    ("metrics.serviceMonitor.interval", "metrics.serviceMonitor.enabled"),
    ("metrics.serviceMonitor.labels", "metrics.serviceMonitor.enabled"),
];

fn set(values: &mut Value, path: &str, value: &Value) {
    let mut at = values;
    for part in path.split('.') {
        at = &mut at[part];
    }
    *at = value.clone();
}

/// The paths of all values; maps that are empty by default are values.
fn paths(values: &Map<String, Value>, before: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (key, value) in values {
        let path = format!("{before}{key}");
        match value.as_object().filter(|map| !map.is_empty() && path != "resources") {
            Some(map) => all.extend(paths(map, &format!("{path}."))),
            None => drop(all.insert(path)),
        }
    }
    all
}

fn default_values() -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(format!("{CHART}/values.yaml"))?;
    serde_saphyr::from_str(&text).context("values.yaml")
}

/// What the chart renders with these values.
async fn rendered(helm: &Helm, values: &Value) -> Result<String> {
    let scratch = Scratch::new("values")?;
    let file = scratch.path().join("values.json");
    std::fs::write(&file, values.to_string())?;
    let file = file.to_str().context("a path")?;
    helm.run(&["template", "regcred", CHART, "--namespace", OPERATOR_NAMESPACE, "--values", file]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_finds_nothing_wrong_with_the_chart() -> Result<()> {
    let said = Helm::find().await?.run(&["lint", "--strict", CHART]).await?;
    ensure!(said.contains("0 chart(s) failed") && !said.contains("WARNING"), "{said}");
    Ok(())
}

#[test]
fn every_value_is_described_where_it_stands_and_is_tried() -> Result<()> {
    let tried: BTreeSet<String> = flipped().into_iter().map(|(path, _)| path.to_owned()).collect();
    let all = paths(&default_values()?, "");
    ensure!(all == tried, "{:?}", all.symmetric_difference(&tried).collect::<Vec<_>>());
    let text = std::fs::read_to_string(format!("{CHART}/values.yaml"))?;
    let (mut described, mut undescribed) = (false, vec![]);
    for line in text.lines() {
        let trimmed = line.trim_start();
        match trimmed.split_once(':') {
            _ if trimmed.starts_with("# -- ") => described = true,
            _ if trimmed.starts_with('#') => {}
            Some((key, rest)) if !rest.trim().is_empty() && !described => undescribed.push(key.to_owned()),
            Some((_, rest)) if !rest.trim().is_empty() => described = false,
            _ => {}
        }
    }
    // Described with what stands above them.
    undescribed.retain(|key| !["key", "cpu", "memory", "allow"].contains(&key.as_str()));
    ensure!(undescribed.is_empty(), "{undescribed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_exist_or_cannot_be_is_refused_and_named() -> Result<()> {
    let helm = Helm::find().await?;
    let mut unknown: Vec<(String, Value)> = vec![("replica".into(), json!(1))];
    for parent in paths(&default_values()?, "").iter().filter_map(|path| path.rsplit_once('.')) {
        unknown.push((format!("{}.unknown", parent.0), json!(1)));
    }
    unknown.dedup();
    for (path, value) in unknown {
        let mut values = json!({});
        set(&mut values, &path, &value);
        let error = rendered(&helm, &values).await.err().with_context(|| format!("{path} was taken"))?;
        let name = path.rsplit('.').next().context("a name")?;
        ensure!(format!("{error:#}").contains(name), "{path}: {error:#}");
    }
    for (path, value) in [
        ("replicas", json!(-1)),
        ("replicas", json!("two")),
        ("autoLink.mode", json!("webhook")),
        ("autoLink.mode", json!("off")),
        ("image.pullPolicy", json!("Sometimes")),
        ("image.digest", json!("v1")),
        ("operator.logFormat", json!("xml")),
        ("operator.maxWritesPerSecond", json!(0)),
        ("operator.maxWritesPerSecond", json!(1_000_001)),
        ("operator.revocationGrace", json!("soon")),
        ("operator.revocationGrace", json!("")),
        ("operator.revocationGrace", json!("1d")),
        ("operator.revocationGrace", json!("200h")),
        ("operator.revocationGrace", json!("168h1m")),
        ("protectedNamespaces.allow", json!(["shop"])),
        ("policies.allowedRegistries", json!(["https://r.example"])),
        ("policies.allowedRegistries", json!(["a.*.example"])),
        ("metrics.port", json!(70000)),
        ("fullnameOverride", json!("Upper_Case")),
        ("fullnameOverride", json!("reg.cred")),
        ("fullnameOverride", json!("1reg")),
        ("commonLabels", json!({"app.kubernetes.io/name": "x"})),
        ("podLabels", json!({"app.kubernetes.io/instance": "x"})),
        ("resources", json!({"request": {"cpu": "1"}})),
        ("imagePullSecrets", json!([{"name": "x"}])),
    ] {
        let mut values = json!({});
        set(&mut values, path, &value);
        let error = rendered(&helm, &values).await.err().with_context(|| format!("{path}: {value} was taken"))?;
        let name = path.rsplit('.').next().context("a name")?;
        ensure!(format!("{error:#}").contains(name), "{path}: {error:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_can_be_taken_away() -> Result<()> {
    let helm = Helm::find().await?;
    let mut all = paths(&default_values()?, "");
    let parents: Vec<String> =
        all.iter().filter_map(|path| path.rsplit_once('.')).map(|(parent, _)| parent.to_owned()).collect();
    all.extend(parents);
    // Here it says that there is no limit.
    ensure!(all.remove("operator.maxWritesPerSecond"));
    for path in all {
        let mut values = json!({});
        set(&mut values, &path, &Value::Null);
        let error = rendered(&helm, &values).await.err().with_context(|| format!("{path}: null was taken"))?;
        let name = path.rsplit('.').next().context("a name")?;
        ensure!(format!("{error:#}").contains(name), "{path}: {error:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chart_can_bring_it_along() -> Result<()> {
    let helm = Helm::find().await?;
    let scratch = Scratch::new("umbrella")?;
    let file = |name: &str, text: &str| std::fs::write(scratch.path().join(name), text);
    let dependency = "dependencies: [{name: regcred, version: 0.1.0, condition: regcred.enabled}]";
    file("Chart.yaml", &format!("apiVersion: v2\nname: umbrella\nversion: 1.0.0\n{dependency}\n"))?;
    file("values.yaml", "global: {team: platform}\nregcred: {enabled: true, replicas: 3}\n")?;
    std::fs::create_dir(scratch.path().join("charts"))?;
    std::os::unix::fs::symlink(CHART, scratch.path().join("charts/regcred"))?;
    let folder = scratch.path().to_str().context("a path")?;
    let text = helm.run(&["template", "platform", folder, "--namespace", OPERATOR_NAMESPACE]).await?;
    ensure!(text.contains("replicas: 3") && text.contains("name: platform-operator"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_may_have_any_name_that_helm_takes() -> Result<()> {
    let helm = Helm::find().await?;
    let shared = shared().await?;
    let client = shared.plane.client()?;
    for name in ["2026", "true", "a.b", "x1234567890123456789012345678901234567890.12345678901"] {
        let text = helm.run(&["template", name, CHART, "--namespace", OPERATOR_NAMESPACE]).await?;
        applied(&client, &text).await.with_context(|| name.to_owned())?;
        ensure!(!text.contains("name: 2026"), "Services of older clusters may not begin with a digit");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_value_is_set_it_changes_something_and_the_api_server_takes_every_object() -> Result<()> {
    let shared = shared().await?;
    let helm = Helm::find().await?.with(&shared.plane.kubeconfig_path());
    let client = shared.plane.client()?;
    let standard = rendered(&helm, &json!({})).await?;
    applied(&client, &standard).await.context("the defaults")?;
    let all: BTreeMap<&str, Value> = flipped().into_iter().collect();
    for (path, value) in &all {
        let mut values = json!({});
        set(&mut values, path, value);
        if let Some((_, other)) = TOGETHER.iter().find(|(one, _)| one == path) {
            set(&mut values, other, &all[other]);
        }
        let text = rendered(&helm, &values).await.with_context(|| (*path).to_owned())?;
        ensure!(text != standard, "{path} changes nothing");
        applied(&client, &text).await.with_context(|| (*path).to_owned())?;
    }
    Ok(())
}

/// Has the API server look at all objects, as a dry run by the one who installed what is there.
async fn applied(client: &Client, text: &str) -> Result<()> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
    for object in objects.iter().filter(|object| object.is_object()) {
        let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let (version, kind) = (version.context("a version")?, kind.context("a kind")?);
        if kind == "ServiceMonitor" {
            // The cluster need not have that kind, and this one has not.
            continue;
        }
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let (resource, capabilities) = pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await?;
        let api = api(client, object, &resource, &capabilities.scope);
        let name = object["metadata"]["name"].as_str().context("a name")?;
        let apply = PatchParams { dry_run: true, ..PatchParams::apply("helm").force() };
        api.patch(name, &apply, &Patch::Apply(object)).await.with_context(|| format!("{kind} {name}"))?;
    }
    Ok(())
}

fn api(client: &Client, object: &Value, resource: &ApiResource, scope: &Scope) -> Api<DynamicObject> {
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, resource)
        }
    }
}
