//! Many connections of namespaces: what each costs does not depend on how many there are.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::PostParams};
use regcred::api::RegistryConnection;
use serde_json::json;
use testenv::eventually;

use super::{CONCURRENCY, Wide};
use crate::scenario::{DEADLINE, PASSWORD, is_ready};

/// How many namespaces there are.
const NAMESPACES: usize = 10;

/// How many connections are in each.
const IN_EACH: usize = 10;

/// How many connections that makes.
const N: usize = NAMESPACES * IN_EACH;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_connections_cost_one_secret_and_two_statuses_each_and_then_nothing() -> Result<()> {
    let mut wide = Wide::start("tenfold").await?;
    wide.create_namespaces(0..NAMESPACES).await?;
    let login = json!({"username": wide.scenario.namespace, "password": PASSWORD});
    let login: Secret = serde_json::from_value(json!({"metadata": {"name": "login"}, "stringData": login}))?;
    for number in 0..NAMESPACES {
        wide.secrets(number).create(&PostParams::default(), &login).await?;
    }
    wide.at_rest().await?;
    wide.scenario.calls.clear();
    stream::iter(0..N)
        .map(|number| {
            let connections = connections(&wide, number % NAMESPACES);
            let name = format!("images-{}", number / NAMESPACES);
            let connection = json!({
                "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": name},
                "spec": wide.scenario.spec(),
            });
            async move {
                let connection: RegistryConnection = serde_json::from_value(connection)?;
                Ok::<_, anyhow::Error>(connections.create(&PostParams::default(), &connection).await?)
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<_>>()
        .await?;
    eventually("all to be ready", DEADLINE, async || {
        let all: Api<RegistryConnection> = Api::all(wide.scenario.client.clone());
        let all = all.list(&Default::default()).await?.items;
        let ready = all.iter().filter(|one| is_ready(one, "True", "LoginProven")).count();
        ensure!((all.len(), ready) == (N, N), "{ready} of {}", all.len());
        Ok(Some(()))
    })
    .await?;
    wide.at_rest().await?;

    let mut statuses = BTreeMap::<_, usize>::new();
    for call in wide.scenario.calls.all().iter().filter(|call| call.is("patch", "registryconnections", "status")) {
        *statuses.entry((call.request.namespace.clone(), call.request.name.clone())).or_default() += 1;
    }
    assert_eq!(statuses.len(), N);
    let most = statuses.iter().max_by_key(|(_, count)| **count);
    ensure!(most.is_none_or(|(_, count)| *count <= 2), "the most statuses: {most:?}");
    let mut asked = wide.asked();
    asked.take("patch registryconnections/status");
    assert_eq!(asked.take("create secrets"), N);
    assert_eq!(asked.take("get secrets"), N, "each reads its login once");
    asked.nothing_else()?;
    assert_eq!(wide.scenario.good_logins()?, 1, "one test for all, as they have the same login");
    let events = wide.scenario.calls.count(|call| call.request.resource == "events");
    ensure!(events <= N, "{events} events");

    wide.scenario.calls.clear();
    wide.idles().await?;
    wide.asked().nothing_else()?;
    wide.restarts_in_silence().await?;
    let all: Api<Secret> = Api::all(wide.scenario.client.clone());
    let delivered = all.list_metadata(&Default::default()).await?;
    let delivered = delivered.iter().filter(|secret| secret.name_any().starts_with("images-"));
    assert_eq!(delivered.count(), N);
    Ok(())
}

fn connections(wide: &Wide, number: usize) -> Api<RegistryConnection> {
    Api::namespaced(wide.scenario.client.clone(), &wide.namespace(number))
}
