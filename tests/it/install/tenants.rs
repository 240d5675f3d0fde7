//! What people may do whose only rights are those of the usual roles in one namespace.

use anyhow::{Result, ensure};
use k8s_openapi::api::{authorization::v1::SubjectAccessReview, coordination::v1::Lease, rbac::v1::RoleBinding};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use regcred::api::RegistryConnection;
use serde_json::{Value, json};
use testenv::{eventually, namespace};

use super::cluster::Cluster;
use crate::scenario::DEADLINE;

/// What the roles `view`, `edit` and `admin` allow in their namespace, by verb and resource.
const ALLOWED: [(&str, &str, &str); 10] = [
    ("view", "get", "registryconnections"),
    ("view", "list", "registryconnections"),
    ("view", "watch", "registryconnections"),
    ("edit", "get", "registryconnections"),
    ("edit", "create", "registryconnections"),
    ("edit", "patch", "registryconnections"),
    ("edit", "delete", "registryconnections"),
    ("edit", "deletecollection", "registryconnections"),
    ("admin", "create", "registryconnections"),
    ("admin", "list", "registryconnections"),
];

/// What they do not allow.
const REFUSED: [(&str, &str, &str); 13] = [
    ("view", "create", "registryconnections"),
    ("view", "patch", "registryconnections"),
    ("view", "delete", "registryconnections"),
    ("edit", "patch", "registryconnections/status"),
    ("edit", "update", "registryconnections/status"),
    ("admin", "update", "registryconnections/status"),
    ("view", "list", "clusterregistryconnections"),
    ("edit", "get", "clusterregistryconnections"),
    ("edit", "create", "clusterregistryconnections"),
    ("admin", "create", "clusterregistryconnections"),
    ("admin", "patch", "clusterregistryconnections"),
    ("admin", "delete", "clusterregistryconnections"),
    ("admin", "patch", "clusterregistryconnections/status"),
];

