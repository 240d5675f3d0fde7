//! Pods that name a Secret because of their images.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testenv::eventually;

use super::{pod, told};
use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG};

impl Scenario {
    /// A pattern for all images in the scenario's part of the registry.
    fn pattern(&self) -> String {
        format!("{}/{}/*", self.shared.registry.host(), self.namespace)
    }

    /// The namespace's table.
    async fn table(&self) -> Result<Option<ConfigMap>> {
        Ok(self.config_maps().get_opt("regcred-autolink").await?)
    }

    /// Waits until its lines are these.
    async fn until_table(&self, wanted: Value) -> Result<ConfigMap> {
        eventually(format!("a table with {wanted}"), DEADLINE, async || {
            let table = self.table().await?;
            Ok(table.filter(|table| json!(table.data.clone().unwrap_or_default()) == wanted))
        })
        .await
    }

    fn table_writes(&self) -> usize {
        self.calls.count(|call| call.request.is_write() && call.request.resource == "configmaps")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_such_an_image_names_the_secret_and_others_do_not() -> Result<()> {
    let scenario = Scenario::start("images").await?;
    let connection = scenario.linked("images", json!({"autoLinkPattern": scenario.pattern()})).await?;
    scenario.until_admitted(&pod(&scenario.image()), &["images"]).await?;
    assert_eq!(scenario.admitted(&pod("nginx")).await?, [""; 0]);
    assert_eq!(scenario.table_writes(), 1);
    assert_eq!(scenario.account_writes(), 0);
    assert!(told(&connection).1.contains("Pods with images"), "{:?}", told(&connection));
    assert_eq!(connection.status.and_then(|status| status.linked_service_accounts), None);
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_written_before_the_login_is_tried_and_whatever_comes_of_that() -> Result<()> {
    let scenario = Scenario::start("ahead").await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec_with(json!({"autoLinkPattern": scenario.pattern()}))).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    let calls = scenario.calls.all();
    let table = calls.iter().position(|call| call.is("create", "configmaps", ""));
    let source = calls.iter().position(|call| call.is("get", "secrets", "") && call.uri.ends_with("/login"));
    assert!(table.is_some() && table < source, "{calls:?}");
    scenario.until_admitted(&pod(&scenario.image()), &["images"]).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_or_its_account_names_stays_in_front() -> Result<()> {
    let scenario = Scenario::start("front").await?;
    let image = scenario.image();
    scenario.create_account("builder", &["of-account", "second"]).await?;
    scenario.create_account("both", &["of-account"]).await?;
    let fields = json!({"autoLinkPattern": scenario.pattern(), "serviceAccounts": ["both"]});
    scenario.linked("images", fields).await?;
    scenario.linked("wide", json!({"autoLinkPattern": format!("{}/**", scenario.shared.registry.host())})).await?;
    scenario.until_admitted(&pod(&image), &["images", "wide"]).await?;
    let with = |fields: Value| {
        let mut spec = pod(&image);
        json_patch::merge(&mut spec, &fields);
        spec
    };
    for (fields, expected) in [
        (json!({"imagePullSecrets": [{"name": "mine"}]}), &["mine", "images", "wide"][..]),
        (json!({"imagePullSecrets": [{"name": "wide"}]}), &["wide", "images"]),
        (json!({"imagePullSecrets": []}), &["images", "wide"]),
        (json!({"serviceAccountName": "builder"}), &["of-account", "second", "images", "wide"]),
        (json!({"serviceAccountName": "both"}), &["of-account", "images", "wide"]),
        (json!({"serviceAccountName": "builder", "imagePullSecrets": [{"name": "mine"}]}), &["mine", "images", "wide"]),
    ] {
        assert_eq!(scenario.admitted(&with(fields.clone())).await?, expected, "{fields}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_follows_the_patterns_and_goes_with_the_last_of_them() -> Result<()> {
    let scenario = Scenario::start_fast("follows", 20).await?;
    let one = json!({"autoLinkPattern": "r.example/one/*", "secret": {"name": "pull"}});
    scenario.linked("one", json!({"autoLinkPattern": "r.example/one/*"})).await?;
    scenario.linked("two", json!({"autoLinkPattern": "r.example/two/*"})).await?;
    scenario.until_table(json!({"one": "r.example/one/*", "two": "r.example/two/*"})).await?;
    scenario.edit("one", json!({"spec": {"autoLinkPattern": "r.example/three/*"}})).await?;
    scenario.until_table(json!({"one": "r.example/three/*", "two": "r.example/two/*"})).await?;
    scenario.edit("one", json!({"spec": one})).await?;
    scenario.until_table(json!({"pull": "r.example/one/*", "two": "r.example/two/*"})).await?;
    scenario.edit("two", json!({"spec": {"autoLinkPattern": null}})).await?;
    scenario.until_table(json!({"pull": "r.example/one/*"})).await?;
    scenario.until_linked("two", "-").await?;
    scenario.connections().delete("one", &DeleteParams::default()).await?;
    eventually("the table to go", DEADLINE, async || Ok(scenario.table().await?.is_none().then_some(()))).await?;
    scenario.until_admitted(&pod("r.example/one/app"), &[]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_somebody_else_is_told_of_and_left_alone() -> Result<()> {
    let scenario = Scenario::start("foreign").await?;
    scenario.open_tables().await?;
    let theirs: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "regcred-autolink", "labels": {"app.kubernetes.io/managed-by": "helm"}},
        "data": {"x": "r.example/*"},
    }))?;
    scenario.config_maps().create(&PostParams::default(), &theirs).await?;
    scenario.write_login("login", PASSWORD).await?;
    scenario.connect("images", scenario.spec_with(json!({"autoLinkPattern": scenario.pattern()}))).await?;
    let refused = scenario.ready("images", "False", "LinkConflict").await?;
    assert!(told(&refused).1.contains("was not made by regcred"), "{:?}", told(&refused));
    assert_eq!(scenario.table_writes(), 0);

    scenario.config_maps().delete("regcred-autolink", &DeleteParams::default()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.until_admitted(&pod(&scenario.image()), &["images"]).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_damaged_or_deleted_is_put_right_with_one_write() -> Result<()> {
    let scenario = Scenario::start("damaged").await?;
    scenario.open_tables().await?;
    scenario.linked("images", json!({"autoLinkPattern": scenario.pattern()})).await?;
    let good = json!({"images": scenario.pattern()});
    scenario.until_table(good.clone()).await?;
    scenario.calls.clear();
    let damage = Patch::Merge(json!({"data": {"images": null, "evil": "***"}}));
    scenario.config_maps().patch("regcred-autolink", &PatchParams::default(), &damage).await?;
    scenario.until_table(good.clone()).await?;
    assert_eq!(scenario.table_writes(), 1);
    scenario.config_maps().delete("regcred-autolink", &DeleteParams::default()).await?;
    scenario.until_table(good.clone()).await?;
    let immutable = Patch::Merge(json!({"data": {"images": "r.example/x"}, "immutable": true}));
    scenario.config_maps().patch("regcred-autolink", &PatchParams::default(), &immutable).await?;
    scenario.until_table(good).await?;
    // Three times in a row is no accident, and is told for a while; Pods are linked all the same.
    let told_of = scenario.until_linked("images", "False/LinkConflict").await?;
    scenario.ready("images", "True", "LoginProven").await?;
    assert!(told(&told_of).1.contains("keeps changing ConfigMap regcred-autolink"), "{:?}", told(&told_of));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_accounts_that_allow_only_their_own_secrets_are_admitted_and_left_out() -> Result<()> {
    let scenario = Scenario::start("mountable").await?;
    scenario.create_account("strict", &[]).await?;
    let mut spec = pod(&scenario.image());
    spec["serviceAccountName"] = "strict".into();
    scenario.linked("images", json!({"autoLinkPattern": scenario.pattern()})).await?;
    scenario.until_admitted(&spec, &["images"]).await?;
    // Kubernetes takes this for true, too.
    let strict = json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "T"}}});
    scenario.edit_account("strict", strict).await?;
    scenario.until_table(json!({"images": scenario.pattern(), "_excludedServiceAccounts": "strict"})).await?;
    scenario.until_admitted(&spec, &[]).await?;
    scenario.until_admitted(&pod(&scenario.image()), &["images"]).await?;
    let told_of = scenario
        .until("images", |now| {
            told(now).1.contains("get nothing by their images, for it allows only Secrets that it names")
        })
        .await?;
    assert_eq!(told(&told_of).0, "True/Linked");

    scenario
        .edit_account("strict", json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": null}}}))
        .await?;
    scenario.until_admitted(&spec, &["images"]).await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_deployment_are_linked_although_nobody_wrote_so_and_the_operator_is_stopped() -> Result<()> {
    let mut scenario = Scenario::start("stopped").await?;
    scenario.linked("images", json!({"autoLinkPattern": scenario.pattern()})).await?;
    scenario.until_admitted(&pod(&scenario.image()), &["images"]).await?;
    scenario.stop_operator().await?;
    let labels = json!({"app": "web"});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod(&scenario.image())},
        },
    }))?;
    let deployments: Api<Deployment> = Api::namespaced(scenario.client.clone(), &scenario.namespace);
    deployments.create(&PostParams::default(), &deployment).await?;
    let pods: Vec<Pod> = eventually("three Pods", DEADLINE, async || {
        let pods = scenario.pods().list(&ListParams::default().labels("app=web")).await?.items;
        Ok((pods.len() == 3).then_some(pods))
    })
    .await?;
    for pod in &pods {
        let named = pod.spec.clone().unwrap_or_default().image_pull_secrets.unwrap_or_default();
        assert_eq!(
            named.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(),
            ["images"],
            "{}",
            pod.name_any()
        );
    }
    deployments.delete("web", &DeleteParams::default()).await?;
    scenario.start_operator().await?;
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_containers_and_two_hundred_connections_keep_no_pod_out() -> Result<()> {
    let scenario = Scenario::start("many").await?;
    scenario.write_login("login", PASSWORD).await?;
    for number in 0..200 {
        let mut spec = scenario.spec_with(json!({"autoLinkPattern": format!("r{number}.example/a*b*c*d*e*f*g*h*")}));
        spec["test"] = json!({"mode": "Off"});
        spec["refreshIntervalMinutes"] = 1440.into();
        scenario.connect(&format!("images-{number}"), spec).await?;
    }
    eventually("the whole table", DEADLINE, async || {
        let table = scenario.table().await?;
        Ok((table.and_then(|table| table.data).is_some_and(|data| data.len() == 200)).then_some(()))
    })
    .await?;
    let image = |number: usize| format!("r{}.example/{}", number % 200, "abcdefgh".repeat(20));
    let containers: Vec<Value> =
        (0..100).map(|number| json!({"name": format!("c{number}"), "image": image(number)})).collect();
    eventually("a Pod that names a hundred Secrets", DEADLINE, async || {
        let started = std::time::Instant::now();
        let named = scenario.admitted(&json!({"containers": containers})).await?;
        println!("{} Secrets in {:?}", named.len(), started.elapsed());
        Ok((named.len() == 100).then_some(()))
    })
    .await?;
    let writes = scenario.table_writes();
    ensure!(writes <= 200, "{writes} writes of one table");
    println!("{writes} writes of one table for 200 connections");
    let ready = async || {
        let all = scenario.connections().list(&ListParams::default()).await?;
        let others: Vec<_> = all.iter().map(told).filter(|(linked, _)| linked != "True/Linked").collect();
        ensure!(others.is_empty(), "{} say otherwise, such as {:?}", others.len(), others[0]);
        Ok(Some(()))
    };
    eventually("all of them to say so", DEADLINE, ready).await?;
    // Events come after the statuses that they tell of.
    eventually("silence", DEADLINE, async || {
        let quiet = scenario.calls.quiet_for(Duration::from_secs(3)).await;
        quiet.map(Some).map_err(|calls| anyhow!("{calls:?}"))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_secret_no_more_lines_are_read_than_twice_what_the_operator_writes() -> Result<()> {
    let mut scenario = Scenario::start("long").await?;
    scenario.open_tables().await?;
    scenario.linked("images", json!({"autoLinkPattern": scenario.pattern()})).await?;
    scenario.stop_operator().await?;
    let spec = pod(&scenario.image());
    for (before, expected) in [(1022, vec!["images", "long"]), (1024, vec!["images"])] {
        let long = format!("{}{}\nx.example/last", "x.example/*\n".repeat(before), scenario.pattern());
        let table = json!({"data": {"images": scenario.pattern(), "long": long}});
        scenario.config_maps().patch("regcred-autolink", &PatchParams::default(), &Patch::Merge(&table)).await?;
        scenario.until_admitted(&spec, &expected).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_full_of_hostile_lines_keeps_no_pod_out_and_is_put_right() -> Result<()> {
    let mut scenario = Scenario::start("hostile").await?;
    scenario.open_tables().await?;
    scenario.linked("images", json!({"autoLinkPattern": scenario.pattern()})).await?;
    let spec = pod(&scenario.image());
    scenario.until_admitted(&spec, &["images"]).await?;
    scenario.stop_operator().await?;
    let worst = format!("{}/{}", scenario.shared.registry.host(), "*a".repeat(100));
    let expression = "^.{1000}.{1000}.{1000}.{1000}$";
    let hostile = [
        ("the worst patterns", worst.as_str()),
        ("expressions", expression),
        ("everything", "***"),
        ("control characters", "\u{1}\u{7f}\r"),
        ("nothing", ""),
        ("one long line", &"a".repeat(500_000)),
    ];
    // All of them in one Secret's row, or in as many rows as are read to their ends.
    for ((name, line), row) in hostile.into_iter().flat_map(|hostile| [(hostile, usize::MAX), (hostile, 1024)]) {
        let lines: Vec<&str> = std::iter::repeat_n(line, 900_000 / (line.len() + 1)).collect();
        let mut data: BTreeMap<String, String> =
            lines.chunks(row).enumerate().map(|(number, lines)| (format!("evil-{number}"), lines.join("\n"))).collect();
        let rows = data.len();
        data.insert("images".into(), scenario.pattern());
        data.insert("_excludedServiceAccounts".into(), lines[..lines.len().min(10)].join("\n"));
        // A whole other content, which is no patch of the one before.
        let patch = Patch::Merge(json!({"data": null}));
        scenario.config_maps().patch("regcred-autolink", &PatchParams::default(), &patch).await?;
        let patch = Patch::Merge(json!({"data": data}));
        scenario.config_maps().patch("regcred-autolink", &PatchParams::default(), &patch).await?;
        // The API server sees the table after milliseconds. What would cost too much it gives up, and the Pod is as it was.
        for _ in 0..10 {
            let started = std::time::Instant::now();
            let named = scenario.admitted(&spec).await.with_context(|| name.to_owned())?;
            println!("{name}: {} lines in {rows} rows, {} named in {:?}", lines.len(), named.len(), started.elapsed());
        }
    }
    scenario.start_operator().await?;
    scenario.until_table(json!({"images": scenario.pattern()})).await?;
    scenario.until_linked("images", "True/Linked").await?;
    scenario.finish().await
}
