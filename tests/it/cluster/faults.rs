//! Every request of a rotation over several namespaces meets with every fault, one at a time: afterwards, or after the start of
//! a successor, all of them hold the new login, and nothing was written twice.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use regcred::api::{
    ConditionType,
    names::{DOCKER_CONFIG_JSON_KEY, REVISION_ANNOTATION},
};
use serde_json::{Value, json};
use testenv::{Call, Fault, Faults, eventually};
use tokio::time::timeout;

use super::{Wide, targets, tell};
use crate::scenario::{DEADLINE, PASSWORD};

/// How many namespaces there are.
const N: usize = 3;

/// How much faster than real time the operator's clock runs, so that pauses are short. No refresh comes near.
const SPEED: u32 = 60;

/// What each request meets with.
const FAULTS: [Fault; 7] = [
    Fault::StopBefore,
    Fault::StopAfter,
    Fault::AnswerLost,
    Fault::NotSent,
    Fault::Answer(409),
    Fault::Answer(429),
    Fault::Answer(500),
];

impl Wide {
    /// Rotates the login to this password, while a request meets with a fault; returns the requests there were.
    async fn rotate(&mut self, faults: &Faults, password: &str, fault: Option<(usize, Fault)>) -> Result<Vec<String>> {
        let logins = self.scenario.good_logins()?;
        self.scenario.calls.clear();
        match fault {
            Some((number, fault)) => faults.arm(number, fault),
            None => faults.count(),
        }
        self.scenario.shared.registry.set_password(&self.scenario.namespace, password)?;
        self.scenario.edit_secret("login", json!({"stringData": {"password": password}})).await?;
        if let Some((_, fault)) = fault {
            timeout(DEADLINE, faults.met()).await.context("there was no such request")?;
            if fault.stops() {
                self.scenario.kill_operator().await;
                faults.release();
                self.scenario.start_operator().await?;
            }
        }
        self.until_all_hold(password).await?;
        self.at_rest().await?;
        let (seen, calls) = (faults.seen(), self.scenario.calls.clone());
        let verbs = ["create", "update", "patch"];
        let is_done = |call: &Call| {
            verbs.iter().any(|verb| call.is(verb, "secrets", "")) && call.status.is_some_and(|status| status < 300)
        };
        let written = calls.count(is_done);
        ensure!(written <= N, "{written} writes for {N} targets: {:?}", self.scenario.asked());
        let logins = self.scenario.good_logins()? - logins;
        ensure!(logins <= 1 + usize::from(fault.is_some()), "{logins} logins for one rotation");
        Ok(seen)
    }

    /// Waits until all targets hold this password, and the connection says of the very same revision that it is delivered.
    async fn until_all_hold(&self, password: &str) -> Result<()> {
        let login = STANDARD.encode(format!("{}:{password}", self.scenario.namespace));
        eventually("all targets to hold the new login", DEADLINE, async || {
            let connection = self.connections().get("images").await?;
            let found = self.delivered("images").await?;
            ensure!(found.len() == N, "{} targets", found.len());
            for secret in found.values() {
                let config = config_of(secret)?;
                ensure!(config.to_string().contains(&login), "another login is in {:?}", secret.metadata.namespace);
            }
            let told = connection.status.as_ref().and_then(|status| status.credential.as_ref());
            let revision = told.map(|credential| credential.revision.clone()).context("no credential is told")?;
            let held = |secret: &Secret| {
                let annotations: Option<&BTreeMap<String, String>> = secret.metadata.annotations.as_ref();
                annotations.and_then(|all| all.get(REVISION_ANNOTATION)) == Some(&revision)
            };
            ensure!(found.values().all(held), "not all hold the revision that the status names");
            let (ready, delivered) = (ConditionType::Ready, ConditionType::Delivered);
            let words = (tell(&connection, ready), tell(&connection, delivered));
            ensure!(words == ("True/LoginProven".into(), "True/Delivered".into()), "{words:?}");
            let targets = targets(&connection);
            ensure!((targets.current, targets.desired) == (3, 3), "{targets:?}");
            Ok(Some(()))
        })
        .await
    }
}

fn config_of(secret: &Secret) -> Result<Value> {
    let data = secret.data.as_ref().and_then(|data| data.get(DOCKER_CONFIG_JSON_KEY)).context("no docker config")?;
    Ok(serde_json::from_slice(&data.0)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_over_namespaces_ends_the_same_whatever_request_fails() -> Result<()> {
    let mut wide = Wide::prepare("faulty").await?;
    let faults = Faults::new();
    wide.scenario.faults = Some((faults.clone(), |request| request.verb != "watch" && request.resource != "events"));
    wide.scenario.set_speed(SPEED);
    wide.write_source("login", PASSWORD).await?;
    wide.scenario.start_operator().await?;
    wide.create_namespaces(0..N).await?;
    wide.connect("images", wide.spec()).await?;
    wide.until_all_hold(PASSWORD).await?;
    wide.at_rest().await?;

    let requests = wide.rotate(&faults, "password-without-fault", None).await?;
    ensure!(requests.len() >= N + 2, "{requests:?}");
    for (number, request) in (1..).zip(&requests) {
        for fault in FAULTS {
            let password = format!("password-{number}-{fault}").replace(' ', "-");
            let case = format!("request {number} ({request}) {fault}");
            wide.rotate(&faults, &password, Some((number, fault))).await.context(case)?;
        }
    }
    println!("{} rotations: {requests:?}", 1 + requests.len() * FAULTS.len());
    Ok(())
}
