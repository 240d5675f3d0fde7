//! Live looks for a connection and at its kind: what the watches say is not enough to remove anything. IO.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResourceExt, Resource,
    core::{ObjectMeta, Status},
};

use super::verdict::{Presence, Standing};
use crate::{
    api::{ClusterRegistryConnection, RegistryConnection, names::GROUP},
    controller::{api_failure::ApiFailure, remove::is_decision},
    domain::reference::{ConnectionReference, Kind},
};

/// Looks for a connection; its metadata, so that it need not be readable.
///
/// # Errors
/// An answer of the API server that is no decision; trying again may help.
pub async fn presence(client: &Client, reference: &ConnectionReference) -> Result<Presence, ApiFailure> {
    match metadata(client, reference).await {
        Ok(_) => Ok(Presence::There),
        Err(kube::Error::Api(status)) => absence(&status, reference).ok_or_else(|| kube::Error::Api(status).into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a connection still is the object in the generation that was worked on.
///
/// # Errors
/// An answer of the API server that is no decision; trying again may help. A missing right is [`Presence::Denied`].
pub async fn is_unchanged(
    client: &Client,
    reference: &ConnectionReference,
    worked_on: &ObjectMeta,
) -> Result<Result<bool, Presence>, ApiFailure> {
    match metadata(client, reference).await {
        Ok(found) => {
            let is_same = found.uid == worked_on.uid && found.generation == worked_on.generation;
            Ok(Ok(is_same && found.deletion_timestamp.is_none()))
        }
        Err(kube::Error::Api(status)) => {
            absence(&status, reference).map(Err).ok_or_else(|| kube::Error::Api(status).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The metadata of a connection.
async fn metadata(client: &Client, reference: &ConnectionReference) -> Result<ObjectMeta, kube::Error> {
    let name = reference.name();
    match reference.namespace() {
        Some(namespace) => {
            let connections: Api<RegistryConnection> = Api::namespaced(client.clone(), namespace);
            connections.get_metadata(name).await.map(|found| found.metadata)
        }
        None => {
            let connections: Api<ClusterRegistryConnection> = Api::all(client.clone());
            connections.get_metadata(name).await.map(|found| found.metadata)
        }
    }
}

/// What an answer other than the object says, if it is a decision. Only a 404 that names the object is about the object:
/// an address that is not served answers one in plain text.
fn absence(status: &Status, reference: &ConnectionReference) -> Option<Presence> {
    if status.code != 404 {
        return is_decision(status).then_some(Presence::Denied);
    }
    let plural = match reference.kind() {
        Kind::Namespaced => RegistryConnection::plural(&()),
        Kind::Cluster => ClusterRegistryConnection::plural(&()),
    };
    let names_it = status.details.as_ref().is_some_and(|details| {
        details.name == reference.name() && details.group == GROUP && details.kind == plural.as_ref()
    });
    Some(if names_it && status.reason == "NotFound" { Presence::Gone } else { Presence::NotServed })
}

/// Looks at the CustomResourceDefinition of a kind of connections.
///
/// # Errors
/// An answer of the API server that is no decision; trying again may help.
pub async fn definition(client: &Client, kind: Kind) -> Result<Standing, ApiFailure> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = match kind {
        Kind::Namespaced => RegistryConnection::crd_name(),
        Kind::Cluster => ClusterRegistryConnection::crd_name(),
    };
    match definitions.get(name).await {
        Ok(definition) => Ok(standing(&definition)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Standing::Missing),
        Err(kube::Error::Api(status)) if is_decision(&status) => Ok(Standing::Denied),
        Err(error) => Err(error.into()),
    }
}

fn standing(definition: &CustomResourceDefinition) -> Standing {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is = |kind: &str| conditions.clone().any(|condition| condition.type_ == kind && condition.status == "True");
    if definition.metadata.deletion_timestamp.is_some() || is("Terminating") {
        return Standing::Ending;
    }
    match &definition.metadata.creation_timestamp {
        Some(created) if is("Established") => Standing::Served(created.0),
        Some(_) | None => Standing::Unready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn reference() -> ConnectionReference {
        ConnectionReference::namespaced("shop", "images")
    }

    #[test]
    fn only_a_404_that_names_the_connection_says_that_it_is_gone() {
        let details = |name: &str, kind: &str, group: &str| json!({"name": name, "group": group, "kind": kind});
        let named = details("images", "registryconnections", "regcred.dev");
        for (name, code, reason, details, expected) in [
            ("named", 404, "NotFound", named.clone(), Some(Presence::Gone)),
            ("plain text", 404, "Failed to parse error data", json!(null), Some(Presence::NotServed)),
            ("no details", 404, "NotFound", json!(null), Some(Presence::NotServed)),
            ("empty details", 404, "NotFound", json!({}), Some(Presence::NotServed)),
            ("a proxy's word", 404, "", named.clone(), Some(Presence::NotServed)),
            ("its namespace", 404, "NotFound", details("shop", "namespaces", ""), Some(Presence::NotServed)),
            (
                "another of its kind",
                404,
                "NotFound",
                details("other", "registryconnections", "regcred.dev"),
                Some(Presence::NotServed),
            ),
            (
                "one of its name of another group",
                404,
                "NotFound",
                details("images", "registryconnections", "example.dev"),
                Some(Presence::NotServed),
            ),
            ("no right", 403, "Forbidden", named.clone(), Some(Presence::Denied)),
            ("logged out", 401, "Unauthorized", json!(null), None),
            ("too fast", 429, "TooManyRequests", json!(null), None),
            ("a fault", 500, "InternalError", json!(null), None),
            ("gone, says who cannot know", 410, "Expired", named, Some(Presence::Denied)),
        ] {
            let status = json!({"status": "Failure", "code": code, "reason": reason, "details": details});
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(absence(&status, &reference()), expected, "{name}");
        }
    }

    #[test]
    fn a_kind_stands_only_if_it_is_established_and_not_on_its_way_out() {
        let created = "2026-01-01T00:00:00Z";
        let served = Standing::Served(created.parse().unwrap());
        let with = |change: fn(&mut Value)| {
            let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
            let mut definition = json!({
                "metadata": {"name": "x", "creationTimestamp": created},
                "spec": {"group": "g", "names": {"kind": "K", "plural": "ks"}, "scope": "Namespaced", "versions": []},
                "status": {"conditions": [condition("Established", "True"), condition("Terminating", "False")]},
            });
            change(&mut definition);
            standing(&serde_json::from_value(definition).unwrap())
        };
        assert_eq!(with(|_| {}), served);
        assert_eq!(with(|d| d["status"]["conditions"][0]["status"] = "False".into()), Standing::Unready);
        assert_eq!(with(|d| d["status"] = json!(null)), Standing::Unready);
        assert_eq!(with(|d| d["metadata"]["creationTimestamp"] = json!(null)), Standing::Unready);
        assert_eq!(with(|d| d["status"]["conditions"][1]["status"] = "True".into()), Standing::Ending);
        assert_eq!(with(|d| d["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into()), Standing::Ending);
    }
}
