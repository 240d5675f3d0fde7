//! The control plane is a real one: version, RBAC, tokens, controllers, audit log.

use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use testenv::{eventually, namespace};

use crate::{DEADLINE, plane};

#[tokio::test]
async fn serves_the_version_it_was_built_from() {
    let client = plane().await.client().unwrap();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.git_version, "v1.36.3");
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
}

#[tokio::test]
async fn rbac_refuses_a_token_without_rights_and_the_audit_log_knows_it() {
    let plane = plane().await;
    let admin = plane.client().unwrap();
    let namespace = namespace(&admin, "rbac").await.unwrap();
    let account = serde_json::from_value(json!({ "metadata": { "name": "nobody" } })).unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(admin, &namespace);
    accounts.create(&PostParams::default(), &account).await.unwrap();

    let path = plane.service_account_kubeconfig(&namespace, "nobody").await.unwrap();
    let config = testenv::kubeconfig::config(Kubeconfig::read_from(path).unwrap()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let refused = Api::<Secret>::namespaced(client, &namespace).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    let user = format!("system:serviceaccount:{namespace}:nobody");
    let event = eventually("the audit event", DEADLINE, async || {
        Ok(plane.audit_events(&user)?.into_iter().find(|event| event.user.username == user))
    });
    let event = event.await.unwrap();
    assert_eq!((event.verb.as_str(), event.object_ref.resource.as_str()), ("list", "secrets"));
    assert_eq!((event.object_ref.namespace, event.response_status.code), (namespace, 403));
}

#[tokio::test]
async fn a_deleted_namespace_is_gone_with_its_secrets() {
    let client = plane().await.client().unwrap();
    let name = namespace(&client, "deleted").await.unwrap();
    let secret = serde_json::from_value(json!({ "metadata": { "name": "one" } })).unwrap();
    Api::<Secret>::namespaced(client.clone(), &name).create(&PostParams::default(), &secret).await.unwrap();
    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let gone = eventually("the end of the namespace", DEADLINE, async || match namespaces.get_opt(&name).await? {
        Some(namespace) => anyhow::bail!("still there: {:?}", namespace.status),
        None => Ok(Some(())),
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn dependents_of_a_deleted_owner_are_collected() {
    let client = plane().await.client().unwrap();
    let namespace = namespace(&client, "owner").await.unwrap();
    let secrets = Api::<Secret>::namespaced(client, &namespace);
    let owner = serde_json::from_value(json!({ "metadata": { "name": "owner" } })).unwrap();
    let owner = secrets.create(&PostParams::default(), &owner).await.unwrap();
    let reference = json!({ "apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": owner.uid() });
    let metadata = json!({ "name": "dependent", "ownerReferences": [reference] });
    let dependent = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
    secrets.create(&PostParams::default(), &dependent).await.unwrap();
    secrets.delete("owner", &DeleteParams::default()).await.unwrap();
    let gone = eventually("the dependent's end", DEADLINE, async || {
        Ok(secrets.get_opt("dependent").await?.is_none().then_some(()))
    });
    gone.await.unwrap();
}
