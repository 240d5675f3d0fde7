//! What the API server refuses: to the operator's own account, and to others who write tables.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
    events::v1::Event,
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use testenv::{eventually, namespace};

use super::cluster::Cluster;
use crate::{scenario::DEADLINE, shared::OPERATOR_NAMESPACE};

/// What is tried on an object.
#[derive(Clone, Debug)]
enum Act {
    Create,
    /// A merge patch.
    Merge(Value),
    /// As it is with this merged into it, as a whole.
    Put(Value),
    /// A server-side apply of the object with this added, by force.
    Apply(Value),
    Delete,
    /// Everything in the namespace.
    DeleteAll,
}

/// Does it; the object need not be there for it to be created.
async fn act<K>(api: &Api<K>, act: &Act, object: &Value) -> Result<(), kube::Error>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let apply = PatchParams { field_manager: Some("regcred".into()), force: true, ..PatchParams::default() };
    match act {
        Act::Create => {
            let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
            let ours = PostParams { field_manager: Some("regcred".into()), ..PostParams::default() };
            api.create(&ours, &object).await.map(drop)
        }
        Act::Merge(patch) => api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop),
        Act::Put(change) => {
            let mut whole = serde_json::to_value(api.get(name).await?).map_err(kube::Error::SerdeError)?;
            json_patch::merge(&mut whole, change);
            let whole = serde_json::from_value(whole).map_err(kube::Error::SerdeError)?;
            api.replace(name, &PostParams::default(), &whole).await.map(drop)
        }
        Act::Apply(patch) => api.patch(name, &apply, &Patch::Apply(patch)).await.map(drop),
        Act::Delete => api.delete(name, &DeleteParams::default()).await.map(drop),
        Act::DeleteAll => api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.map(drop),
    }
}

/// Whether this policy refused it, and in which words.
fn refused(result: Result<(), kube::Error>, policy: &str) -> Result<String, String> {
    match result {
        Err(kube::Error::Api(status)) if status.message.contains(policy) => Ok(status.message.clone()),
        Err(error) => Err(format!("something else refused it: {error}")),
        Ok(()) => Err("it was done".to_owned()),
    }
}

fn pull_secret(name: &str, more: Value) -> Value {
    let mut secret = json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "regcred"}},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{\"auths\":{}}"},
    });
    json_patch::merge(&mut secret, &more);
    secret
}

fn typed(kind: &str, data: Value) -> Value {
    json!({
        "metadata": {"name": "new", "labels": {"app.kubernetes.io/managed-by": "regcred"}},
        "type": kind, "stringData": data,
    })
}

/// A namespace in which others have objects of their own, a client of the operator's account, and one of theirs.
struct Stage {
    cluster: Cluster,
    operator: Client,
}

