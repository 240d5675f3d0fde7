//! What a test sees of an operator's requests, and what an operator sees of the cluster.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use testenv::{Calls, Snapshot, eventually, namespace};

use crate::{DEADLINE, plane};

fn secret(name: &str) -> Secret {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

#[tokio::test]
async fn counts_calls_by_verb_resource_and_subresource() {
    let plane = plane().await;
    let namespace = namespace(&plane.client().unwrap(), "calls").await.unwrap();
    // A controller makes it, in its own time; looked for without being counted.
    let made = Api::<ServiceAccount>::namespaced(plane.client().unwrap(), &namespace);
    eventually("the account", DEADLINE, async || Ok(made.get_opt("default").await?)).await.unwrap();
    let calls = Calls::new();
    let client = plane.confined_client(&namespace, &calls).unwrap();
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    secrets.create(&PostParams::default(), &secret("one")).await.unwrap();
    secrets.create(&PostParams::default(), &secret("one")).await.unwrap_err();
    let patch = json!({ "metadata": { "labels": { "a": "b" } } });
    secrets.patch("one", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    secrets.list(&ListParams::default()).await.unwrap();
    drop(secrets.watch(&WatchParams::default(), "0").await.unwrap());
    secrets.delete("one", &DeleteParams::default()).await.unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client, &namespace);
    let token = serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
    accounts.create_token_request("default", &PostParams::default(), &token).await.unwrap();

    let seen: Vec<String> = calls.all().iter().map(|c| format!("{} {:?}", c.request.verb, c.status)).collect();
    let expected = ["create 201", "create 409", "patch 200", "list 200", "watch 200", "delete 200", "create 201"];
    assert_eq!(seen, expected.map(|line| line.replace(' ', " Some(") + ")"));
    assert_eq!(calls.count(|call| call.is("create", "secrets", "")), 2);
    assert_eq!(calls.count(|call| call.is("create", "serviceaccounts", "token")), 1);
    assert_eq!(calls.writes().len(), 5);
    calls.clear();
    assert!(calls.all().is_empty());
}

#[tokio::test]
async fn quiet_is_broken_by_a_read_but_not_by_watch_and_lease() {
    let plane = plane().await;
    let namespace = namespace(&plane.client().unwrap(), "quiet").await.unwrap();
    let calls = Calls::new();
    let client = plane.confined_client(&namespace, &calls).unwrap();
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    let leases = Api::<Lease>::namespaced(client, &namespace);

    let hum = async {
        leases.list(&ListParams::default()).await.unwrap();
        drop(secrets.watch(&WatchParams::default(), "0").await.unwrap());
    };
    let (quiet, ()) = tokio::join!(biased; calls.quiet_for(Duration::from_millis(200)), hum);
    assert_eq!(quiet, Ok(()));

    let (quiet, _) = tokio::join!(biased; calls.quiet_for(DEADLINE), secrets.get_opt("absent"));
    let loud = quiet.unwrap_err();
    assert!(loud.len() == 1 && loud[0].is("get", "secrets", ""), "{loud:?}");
}

#[tokio::test]
async fn confine_shows_only_one_namespace_and_only_for_the_chosen_resources() {
    let plane = plane().await;
    let admin = plane.client().unwrap();
    let here = namespace(&admin, "here").await.unwrap();
    let there = namespace(&admin, "there").await.unwrap();
    for place in [&here, &there] {
        let secrets = Api::<Secret>::namespaced(admin.clone(), place);
        secrets.create(&PostParams::default(), &secret("one")).await.unwrap();
        let lease: Lease = serde_json::from_value(json!({ "metadata": { "name": "one" } })).unwrap();
        let leases = Api::<Lease>::namespaced(admin.clone(), place);
        leases.create(&PostParams::default(), &lease).await.unwrap();
    }
    let client = plane.confined_client(&here, &Calls::new()).unwrap();
    let seen = Api::<Secret>::all(client.clone()).list_metadata(&ListParams::default()).await.unwrap();
    let places: Vec<_> = seen.items.iter().filter_map(|object| object.namespace()).collect();
    assert_eq!(places, [here]);
    let other = Api::<Secret>::namespaced(client.clone(), &there).get_opt("one").await.unwrap();
    assert!(other.is_some(), "a named namespace is left alone");
    let seen = Api::<Lease>::all(client).list(&ListParams::default()).await.unwrap();
    assert!(seen.items.iter().any(|object| object.namespace().as_ref() == Some(&there)));
}

#[tokio::test]
async fn a_snapshot_names_what_was_written() {
    let client = plane().await.client().unwrap();
    let namespace = namespace(&client, "settled").await.unwrap();
    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    secrets.create(&PostParams::default(), &secret("one")).await.unwrap();
    let kinds = [ApiResource::erase::<ConfigMap>(&())];
    let before = Snapshot::take(&client, &namespace, &kinds).await.unwrap();
    let patch = json!({ "metadata": { "labels": { "a": "b" } } });
    for _ in 0..2 {
        secrets.patch("one", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    let after = Snapshot::take(&client, &namespace, &kinds).await.unwrap();
    let differences = before.differences(&after);
    assert!(differences.len() == 1 && differences[0].starts_with("Secret one was written"), "{differences:?}");
    // The same patch again changes nothing, so nothing is written.
    secrets.patch("one", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let again = Snapshot::take(&client, &namespace, &kinds).await.unwrap();
    assert_eq!(after.differences(&again), Vec::<String>::new());
}
