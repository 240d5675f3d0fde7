//! What an object must look like: the schema that the API server has, from the code that makes it. Pure.

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, core::schema::StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;

use crate::{
    api::{RegistryConnection, crd::crd},
    domain::reference::Kind,
};

/// The schema of a connection of a kind in a file. The status may be anything: the API server does not take it from there.
pub fn of(kind: Kind) -> JSONSchemaProps {
    let version = RegistryConnection::version(&());
    let mut versions = crd(kind).spec.versions.into_iter().filter(|served| served.name == version);
    let schema = versions.find_map(|served| served.schema?.open_api_v3_schema);
    let mut schema = schema.unwrap_or_default();
    let text = JSONSchemaProps { type_: Some("string".to_owned()), ..JSONSchemaProps::default() };
    schema.properties.get_or_insert_default().extend([
        ("apiVersion".to_owned(), text.clone()),
        ("kind".to_owned(), text),
        ("metadata".to_owned(), metadata()),
        ("status".to_owned(), JSONSchemaProps::default()),
    ]);
    schema.required.get_or_insert_default().extend(["metadata".to_owned()]);
    schema
}

/// The schema of an object's metadata. A CustomResourceDefinition does not hold it: it is the same for all kinds.
fn metadata() -> JSONSchemaProps {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings.with_transform(StructuralSchemaRewriter).into_generator();
    let schema = generator.into_root_schema_for::<ObjectMeta>().to_value();
    let mut schema = serde_json::from_value(schema).unwrap_or_default();
    allow_null(&mut schema);
    schema.description = Some("Name, namespace, labels and annotations of the object.".to_owned());
    schema.nullable = None;
    schema
}

/// In metadata null is the same as nothing; tools write `creationTimestamp: null`.
fn allow_null(schema: &mut JSONSchemaProps) {
    schema.nullable = Some(true);
    schema.properties.iter_mut().flatten().for_each(|(_, property)| allow_null(property));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_spec_and_metadata() {
        let schema = of(Kind::Namespaced);
        let properties = schema.properties.unwrap();
        assert!(properties["spec"].properties.as_ref().unwrap().contains_key("provider"));
        let metadata = properties["metadata"].properties.as_ref().unwrap();
        assert!(metadata.contains_key("name") && metadata.contains_key("labels"), "{metadata:?}");
        assert_eq!(schema.required.unwrap(), ["spec", "metadata"]);
    }
}
