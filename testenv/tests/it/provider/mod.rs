//! The fakes of providers keep their contracts, row by row, and what they issue works at a real registry.

mod digital_ocean;
mod ionos;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use testenv::crane::docker_config;
use testenv::registry::Registry;

use crate::http::{body, header};

/// Whether crane can pull an image with this login, and with nothing else.
async fn pulls(registry: &Registry, image: &str, login: &(String, String)) -> bool {
    let config = docker_config(&registry.host(), &login.0, &login.1);
    registry.crane().pull(image, &config).await.is_ok()
}

/// Whether crane can push an image with this login.
async fn pushes(registry: &Registry, image: &str, login: &(String, String)) -> bool {
    registry.crane().push(image, &login.0, &login.1).await.is_ok()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn json(answer: &str) -> Value {
    serde_json::from_str(body(answer)).unwrap()
}

fn decoded(base64: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(base64).unwrap()).unwrap()
}

/// Whether an answer is as a row of a contract says.
fn keeps(answer: &str, headers: &[&str], pointers: &[&str], name: &str) {
    for wanted in headers {
        assert!(header(answer, wanted).is_some(), "{name}: no {wanted} in {answer}");
    }
    if pointers.is_empty() {
        assert_eq!(body(answer), "", "{name}");
        return;
    }
    let told = json(answer);
    for pointer in pointers {
        assert!(told.pointer(pointer).is_some_and(|value| !value.is_null()), "{name}: no {pointer} in {told}");
    }
}
