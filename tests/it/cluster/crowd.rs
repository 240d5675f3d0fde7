//! Many connections of namespaces that wait for somebody at the same time.

use anyhow::Result;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use regcred::api::{ConditionType, RegistryConnection, condition};
use serde_json::json;
use testenv::{Call, Reply, eventually};

use super::{Wide, hook::Hook};
use crate::scenario::{DEADLINE, PASSWORD};

/// More than are worked on at the same time while nobody waits.
const MANY: usize = 40;

impl Wide {
    /// A connection in one of the namespaces, with a source of its own.
    async fn connect_in(&self, number: usize) -> Result<()> {
        let login = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"username": self.scenario.namespace, "password": PASSWORD},
        });
        self.secrets(number).patch("login", &PatchParams::apply("test"), &Patch::Apply(login)).await?;
        let connection = serde_json::from_value(json!({"metadata": {"name": "own"}, "spec": self.scenario.spec()}))?;
        self.connections_in(number).create(&PostParams::default(), &connection).await?;
        Ok(())
    }

    fn connections_in(&self, number: usize) -> Api<RegistryConnection> {
        Api::namespaced(self.scenario.client.clone(), &self.namespace(number))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_wait_for_their_webhooks_keep_no_other_waiting() -> Result<()> {
    let mut wide = Wide::prepare("crowd").await?;
    wide.create_namespaces(0..MANY + 1).await?;
    for number in 0..MANY {
        wide.connect_in(number).await?;
    }
    let hook = Hook::install(&wide, "CREATE", 0..MANY, |_| Reply::hang()).await?;
    wide.scenario.start_operator().await?;
    let calls = wide.scenario.calls.clone();
    let hangs = |call: &Call| call.is("create", "secrets", "") && call.status.is_none();
    eventually("all of them to wait at the same time", DEADLINE, async || {
        Ok((calls.count(hangs) == MANY).then_some(()))
    })
    .await?;
    wide.connect_in(MANY).await?;
    eventually("the one that waits for nobody", DEADLINE, async || {
        let found = wide.connections_in(MANY).get("own").await?;
        let conditions = found.status.unwrap_or_default().conditions;
        Ok(condition::is_true(&conditions, ConditionType::Ready).then_some(()))
    })
    .await?;
    hook.remove(&wide).await?;
    for number in 0..=MANY {
        wide.connections_in(number).delete("own", &DeleteParams::default()).await?;
    }
    Ok(())
}