impl Cluster {
    /// Whether the user of this name may do something, in a namespace or anywhere.
    async fn may(&self, user: &str, verb: &str, resource: &str, namespace: &str) -> Result<bool> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
            "user": user,
            "resourceAttributes": {
                "namespace": namespace, "group": "regcred.dev", "resource": resource, "subresource": subresource, "verb": verb,
            },
        }}))?;
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Gives the user of this name the role of the same name in the user's namespace.
    async fn bind(&self, role: &str) -> Result<()> {
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
        }))?;
        Api::namespaced(self.client.clone(), &self.shop).create(&PostParams::default(), &binding).await?;
        Ok(())
    }

    /// A client of the user of this name.
    fn client_of(&self, user: &str) -> Result<Client> {
        let mut config = self.plane.config();
        config.auth_info.impersonate = Some(user.to_owned());
        Ok(Client::try_from(config)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_roles_reach_connections_of_their_namespace_and_nothing_beyond() -> Result<()> {
    let cluster = Cluster::installed().await?;
    for role in ["view", "edit", "admin"] {
        cluster.bind(role).await?;
    }
    let shop = cluster.shop.as_str();
    eventually("the roles to be put together", DEADLINE, async || {
        Ok(cluster.may("admin", "create", "registryconnections", shop).await?.then_some(()))
    })
    .await?;
    let mut wrong = vec![];
    for (user, verb, resource) in ALLOWED {
        if !cluster.may(user, verb, resource, shop).await? {
            wrong.push(format!("{user} may not {verb} {resource}"));
        }
        for elsewhere in ["default", "regcred-system", ""] {
            if cluster.may(user, verb, resource, elsewhere).await? {
                wrong.push(format!("{user} may {verb} {resource} in namespace {elsewhere:?}"));
            }
        }
    }
    for (user, verb, resource) in REFUSED {
        if cluster.may(user, verb, resource, shop).await? || cluster.may(user, verb, resource, "").await? {
            wrong.push(format!("{user} may {verb} {resource}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_tenant_with_edit_asks_for_nothing_comes_to_another_namespace() -> Result<()> {
    let cluster = Cluster::installed().await?;
    cluster.bind("edit").await?;
    let pod = cluster.pod("regcred-a").await?;
    let victim = namespace(&cluster.client, "victim").await?;
    let shop = cluster.shop.as_str();
    eventually("the roles to be put together", DEADLINE, async || {
        Ok(cluster.may("edit", "create", "registryconnections", shop).await?.then_some(()))
    })
    .await?;
    let secrets = |client: &Client, namespace: &str| {
        Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client.clone(), namespace)
    };
    let tenant = cluster.client_of("edit")?;
    let stolen = serde_json::from_value(json!({
        "metadata": {"name": "stolen"}, "stringData": {"username": "u", "password": "p"},
    }))?;
    secrets(&cluster.client, &victim).create(&PostParams::default(), &stolen).await?;
    let before = secrets(&cluster.client, &victim).list(&ListParams::default()).await?;

    // Fields that would lead out of the namespace are none; names with a way out are no names.
    let connections: Api<RegistryConnection> = Api::namespaced(tenant.clone(), shop);
    let apply = async |name: &str, more: Value| {
        let mut object = json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": name},
            "spec": {"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "stolen"}}}},
        });
        json_patch::merge(&mut object, &more);
        let parameters = PatchParams { field_manager: Some("tenant".into()), force: true, ..PatchParams::default() };
        connections.patch(name, &parameters, &Patch::Apply(&object)).await
    };
    let elsewhere = victim.as_str();
    for more in [
        json!({"spec": {"provider": {"generic": {"secretRef": {"namespace": elsewhere}}}}}),
        json!({"spec": {"visibility": "All"}}),
        json!({"spec": {"namespaces": [elsewhere]}}),
        json!({"spec": {"secret": {"name": format!("{elsewhere}/x")}}}),
        json!({"spec": {"secret": {"namespace": elsewhere}}}),
        json!({"spec": {"serviceAccounts": [format!("{elsewhere}/default")]}}),
        json!({"spec": {"provider": {"generic": {"secretRef": {"name": format!("../{elsewhere}/stolen")}}}}}),
    ] {
        let strict = apply("refused", more.clone()).await;
        // Server-side apply refuses what the schema does not know.
        ensure!(strict.is_err(), "{more} was taken");
    }
    // What stands in another namespace is not found.
    apply("images", json!({})).await?;
    eventually("the connection to say so", DEADLINE, async || {
        let connection = connections.get("images").await?;
        let status = serde_json::to_string(&connection.status)?;
        ensure!(status.contains("SecretNotFound"), "{status}");
        Ok(Some(()))
    })
    .await?;
    // Nor can the tenant make a connection of the cluster, write the table, or act elsewhere by itself.
    let cluster_kind: Api<regcred::api::ClusterRegistryConnection> = Api::all(tenant.clone());
    ensure!(cluster_kind.list(&ListParams::default()).await.is_err());
    let there: Api<RegistryConnection> = Api::namespaced(tenant.clone(), elsewhere);
    ensure!(there.list(&ListParams::default()).await.is_err());
    let tables: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(tenant.clone(), shop);
    let table = serde_json::from_value(json!({"metadata": {"name": "regcred-autolink"}, "data": {"x": "***"}}))?;
    // The API server looks for new policies once in a second.
    eventually("the table to be refused", DEADLINE, async || {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        Ok(tables.create(&dry_run, &table).await.is_err().then_some(()))
    })
    .await?;
    ensure!(tables.create(&PostParams::default(), &table).await.is_err());
    // Nor keep the operator from working: installations find one another by a Lease of this name.
    let leases: Api<Lease> = Api::namespaced(tenant.clone(), shop);
    let lease = |name: &str| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "regcred"}},
            "spec": {"holderIdentity": "tenant", "leaseDurationSeconds": 60},
        }))
    };
    let refused = leases.create(&PostParams::default(), &lease("regcred")?).await.unwrap_err();
    ensure!(refused.to_string().contains("leases.regcred.dev"), "{refused}");
    leases.create(&PostParams::default(), &lease("theirs")?).await?;
    let unlabelled = serde_json::from_value(json!({"metadata": {"name": "regcred"}}))?;
    leases.create(&PostParams::default(), &unlabelled).await?;
    let label = Patch::Merge(json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "regcred"}}}));
    ensure!(leases.patch("regcred", &PatchParams::default(), &label).await.is_err());
    connections.delete("images", &DeleteParams::default()).await?;
    let after = secrets(&cluster.client, &victim).list(&ListParams::default()).await?;
    ensure!(after.items == before.items, "{:?}", after.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    pod.end().await
}
