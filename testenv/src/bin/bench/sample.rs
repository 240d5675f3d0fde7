//! The Secret that the bare loop writes: that of the operator, byte for byte as long, but so that the operator does not take it
//! for its own.

use anyhow::{Context as _, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

/// The domain in the operator's labels and annotations, its name as the one who writes, and what stands in their places: as
/// long, but nobody's.
const NAMES: [(&str, &str); 2] = [("regcred.dev/", "regcrex.dev/"), ("regcred", "regcrex")];

/// The annotation that names the namespace, after the replacement.
const NAMESPACE: &str = "regcrex.dev/namespace";

/// The field manager of the bare loop, as long as the operator's.
pub const FIELD_MANAGER: &str = NAMES[1].1;

/// The data key of a docker config.
const DATA: &str = ".dockerconfigjson";

/// Before the password in a docker config.
const PASSWORD: &[u8] = b"\"password\":\"";

/// The disguise of a Secret that the operator wrote: under another name of the same length, without what the server sets.
pub fn disguised(secret: &Secret) -> Result<Secret> {
    let metadata = json!({"labels": secret.metadata.labels, "annotations": secret.metadata.annotations}).to_string();
    let metadata = NAMES.iter().fold(metadata, |text, (own, other)| text.replace(own, other));
    let mut metadata: Value = serde_json::from_str(&metadata).context("replace the names in a Secret's metadata")?;
    let name = secret.metadata.name.as_deref().context("a Secret has a name")?;
    metadata["name"] = other_name(name).into();
    let object = json!({"metadata": metadata, "type": secret.type_, "data": secret.data});
    serde_json::from_value(object).context("put a Secret together")
}

/// Another name of the same length; no connection's name here begins like it.
pub fn other_name(name: &str) -> String {
    format!("x{}", name.get(1..).unwrap_or_default())
}

/// The Secret for one target.
pub fn within(secret: &Secret, namespace: &str, name: &str) -> Secret {
    let mut secret = secret.clone();
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.namespace = Some(namespace.to_owned());
    if let Some(meant_for) = secret.metadata.annotations.as_mut().and_then(|all| all.get_mut(NAMESPACE)) {
        namespace.clone_into(meant_for);
    }
    secret
}

/// The same Secret with another login of the same length, as a renewal brings it.
pub fn renewed(secret: &Secret) -> Result<Secret> {
    let mut secret = secret.clone();
    let data = secret.data.as_mut().and_then(|data| data.get_mut(DATA)).context("a Secret without a docker config")?;
    let ByteString(bytes) = data;
    let at = bytes.windows(PASSWORD.len()).position(|window| window == PASSWORD);
    let first = at.and_then(|at| bytes.get_mut(at + PASSWORD.len())).context("a docker config without a password")?;
    *first = if *first == b'0' { b'1' } else { b'0' };
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_many_bytes_but_nothing_that_is_the_operators() {
        let own: Secret = serde_json::from_value(json!({
            "metadata": {
                "name": "images", "namespace": "a", "uid": "1", "resourceVersion": "2",
                "labels": {"app.kubernetes.io/managed-by": "regcred", "regcred.dev/connection": "c0ffee"},
                "annotations": {"regcred.dev/namespace": "a", "regcred.dev/connection": "a/images"},
            },
            "type": "kubernetes.io/dockerconfigjson",
            "data": {DATA: ByteString(br#"{"auths":{"host":{"username":"u","password":"0123"}}}"#.to_vec())},
        }))
        .unwrap();
        let other = within(&disguised(&own).unwrap(), "b", &other_name("images"));
        let changed = renewed(&other).unwrap();
        let text = serde_json::to_string(&other).unwrap();
        assert!(!text.contains("regcred") && !text.contains("uid"), "{text}");
        let bare = |secret: &Secret| {
            let (meta, data) = (&secret.metadata, &secret.data);
            json!([meta.name, meta.namespace, meta.labels, meta.annotations, data]).to_string().len()
        };
        assert_eq!((bare(&other), bare(&changed)), (bare(&own), bare(&own)));
        assert_eq!(other.metadata.annotations.unwrap()["regcrex.dev/namespace"], "b");
        assert!(changed.data != other.data && renewed(&changed).unwrap().data == other.data);
    }
}
