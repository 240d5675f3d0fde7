//! What was issued, and what it was issued with, stands in Secrets and nowhere else.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::{Value, json};

use super::{Cloud, Ocean, SCOPES, login, revision};
use crate::{hostile::log, scenario::Scenario};

impl Scenario {
    /// All that anybody may read who may not read what Secrets hold.
    async fn in_the_open(&self) -> Result<String> {
        let mut text = self.metrics().await?;
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        text += &json!(events.list(&Default::default()).await?.items).to_string();
        text += &json!(self.connections().list(&Default::default()).await?.items).to_string();
        for secret in self.secrets().list(&Default::default()).await? {
            text += &json!(secret.metadata).to_string();
        }
        Ok(text + &json!(self.seen.all()).to_string())
    }

    fn tells_none_of(&self, text: &str, secrets: &[String]) -> Result<()> {
        for (at, secret) in secrets.iter().enumerate() {
            // A part of it is as bad as all of it.
            let part = secret.get(..16).context("a secret that is too short to be noticed")?;
            ensure!(!text.contains(part), "secret {at} stands in the open");
        }
        ensure!(!log::read().leaks().iter().any(|line| secrets.iter().any(|secret| line.contains(secret.as_str()))));
        Ok(())
    }
}

/// Nothing falls due by itself within the test.
fn daily(mut spec: Value) -> Value {
    spec["refreshIntervalMinutes"] = 1440.into();
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_api_tokens_nor_issued_passwords_stand_anywhere_but_in_secrets() -> Result<()> {
    let log = log::read();
    let world = Ocean::start("canary", 60).await?;
    let token = world.ocean.add_token(SCOPES);
    let mut secrets = vec![token.clone()];
    world.write_token(&token).await?;
    world.scenario.connect("images", daily(world.spec())).await?;
    let first = world.scenario.ready("images", "True", "LoginProven").await?;
    secrets.push(login(&world.scenario.secrets().get("images").await?)?.1);
    world.ask_for_refresh("now").await?;
    let second = world.renewed(revision(&first).unwrap_or_default()).await?;
    secrets.push(login(&world.scenario.secrets().get("images").await?)?.1);
    world.until_alive(1).await?;
    let ledger = world.scenario.ledger_text().await?.to_string();
    ensure!(ledger.contains(&secrets[2]), "the ledger holds what is delivered");
    // Everything that can go wrong with them is told without them.
    let wrong = format!("{}dop_v1_wrong", &token[..40]);
    world.write_token(&wrong).await?;
    world.scenario.troubled("InvalidCredentials").await?;
    world.scenario.overwrite_ledger(format!("{{{ledger}").as_bytes()).await?;
    world.scenario.until_told("LedgerLost").await?;
    world.write_token(&token).await?;
    world.renewed(revision(&second).unwrap_or_default()).await?;
    world.scenario.tells_none_of(&world.scenario.in_the_open().await?, &secrets)?;

    let cloud = Cloud::start("canaries", 60).await?;
    let token = cloud.ionos.add_token();
    cloud.scenario.write_secret("api", "Opaque", json!({"token": token})).await?;
    cloud.scenario.connect("images", daily(cloud.spec())).await?;
    let first = cloud.scenario.ready("images", "True", "LoginProven").await?;
    let mut secrets = vec![token, login(&cloud.scenario.secrets().get("images").await?)?.1];
    cloud.refreshed(&first).await?;
    secrets.push(login(&cloud.scenario.secrets().get("images").await?)?.1);
    cloud.until_tokens(1).await?;
    cloud.scenario.tells_none_of(&cloud.scenario.in_the_open().await?, &secrets)?;
    assert!(log.changes() > 0, "the log is read");
    assert_eq!(log.leaks(), Vec::<String>::new());
    world.scenario.finish().await?;
    cloud.scenario.finish().await
}
