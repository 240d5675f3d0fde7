//! Which registries administrators let connections name.

use anyhow::{Result, ensure};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::eventually;

use super::cluster::Cluster;
use crate::{
    scenario::DEADLINE,
    shared::{CHART, OPERATOR_NAMESPACE},
};

#[tokio::test(flavor = "multi_thread")]
async fn administrators_say_which_registries_connections_may_name() -> Result<()> {
    let cluster = Cluster::start().await?;
    let values = [
        "policies.allowedRegistries={r.example,*.team.example,r.example:5000,docker.io}",
        "policies.forbidInsecure=true",
    ];
    cluster.install_in(OPERATOR_NAMESPACE, &values).await?;
    let generic = |url: &str, more: Value| {
        let mut provider = json!({"registryUrl": url, "secretRef": {"name": "login"}});
        json_patch::merge(&mut provider, &more);
        json!({"generic": provider})
    };
    let none = || json!({});
    let (ocean, ionos) = (
        json!({"registryName": "x", "secretRef": {"name": "x"}}),
        json!({"registryName": "xyz", "secretRef": {"name": "x"}}),
    );
    let cases = [
        (generic("https://r.example", none()), None),
        (generic("R.Example/v2/", none()), None),
        (generic("https://r.example:5000", none()), None),
        (generic("https://a.b.team.example", none()), None),
        (json!({"dockerhub": {"secretRef": {"name": "x"}}}), None),
        (generic("https://r.example", json!({"trustedTokenHosts": ["auth.team.example"]})), None),
        (generic("https://r.example", json!({"imageHost": "a.team.example"})), None),
        (generic("https://r.example", json!({"imageHost": null, "trustedTokenHosts": null, "insecure": null})), None),
        (generic("https://r.example", json!({"imageHost": "evil.example"})), Some("r.example, *.team.example")),
        (generic("https://r.examplehttps://", none()), Some("")),
        (generic("https://r.examplehttp:///", none()), Some("")),
        (
            generic("https://r.example", json!({"trustedTokenHosts": ["r.example", "evil.example"]})),
            Some("r.example, *.team.example"),
        ),
        (generic("https://team.example", none()), Some("r.example, *.team.example")),
        (generic("https://evil.example", none()), Some("r.example, *.team.example")),
        (generic("https://r.example.evil.example", none()), Some("r.example, *.team.example")),
        (generic("https://evilteam.example", none()), Some("r.example, *.team.example")),
        (generic("https://r.example:443", none()), Some("r.example, *.team.example")),
        (generic("https://r.example@evil.example", none()), Some("")),
        (generic("https://evil.example#.team.example", none()), Some("")),
        (generic("https://evil.example?.team.example", none()), Some("")),
        (generic("https://evil.example\\.team.example", none()), Some("")),
        (
            generic("https://r.example", json!({"trustedTokenHosts": ["evil.example"]})),
            Some("r.example, *.team.example"),
        ),
        (generic("http://r.example", json!({"insecure": true})), Some("over plain http")),
        (generic("r.example", json!({"insecure": true})), Some("over plain http")),
        (json!({"digitalocean": ocean}), Some("r.example, *.team.example")),
        (
            json!({"digitalocean": {"registryName": "x", "secretRef": {"name": "x"}, "apiUrl": null}}),
            Some("r.example, *.team.example"),
        ),
        (
            json!({"digitalocean": {"registryName": "x", "secretRef": {"name": "x"}, "apiUrl": "https://r.example"}}),
            None,
        ),
        (json!({"ionos": ionos}), Some("r.example, *.team.example")),
    ];
    let kind = ApiResource::erase::<RegistryConnection>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.shop, &kind);
    let apply = async |provider: &Value| {
        let object = serde_json::from_value(json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
            "metadata": {"name": "images"}, "spec": {"provider": provider},
        }));
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        objects.create(&dry_run, &object.map_err(kube::Error::SerdeError)?).await
    };
    let forbidden = generic("https://evil.example", none());
    let in_force = async || Ok(apply(&forbidden).await.is_err().then_some(()));
    eventually("the policy to be in force", DEADLINE, in_force).await?;
    let mut wrong = vec![];
    for (provider, expected) in cases {
        let result = apply(&provider).await.map(drop);
        let is_right = match (&result, expected) {
            (Ok(()), None) => true,
            (Err(kube::Error::Api(status)), Some(words)) => status.message.contains(words),
            (Ok(()), Some(_)) | (Err(_), _) => false,
        };
        if !is_right {
            wrong.push(format!("{provider}: {result:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_became_forbidden_can_be_labelled_suspended_and_deleted_but_not_aimed_elsewhere() -> Result<()>
{
    let cluster = Cluster::installed().await?;
    cluster.connect("images").await?;
    cluster
        .helm(&[
            "upgrade",
            "regcred",
            CHART,
            "--reset-then-reuse-values",
            "--set",
            "policies.allowedRegistries={r.example}",
        ])
        .await?;
    let connections = cluster.connections();
    let edit = async |change: Value| connections.patch("images", &PatchParams::default(), &Patch::Merge(change)).await;
    let aimed = |host: &str| json!({"spec": {"provider": {"generic": {"registryUrl": format!("http://{host}")}}}});
    eventually("the policy to be in force", DEADLINE, async || {
        let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
        let result = connections.patch("images", &dry_run, &Patch::Merge(aimed("127.0.0.1:1"))).await;
        Ok(result.is_err().then_some(()))
    })
    .await?;
    ensure!(edit(aimed("127.0.0.1:1")).await.is_err());
    edit(json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"]}})).await?;
    edit(json!({"spec": {"suspend": true}})).await?;
    connections.delete("images", &DeleteParams::default()).await?;
    // As a garbage collector does that deletes in the foreground.
    edit(json!({"metadata": {"finalizers": null}})).await?;
    ensure!(connections.get_opt("images").await?.is_none());
    Ok(())
}
