//! Values for the unit tests of linking.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    claims::Holders,
    place::{Asking, Naming, Place},
    wish::Wish,
};
use crate::{
    api::{Declared, RegistryConnection},
    domain::reference::ConnectionReference,
};

/// What a connection in the namespace `shop`, created in this hour, asks for with these fields of its spec.
pub(crate) fn wish(name: &str, hour: u8, fields: Value) -> Wish {
    let mut object = json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "generation": 1,
            "creationTimestamp": format!("2026-01-01T{hour:02}:00:00Z"),
        },
        "spec": {"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}}},
    });
    json_patch::merge(&mut object["spec"], &fields);
    let connection: Declared = serde_json::from_value::<RegistryConnection>(object).unwrap().into();
    Wish::of(&connection).unwrap()
}

pub(crate) fn asking(wish: Wish, secret: Naming) -> Asking {
    Asking { wish: Arc::new(wish), secret }
}

/// A namespace in which these ask for links, in the order of their age.
pub(crate) fn place(mut asking: Vec<Asking>) -> Place {
    asking.sort_by(|one, other| one.wish.connection.by_age(&other.wish.connection));
    Place { asking, ..Place::default() }
}

/// For whom a Secret of the connection of the same name is named.
pub(crate) fn holders(name: &str) -> Holders {
    let created = "2026-01-01T00:00:00Z".parse().unwrap();
    Holders::from([(ConnectionReference::namespaced("shop", name), created)])
}
