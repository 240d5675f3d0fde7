//! Connections whose spec or status does not have the shape that this version knows: each is told, what was delivered stays,
//! and nobody else notices.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::core::v1::Event, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use regcred::{
    api::{ConditionType, Declared, Reason, RegistryConnection, condition, crd::crds, status::LastError},
    controller::stored::{Sent, Stored},
};
use serde_json::{Value, json};
use testenv::{ControlPlane, eventually, namespace};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, install, loose, loosened};

/// A value that must not be repeated.
const CANARY: &str = "c4nary-in-the-wrong-field";

impl Scenario {
    /// Access to the namespace's connections in any form.
    fn stored(&self) -> Api<Sent<RegistryConnection>> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a connection with a spec of any shape.
    async fn connect_anyhow(&self, name: &str, spec: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": name}, "spec": spec,
        }))?;
        let resource = ApiResource::erase::<RegistryConnection>(&());
        let objects: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        objects.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Changes a connection of any form with a merge patch.
    async fn edit_anyhow(&self, name: &str, patch: Value) -> Result<()> {
        self.stored().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until the connection says about its current generation what the conditions Ready, CredentialsValid, Delivered
    /// and Stalled are.
    async fn says(&self, name: &str, wanted: [&str; 4]) -> Result<Stored> {
        eventually(format!("{name} to say {wanted:?}"), DEADLINE, async || {
            let stored = self.stored().get(name).await?.stored;
            let told = told(&stored);
            ensure!(told == wanted, "{told:?}");
            Ok(Some(stored))
        })
        .await
    }

    async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = events.list(&Default::default()).await?.items.into_iter();
        let events = events.filter(|event| event.involved_object.name.as_deref() == Some(name));
        Ok(events.map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default())).collect())
    }

    /// How often the status of a connection was written.
    fn status_writes(&self, name: &str) -> usize {
        self.calls.count(|call| call.is("patch", "registryconnections", "status") && call.request.name == name)
    }
}

fn told(stored: &Stored) -> [String; 4] {
    use ConditionType::{CredentialsValid, Delivered, Ready, Stalled};
    let status = stored.status().filter(|status| status.observed_generation == stored.meta().generation);
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    [Ready, CredentialsValid, Delivered, Stalled].map(|kind| {
        condition::find(conditions, kind).map_or_else(|| "-".into(), |told| format!("{}/{}", told.status, told.reason))
    })
}

fn last_error(stored: &Stored) -> Result<LastError> {
    stored.status().and_then(|status| status.last_error.clone()).context("no lastError")
}

const NEVER_DELIVERED: [&str; 4] =
    ["False/InvalidSpec", "Unknown/InvalidSpec", "False/InvalidSpec", "True/InvalidSpec"];

const DELIVERED_BEFORE: [&str; 4] = ["False/InvalidSpec", "Unknown/InvalidSpec", "True/Delivered", "True/InvalidSpec"];

const GOOD: [&str; 4] = ["True/LoginProven", "True/LoginProven", "True/Delivered", "-"];

