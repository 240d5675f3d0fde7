//! Which registries administrators let connections name.

use anyhow::{Result, ensure};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::eventually;

use super::cluster::Cluster;
use crate::{scenario::DEADLINE, shared::OPERATOR_NAMESPACE};

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
