//! The error codes in the body of a refusal (OCI distribution specification, "Error Codes"). Pure.
//!
//! Only known codes and a few known words are recognised; nothing of the text ever leaves this file.

use serde_json::{Map, Value};

/// How many entries of a list of errors are looked at.
const MAX_ERRORS: usize = 16;

/// What a body says of the cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// The login itself: `UNAUTHORIZED`.
    pub(super) unauthorized: bool,
    /// A login or a permission: `DENIED`.
    pub(super) denied: bool,
    /// `TOOMANYREQUESTS`.
    pub(super) too_many_requests: bool,
    /// `UNAVAILABLE` or `UNKNOWN`: a fault of the server's own.
    pub(super) unavailable: bool,
    /// `NAME_UNKNOWN`: no such repository, or a hidden one.
    pub(super) name_unknown: bool,
    /// The words of a firewall (Azure Container Registry names the address it blocks).
    pub(super) is_firewall: bool,
    /// The words by which Artifact Registry names a missing permission of a known identity.
    pub(super) is_permission: bool,
}

impl Fault {
    /// Whether the server named a cause in the registry's own way, which no firewall and no proxy does.
    pub(super) fn is_by_a_registry(&self) -> bool {
        self.unauthorized || self.denied
    }
}

/// Reads a body. One that is not of the known form says nothing.
pub(super) fn fault(body: &[u8]) -> Fault {
    let mut fault = Fault::default();
    let Ok(body) = serde_json::from_slice::<Map<String, Value>>(body) else { return fault };
    let errors = body.get("errors").and_then(Value::as_array);
    for error in errors.into_iter().flatten().take(MAX_ERRORS) {
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("code").to_ascii_uppercase().as_str() {
            "UNAUTHORIZED" => fault.unauthorized = true,
            "DENIED" => fault.denied = true,
            "TOOMANYREQUESTS" => fault.too_many_requests = true,
            "UNAVAILABLE" | "UNKNOWN" => fault.unavailable = true,
            "NAME_UNKNOWN" => fault.name_unknown = true,
            _ => {}
        }
        let message = text("message");
        fault.is_firewall |= message.contains("client with IP") || message.contains("firewall");
        fault.is_permission |= message.starts_with("Permission ") && !message.contains("Unauthenticated");
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_codes_and_a_few_words_and_nothing_else() {
        let denied = Fault { denied: true, ..Fault::default() };
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#, denied),
            (r#"{"errors":[{"code":"denied"},{"code":7},"x"]}"#, denied),
            (
                r#"{"errors":[{"code":"DENIED","message":"client with IP '1.2.3.4' is not allowed access."}]}"#,
                Fault { is_firewall: true, ..denied },
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"Permission 'x.downloadArtifacts' denied on resource"}]}"#,
                Fault { is_permission: true, ..denied },
            ),
            (r#"{"errors":[{"code":"DENIED","message":"Unauthenticated request."}]}"#, denied),
            (r#"{"errors":{"code":"DENIED"}}"#, Fault::default()),
            (r#"{"message":"DENIED"}"#, Fault::default()),
            (r#"[[{"code":"DENIED"}]]"#, Fault::default()),
            ("<html>DENIED</html>", Fault::default()),
            ("", Fault::default()),
        ] {
            assert_eq!(fault(body.as_bytes()), expected, "{body}");
        }
    }
}