#[tokio::test(flavor = "multi_thread")]
async fn each_spec_that_cannot_be_read_is_told_once_and_keeps_nobody_waiting() -> Result<()> {
    let mut scenario = Scenario::prepare_on(loose().await?, "unreadable").await?;
    let good = scenario.spec();
    let with = |change: Value| {
        let mut spec = good.clone();
        json_patch::merge(&mut spec, &change);
        spec
    };
    let cases = [
        ("none", Value::Null, "spec"),
        ("text", json!(CANARY), "spec"),
        ("no-provider", json!({"refreshIntervalMinutes": 5}), "spec.provider"),
        ("new-provider", json!({"provider": {"vault": {"token": CANARY}}}), "spec.provider"),
        ("two", with(json!({"provider": {"dockerhub": {"secretRef": {"name": "x"}}}})), "spec.provider"),
        ("interval", with(json!({"refreshIntervalMinutes": CANARY})), "spec.refreshIntervalMinutes"),
        ("enum", with(json!({"onRejected": CANARY})), "spec.onRejected"),
        ("label", with(json!({"secret": {"labels": {"team": [CANARY]}}})), "spec.secret.labels.team"),
        (
            "reference",
            with(json!({"provider": {"generic": {"secretRef": {"name": {"password": CANARY}}}}})),
            "spec.provider.generic.secretRef.name",
        ),
    ];
    // Half of them are there before the operator starts.
    for (name, spec, _) in &cases[..4] {
        scenario.connect_anyhow(name, spec.clone()).await?;
    }
    scenario.start_operator().await?;
    for (name, spec, _) in &cases[4..] {
        scenario.connect_anyhow(name, spec.clone()).await?;
    }
    scenario.connected("images").await?;
    for (name, _, field) in &cases {
        let stored = scenario.says(name, NEVER_DELIVERED).await?;
        let error = last_error(&stored)?;
        assert_eq!((error.code, error.field.as_deref()), (Reason::InvalidSpec, Some(*field)), "{name}");
        assert!(error.message.starts_with(field) && error.hint.is_some(), "{name}: {error:?}");
        println!("{name}: {}", error.message);
        let status = serde_json::to_string(&stored.status())?;
        assert!(!status.contains(CANARY) && status.len() <= 4096, "{name}: {status}");
        let events = eventually(format!("an event about {name}"), DEADLINE, async || {
            Ok(Some(scenario.events(name).await?).filter(|events| !events.is_empty()))
        })
        .await?;
        assert!(
            matches!(events.as_slice(), [(reason, note)] if reason == "InvalidSpec" && !note.contains(CANARY)),
            "{events:?}"
        );
    }
    let metric = "regcred_connections{ready=\"False\",reason=\"InvalidSpec\"}";
    assert_eq!(scenario.metric(metric).await?, cases.len() as f64);

    let mended =
        json!({"spec": {"refreshIntervalMinutes": null, "provider": {"generic": good["provider"]["generic"]}}});
    for name in ["interval", "no-provider"] {
        scenario.edit_anyhow(name, mended.clone()).await?;
        scenario.says(name, GOOD).await?;
        assert!(last_error(&scenario.stored().get(name).await?.stored).is_err(), "{name}: nothing is wrong any more");
    }
    for (name, ..) in cases.iter().filter(|(name, ..)| !["interval", "no-provider"].contains(name)) {
        assert_eq!(scenario.status_writes(name), 1, "{name}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_stays_untouched_while_its_connection_cannot_be_read() -> Result<()> {
    let mut scenario = Scenario::prepare_on(loose().await?, "spoilt").await?;
    scenario.start_operator().await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let generic = scenario.spec()["provider"]["generic"].clone();

    scenario.edit_anyhow("images", json!({"spec": {"provider": {"generic": null, "vault": {}}}})).await?;
    let spoilt = scenario.says("images", DELIVERED_BEFORE).await?;
    let status = spoilt.status().cloned().unwrap_or_default();
    assert!(status.credential.is_some() && status.last_test.is_some() && status.next_refresh_at.is_none());
    assert_eq!(scenario.secrets().get("images").await?, delivered, "not one byte changed");

    // Somebody edits the Secret, and the login changes: nothing of that is worked on, not even after a restart.
    scenario.stop_operator().await?;
    scenario.calls.clear();
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;
    let passes = async || scenario.metric("regcred_reconciles_total{result=\"completed\"}").await;
    let before = passes().await?;
    scenario.write_login("login", "another-password").await?;
    let labels = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    let stripped = scenario.edit_secret("images", labels).await?;
    eventually("a look at it", DEADLINE, async || Ok((passes().await? > before).then_some(()))).await?;
    assert_eq!(scenario.secrets().get("images").await?, stripped);
    assert_eq!(scenario.calls.writes(), []);

    // That it is gone is told.
    scenario.delete_secret("images").await?;
    scenario.says("images", NEVER_DELIVERED).await?;
    assert!(scenario.secrets().get_opt("images").await?.is_none());

    scenario.write_login("login", PASSWORD).await?;
    scenario.edit_anyhow("images", json!({"spec": {"provider": {"vault": null, "generic": generic}}})).await?;
    scenario.says("images", GOOD).await?;
    assert_eq!(scenario.secrets().get("images").await?.data, delivered.data);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_cannot_be_read_is_written_anew_and_costs_no_more_than_a_login() -> Result<()> {
    let mut scenario = Scenario::prepare_on(loose().await?, "nonsense").await?;
    scenario.start_operator().await?;
    scenario.connected("images").await?;
    let delivered = scenario.secrets().get("images").await?;
    let nonsense = [
        json!({"lastTest": {"time": "yesterday", "verdict": 7}}),
        json!({"conditions": [{"type": "Ready", "status": "True"}], "observedInputs": "all"}),
        json!({"lastHandledTestAt": {"by": "a newer operator"}}),
        json!({"secretName": "s".repeat(50_000), "lastError": {"code": 7}}),
        json!("nonsense"),
    ];
    for (count, status) in nonsense.into_iter().enumerate() {
        let patch = Patch::Merge(json!({ "status": status }));
        let spoilt = scenario.stored().patch_status("images", &PatchParams::default(), &patch).await?;
        assert!(spoilt.stored.readable().is_some());
        eventually("a status that can be read", DEADLINE, async || {
            let resource = ApiResource::erase::<RegistryConnection>(&());
            let objects: Api<DynamicObject> =
                Api::namespaced_with(scenario.client.clone(), &scenario.namespace, &resource);
            let object = objects.get("images").await?;
            // The strict type, which reads all or nothing.
            let connection: RegistryConnection = object.try_parse()?;
            Ok((told(&Declared::from(connection).into()) == GOOD).then_some(()))
        })
        .await
        .with_context(|| format!("{status}"))?;
        assert!(scenario.good_logins()? <= count + 2, "{} logins after {status}", scenario.good_logins()?);
        assert_eq!(scenario.failed_logins()?, 0);
    }
    assert_eq!(scenario.secrets().get("images").await?.data, delivered.data);
    assert_eq!(scenario.secrets().get("images").await?.metadata.uid, delivered.metadata.uid);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_status_of_a_wrong_object_gets_one_event() -> Result<()> {
    let mut scenario = Scenario::prepare_on(loose().await?, "refused").await?;
    // As servers before Kubernetes 1.30 do while the spec does not fit the schema.
    scenario.refused = Some(|uri| uri.path().ends_with("/status"));
    scenario.start_operator().await?;
    scenario.connect_anyhow("images", json!({"provider": 7})).await?;
    eventually("it to be tried again", DEADLINE, async || {
        Ok((scenario.metric("regcred_reconciles_total{result=\"cut_short\"}").await? >= 3.0).then_some(()))
    })
    .await?;
    let events = scenario.events("images").await?;
    assert!(matches!(events.as_slice(), [(reason, _)] if reason == "InvalidSpec"), "{events:?}");
    assert_eq!(scenario.calls.count(|call| call.request.resource == "events"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_from_before_the_schema_was_tightened_can_be_told_about() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client()?;
    install(&client, loosened(crds())).await?;
    let namespace = namespace(&client, "tight").await?;
    let resource = ApiResource::erase::<RegistryConnection>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    for (name, spec) in [
        ("none", json!({})),
        ("new", json!({"provider": {"vault": {"x": "y"}}})),
        (
            "interval",
            json!({"provider": {"dockerhub": {"secretRef": {"name": "x"}}}, "refreshIntervalMinutes": "five"}),
        ),
    ] {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": name}, "spec": spec,
        }))?;
        objects.create(&PostParams::default(), &object).await?;
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds() {
        let name = crd.metadata.name.clone().unwrap_or_default();
        let patch = json!([{"op": "replace", "path": "/spec", "value": crd.spec}]);
        definitions.patch(&name, &PatchParams::default(), &Patch::<()>::Json(serde_json::from_value(patch)?)).await?;
    }
    eventually("the tight schema to rule", DEADLINE, async || {
        let refused: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": "x"}, "spec": {},
        }))?;
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        Ok(objects.create(&dry_run, &refused).await.is_err().then_some(()))
    })
    .await?;
    for name in ["none", "new", "interval"] {
        let uid = objects.get(name).await?.metadata.uid.unwrap_or_default();
        let status = json!({"observedGeneration": 1, "lastError": {"code": "InvalidSpec", "message": "m"}});
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid}, {"op": "add", "path": "/status", "value": status},
        ]);
        let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
        let taken = objects.patch_status(name, &PatchParams::default(), &patch).await;
        println!("{name}: {:?}", taken.as_ref().map(|object| object.data.to_string()));
        let taken: Sent<RegistryConnection> = serde_json::from_value(serde_json::to_value(taken?)?)?;
        let taken = taken.stored;
        assert_eq!(taken.status().and_then(|status| status.observed_generation), Some(1), "{name}");
        assert!(taken.readable().is_none(), "{name}");
    }
    Ok(())
}