impl Stage {
    /// The operator's account gets every right there is: here it is the policy that has to refuse.
    async fn set() -> Result<Self> {
        let cluster = Cluster::installed().await?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "by-mistake"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": "regcred"}],
        }))?;
        Api::<ClusterRoleBinding>::all(cluster.client.clone()).create(&PostParams::default(), &binding).await?;
        let operator = Client::try_from(cluster.plane.service_account_config(OPERATOR_NAMESPACE, "regcred").await?)?;
        let stage = Self { cluster, operator };
        for namespace in [&stage.cluster.shop, "kube-system"] {
            let secrets = stage.theirs::<Secret>(namespace);
            for secret in [
                json!({"metadata": {"name": "theirs"}, "stringData": {"key": "value"}}),
                pull_secret("pull", json!({"metadata": {"labels": null}})),
                // One of theirs that has our label is ours as far as anybody can see.
                pull_secret("ours", json!({})),
            ] {
                secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
            }
            let account = json!({
                "metadata": {"name": "app", "annotations": {"a": "b"}, "labels": {"c": "d"}}, "secrets": [{"name": "x"}],
            });
            let accounts = stage.theirs::<ServiceAccount>(namespace);
            accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
            let config_map = json!({"metadata": {"name": "theirs"}, "data": {"key": "value"}});
            act(&stage.theirs::<ConfigMap>(namespace), &Act::Create, &config_map).await?;
        }
        stage.until_in_force().await?;
        Ok(stage)
    }

    /// The API server looks for new policies once in a second.
    async fn until_in_force(&self) -> Result<()> {
        let (tables, others): (Api<ConfigMap>, Api<ConfigMap>) = (self.theirs("default"), self.ours("default"));
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let named = |name: &str| serde_json::from_value::<ConfigMap>(json!({"metadata": {"name": name}}));
        eventually("the policies to be in force", DEADLINE, async || {
            let is_refused = tables.create(&dry_run, &named("regcred-autolink")?).await.is_err()
                && others.create(&dry_run, &named("other")?).await.is_err();
            Ok(is_refused.then_some(()))
        })
        .await
    }

    fn ours<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.operator.clone(), namespace)
    }

    fn theirs<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), namespace)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_operators_token_writes_nothing_but_what_the_operator_writes() -> Result<()> {
    let stage = Stage::set().await?;
    let shop = stage.cluster.shop.as_str();
    let named = |name: &str| json!({"metadata": {"name": name}});
    let finalizer = json!({"metadata": {"finalizers": ["regcred.dev/x"]}});
    let owner =
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "y"}]}});
    let claim = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "regcred"}}});
    let ours = || pull_secret("new", json!({}));
    let (basic, tls) = (json!({"username": "a", "password": "b"}), json!({"tls.crt": "", "tls.key": ""}));
    let token = pull_secret(
        "token",
        json!({"type": "kubernetes.io/service-account-token", "stringData": null,
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "app"}}}),
    );
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull",
        "labels": {"app.kubernetes.io/managed-by": "regcred"}}});
    let secrets = [
        (shop, Act::Create, typed("Opaque", json!({"a": "b"}))),
        (shop, Act::Create, typed("kubernetes.io/basic-auth", basic)),
        (shop, Act::Create, typed("kubernetes.io/tls", tls)),
        (shop, Act::Create, typed("kubernetes.io/dockercfg", json!({".dockercfg": "{}"}))),
        (shop, Act::Create, typed("example.com/other", json!({}))),
        (shop, Act::Create, token),
        ("kube-system", Act::Create, typed("bootstrap.kubernetes.io/token", json!({"token-id": "abcdef"}))),
        (shop, Act::Create, pull_secret("new", json!({"metadata": {"labels": null}}))),
        (
            shop,
            Act::Create,
            pull_secret("new", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "helm"}}})),
        ),
        (shop, Act::Create, pull_secret("new", finalizer.clone())),
        (shop, Act::Create, pull_secret("new", owner.clone())),
        ("kube-system", Act::Create, ours()),
        ("kube-public", Act::Create, ours()),
        ("kube-node-lease", Act::Create, ours()),
        (shop, Act::Merge(json!({"stringData": {"key": "other"}})), named("theirs")),
        (shop, Act::Merge(claim.clone()), named("theirs")),
        (shop, Act::Merge(json!({"stringData": {".dockerconfigjson": "{}"}})), named("pull")),
        (shop, Act::Merge(claim.clone()), named("pull")),
        (shop, Act::Put(json!({"stringData": {"key": "other"}})), named("theirs")),
        (shop, Act::Put(claim), named("pull")),
        // Argo CD goes by the label alone, and reads these keys.
        (
            shop,
            Act::Create,
            pull_secret(
                "new",
                json!({
                    "metadata": {"labels": {"argocd.argoproj.io/secret-type": "cluster"}},
                    "stringData": {"name": "prod", "server": "https://evil.example", "config": "{}"},
                }),
            ),
        ),
        (shop, Act::Merge(json!({"stringData": {"server": "https://evil.example"}})), named("ours")),
        (shop, Act::Create, typed("regcred.dev/ledger", json!({"ledger.json": "{}"}))),
        (OPERATOR_NAMESPACE, Act::Create, typed("regcred.dev/ledger", json!({"ledger.json": "{}", "server": "x"}))),
        (
            shop,
            Act::Create,
            json!({
                "metadata": {"generateName": "new"}, "type": "kubernetes.io/dockerconfigjson",
                "stringData": {".dockerconfigjson": "{\"auths\":{}}"},
            }),
        ),
        (shop, Act::Apply(applied), named("pull")),
        (shop, Act::Delete, named("theirs")),
        (shop, Act::Delete, named("pull")),
        (shop, Act::Merge(finalizer.clone()), named("ours")),
        (shop, Act::Merge(owner.clone()), named("ours")),
        ("kube-system", Act::Merge(json!({"metadata": {"labels": {"a": "b"}}})), named("ours")),
        ("kube-system", Act::Delete, named("ours")),
        // It may end what is its own before it meets what is not.
        (shop, Act::DeleteAll, named("")),
    ];
    let accounts = [
        (shop, Act::Create, named("new")),
        (shop, Act::Delete, named("app")),
        (shop, Act::DeleteAll, named("")),
        (shop, Act::Merge(json!({"metadata": {"labels": {"e": "f"}}})), named("app")),
        (shop, Act::Merge(json!({"metadata": {"labels": {"c": null}}})), named("app")),
        (shop, Act::Merge(json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "f"}}})), named("app")),
        (shop, Act::Merge(json!({"metadata": {"annotations": {"a": "other"}}})), named("app")),
        (shop, Act::Merge(json!({"metadata": {"annotations": {"a": null}}})), named("app")),
        (shop, Act::Merge(json!({"secrets": [{"name": "theirs"}]})), named("app")),
        (shop, Act::Merge(json!({"automountServiceAccountToken": true})), named("app")),
        (shop, Act::Merge(finalizer), named("app")),
        (shop, Act::Merge(owner), named("app")),
        ("kube-system", Act::Merge(json!({"imagePullSecrets": [{"name": "new"}]})), named("app")),
    ];
    let config_maps = [
        (shop, Act::Create, named("new")),
        (shop, Act::Merge(json!({"data": {"key": "other"}})), named("theirs")),
        (shop, Act::Delete, named("theirs")),
        (shop, Act::DeleteAll, named("")),
        ("kube-system", Act::Create, named("regcred-autolink")),
        ("kube-system", Act::Merge(json!({"data": {"key": "other"}})), named("theirs")),
    ];
    let event = |name: &str, reporter: &str, more: Value| {
        let mut event = json!({
            "metadata": {"name": name}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "A", "action": "B",
            "reportingController": reporter, "reportingInstance": "x", "note": "",
            "regarding": {"kind": "Secret", "name": "x", "namespace": shop},
        });
        json_patch::merge(&mut event, &more);
        event
    };
    act(&stage.theirs::<Event>(shop), &Act::Create, &event("theirs", "kubelet", json!({}))).await?;
    let owned =
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "y"}]}});
    let events = [
        (shop, Act::Create, event("new", "kubelet", json!({}))),
        (shop, Act::Create, event("new", "regcred", json!({"metadata": {"finalizers": ["regcred.dev/x"]}}))),
        (shop, Act::Create, event("new", "regcred", owned.clone())),
        ("kube-system", Act::Create, event("new", "regcred", json!({"regarding": {"namespace": "kube-system"}}))),
        (shop, Act::Merge(json!({"metadata": {"labels": {"a": "b"}}})), named("theirs")),
        (
            shop,
            Act::Put(json!({"series": {"count": 9, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}})),
            named("theirs"),
        ),
        (shop, Act::Delete, named("theirs")),
    ];
    let lease = |name: &str| json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "regcred"}}});
    let mut held = lease("regcred");
    json_patch::merge(&mut held, &owned);
    let leases = [
        (shop, Act::Create, lease("regcred")),
        ("kube-system", Act::Create, lease("kube-scheduler")),
        (OPERATOR_NAMESPACE, Act::Create, lease("other")),
        (OPERATOR_NAMESPACE, Act::Create, held),
    ];
    let (mut told, mut wrong) = (vec![], vec![]);
    let mut note = |what: String, result| match refused(result, "operator.regcred.dev") {
        Ok(words) => told.push((what, words)),
        Err(why) => wrong.push(format!("{what}: {why}")),
    };
    for (namespace, what, object) in &secrets {
        let result = act(&stage.ours::<Secret>(namespace), what, object).await;
        note(format!("Secret {} in {namespace}: {what:?}", object["metadata"]["name"]), result);
    }
    for (namespace, what, object) in &accounts {
        let result = act(&stage.ours::<ServiceAccount>(namespace), what, object).await;
        note(format!("ServiceAccount {} in {namespace}: {what:?}", object["metadata"]["name"]), result);
    }
    for (namespace, what, object) in &config_maps {
        let result = act(&stage.ours::<ConfigMap>(namespace), what, object).await;
        note(format!("ConfigMap {} in {namespace}: {what:?}", object["metadata"]["name"]), result);
    }
    for (namespace, what, object) in &events {
        let result = act(&stage.ours::<Event>(namespace), what, object).await;
        note(format!("Event {} in {namespace}: {what:?}", object["metadata"]["name"]), result);
    }
    for (namespace, what, object) in &leases {
        let result = act(&stage.ours::<Lease>(namespace), what, object).await;
        note(format!("Lease {} in {namespace}: {what:?}", object["metadata"]["name"]), result);
    }
    for (namespace, account) in [(shop, "app"), (OPERATOR_NAMESPACE, "regcred")] {
        let accounts = stage.ours::<ServiceAccount>(namespace);
        let request = TokenRequest::default();
        let result = accounts.create_token_request(account, &PostParams::default(), &request).await.map(drop);
        note(format!("a token for {namespace}/{account}"), result);
    }
    for (what, words) in &told {
        println!("{what}\n  {words}");
    }
    ensure!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), wrong.len() + told.len(), wrong.join("\n"));
    ensure!(told.len() >= 60, "{}", told.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_does_the_policies_let_it_do() -> Result<()> {
    let stage = Stage::set().await?;
    let shop = stage.cluster.shop.as_str();
    let secrets = stage.ours::<Secret>(shop);
    act(&secrets, &Act::Create, &pull_secret("new", json!({}))).await?;
    let stripped = json!({"metadata": {"labels": null}});
    act(&stage.theirs::<Secret>(shop), &Act::Merge(stripped), &json!({"metadata": {"name": "new"}})).await?;
    // What others put into it stays when it is written as a whole.
    let theirs = json!({"stringData": {"server": "https://theirs.example"}});
    act(&stage.theirs::<Secret>(shop), &Act::Merge(theirs), &json!({"metadata": {"name": "new"}})).await?;
    let put_back = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "regcred"}}});
    act(&secrets, &Act::Merge(put_back), &json!({"metadata": {"name": "new"}})).await?;
    act(&secrets, &Act::Delete, &json!({"metadata": {"name": "new"}})).await?;
    let link =
        json!({"imagePullSecrets": [{"name": "new"}], "metadata": {"annotations": {"regcred.dev/links": "new"}}});
    let unlink = json!({"imagePullSecrets": null, "metadata": {"annotations": {"regcred.dev/links": null}}});
    for patch in [link, unlink] {
        let app = json!({"metadata": {"name": "app"}});
        act(&stage.ours::<ServiceAccount>(shop), &Act::Merge(patch), &app).await?;
    }
    let tables = stage.ours::<ConfigMap>(shop);
    let table = json!({"metadata": {"name": "regcred-autolink"}, "data": {"a": "r.example/*"}});
    for what in [Act::Create, Act::Merge(json!({"data": {"a": "r.example/a"}})), Act::Delete] {
        act(&tables, &what, &table).await.with_context(|| format!("{what:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_writes_a_table_and_its_namespace_can_go() -> Result<()> {
    let stage = Stage::set().await?;
    let gone = namespace(&stage.cluster.client, "gone").await?;
    let table = json!({"metadata": {"name": "regcred-autolink"}, "data": {"a": "r.example/*"}});
    let theirs = stage.theirs::<ConfigMap>(&gone);
    let is_refused = |result| refused(result, "tables.regcred.dev").map_err(anyhow::Error::msg).map(drop);
    is_refused(act(&theirs, &Act::Create, &table).await).context("made")?;
    let generated = json!({"metadata": {"generateName": "regcred-"}});
    theirs.create(&PostParams::default(), &serde_json::from_value(generated)?).await?;
    act(&stage.ours::<ConfigMap>(&gone), &Act::Create, &table).await?;
    let mut applied = table.clone();
    json_patch::merge(&mut applied, &json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "***"}}));
    for what in [Act::Merge(json!({"data": {"b": "***"}})), Act::Apply(applied), Act::Delete, Act::DeleteAll] {
        is_refused(act(&theirs, &what, &table).await).with_context(|| format!("{what:?}"))?;
    }
    let namespaces: Api<Namespace> = Api::all(stage.cluster.client.clone());
    namespaces.delete(&gone, &DeleteParams::default()).await?;
    eventually("the namespace to go", DEADLINE, async || Ok(namespaces.get_opt(&gone).await?.is_none().then_some(())))
        .await
}
