//! A second operator at the same work.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::FutureExt;
use regcred::run::Outside;
use testenv::eventually;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::scenario::{DEADLINE, Scenario};

/// One more operator, of which the first one knows nothing. It ends when it is dropped.
pub struct Other {
    task: JoinHandle<Result<()>>,
}

impl Other {
    /// Starts one; it is synced.
    pub async fn start(scenario: &Scenario) -> Result<Self> {
        let (confined, calls) = (&testenv::client::CONFINED, &scenario.calls);
        let client = scenario.shared.operator_client(&scenario.namespace, confined, calls)?;
        let clock = scenario.clock.as_ref().context("no clock")?.of_successor();
        let outside = Outside { api_server: vec![scenario.api_server()?], lookup: scenario.names.clone() };
        let context = Arc::new(regcred::run::context(client, &scenario.arguments, clock, outside)?);
        let listener = TcpListener::bind(scenario.arguments.metrics_addr).await?;
        let shutdown = futures::future::pending().boxed().shared();
        let task = tokio::spawn(regcred::run::run(Arc::clone(&context), listener, shutdown));
        eventually("the other operator to be synced", DEADLINE, async || Ok(context.index.is_synced().then_some(())))
            .await?;
        Ok(Self { task })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.task.abort();
    }
}
