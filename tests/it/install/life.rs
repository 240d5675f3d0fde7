//! The life of a release: installed, upgraded, rolled back, uninstalled, installed again.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResourceExt, Discovery, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
    discovery::verbs,
};
use regcred::api::RegistryConnection;
use testenv::{Scratch, audit::AuditEvent, eventually};

use super::cluster::Cluster;
use crate::{scenario::DEADLINE, shared::CHART};

/// The chart as an older release may have had it: a column of one kind is not there yet, nor is a value.
fn older_chart() -> Result<Scratch> {
    const COLUMNS: &str = "additionalPrinterColumns:\n";
    let scratch = Scratch::new("chart")?;
    copy(Path::new(CHART), scratch.path())?;
    let file = scratch.path().join("templates/crd-registryconnections.yaml");
    let text = fs::read_to_string(&file)?;
    let begin = text.find(COLUMNS).context("columns")? + COLUMNS.len();
    let first = text[begin..].find("- ").context("a column")?;
    let end = begin + first + 2 + text[begin + first + 2..].find("- ").context("another column")?;
    fs::write(file, format!("{}{}", &text[..begin + first], &text[end..]))?;
    fs::remove_file(scratch.path().join("templates/policies/leases.yaml"))?;
    let values = scratch.path().join("values.yaml");
    let text = fs::read_to_string(&values)?;
    ensure!(text.contains("  leases: true\n"));
    fs::write(values, text.replace("  leases: true\n", ""))?;
    fs::remove_file(scratch.path().join("values.schema.json"))?;
    Ok(scratch)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn installed_upgraded_rolled_back_uninstalled_and_installed_again_it_keeps_every_secret() -> Result<()> {
    let cluster = Cluster::start().await?;
    let chart = older_chart()?;
    let notes = cluster.install_from(&chart.path().to_string_lossy()).await?;
    ensure!(notes.contains("linked by ServiceAccounts and by their images"), "{notes}");
    cluster.connect("images").await?;
    let started = Instant::now();
    let pod = cluster.pod("regcred-1").await?;
    cluster.ready("images").await?;
    println!("Ready {} ms after the operator's start", started.elapsed().as_millis());
    let delivered = cluster.delivered().await?;
    ensure!(delivered.0.len() == 1, "{delivered:?}");

    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let columns = async || -> Result<usize> {
        let version = definitions.get(RegistryConnection::crd_name()).await?.spec.versions.remove(0);
        Ok(version.additional_printer_columns.unwrap_or_default().len())
    };
    let older = columns().await?;
    cluster
        .helm(&["upgrade", "regcred", CHART, "--reset-then-reuse-values", "--set", "operator.logLevel=debug"])
        .await?;
    ensure!(columns().await? == older + 1, "an upgrade upgrades the kinds");
    pod.end().await?;
    let pod = cluster.pod("regcred-2").await?;
    pod.running.ready().await?;
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);

    cluster.helm(&["rollback", "regcred", "1"]).await?;
    pod.end().await?;
    let pod = cluster.pod("regcred-3").await?;
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    let delivered = cluster.delivered().await?;

    // As it is done, with the operator running until its Deployment goes.
    cluster.helm(&["uninstall", "regcred"]).await?;
    pod.end().await?;
    ensure!(definitions.get_opt(RegistryConnection::crd_name()).await?.is_some(), "the kinds went");
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);

    cluster.install().await?;
    let pod = cluster.pod("regcred-4").await?;
    pod.running.ready().await?;
    cluster.ready("images").await?;
    ensure!(cluster.delivered().await? == delivered);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_are_deleted_while_it_runs_take_no_secret_along_and_nothing_holds_them_up() -> Result<()> {
    let cluster = Cluster::installed().await?;
    let pod = cluster.pod("regcred-1").await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let delivered = cluster.delivered().await?;
    let held: Vec<_> = delivered.0.iter().map(Resource::meta).chain(delivered.1.iter().map(Resource::meta)).collect();
    ensure!(held.iter().all(|meta| meta.finalizers.is_none() && meta.owner_references.is_none()), "{held:?}");
    let connection = cluster.connections().get("images").await?;
    ensure!(connection.finalizers().is_empty());

    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    for definition in definitions.list(&ListParams::default()).await? {
        definitions.delete(&definition.name_any(), &DeleteParams::default()).await?;
    }
    eventually("the kinds to go", DEADLINE, async || {
        Ok(definitions.list(&ListParams::default()).await?.items.is_empty().then_some(()))
    })
    .await?;
    pod.running.ready().await.context("ready without its kinds")?;
    // A minute later it looks whether what these Secrets belong to is really gone.
    let is_look = |event: &AuditEvent| {
        let kinds = ["registryconnections", "customresourcedefinitions"];
        event.verb == "get" && event.response_status.code == 404 && kinds.contains(&&*event.object_ref.resource)
    };
    eventually("the operator to look for them", DEADLINE, async || {
        let seen = cluster.plane.audit_events("system:serviceaccount:regcred-system:regcred")?;
        Ok(seen.iter().any(is_look).then_some(()))
    })
    .await?;
    cluster.helm(&["upgrade", "regcred", CHART, "--reset-then-reuse-values"]).await?;
    cluster.connect("more").await?;
    cluster.ready("more").await?;
    let (secrets, _) = cluster.delivered().await?;
    ensure!(delivered.0.iter().all(|secret| secrets.contains(secret)), "{secrets:?}");
    Ok(())
}

/// All objects of the cluster, of every kind there is.
async fn everything(client: &Client) -> Result<Vec<DynamicObject>> {
    let mut all = vec![];
    for group in Discovery::new(client.clone()).run().await?.groups() {
        for (kind, capabilities) in group.recommended_resources() {
            if capabilities.supports_operation(verbs::LIST) {
                let objects: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
                all.extend(objects.list(&ListParams::default()).await.with_context(|| kind.kind.clone())?.items);
            }
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_object_of_any_kind_waits_for_us_to_be_deleted() -> Result<()> {
    let cluster = Cluster::installed().await?;
    let pod = cluster.pod("regcred-1").await?;
    cluster.connect("images").await?;
    cluster.ready("images").await?;
    let all = everything(&cluster.client).await?;
    let ours = |object: &&DynamicObject| {
        let metadata = &object.metadata;
        metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some("regcred"))
    };
    let names: Vec<String> = all.iter().filter(ours).map(DynamicObject::name_any).collect();
    for name in ["images", "regcred-autolink", "regcred"] {
        ensure!(names.iter().any(|known| known == name), "{names:?}");
    }
    for object in &all {
        let ends = |text: &String| text.contains("regcred");
        ensure!(!object.finalizers().iter().any(ends), "{object:?}");
    }
    // ServiceAccounts show no managers; the test above looks at them.
    for object in all.iter().filter(ours) {
        ensure!(object.owner_references().is_empty(), "{object:?}");
    }
    pod.end().await
}
