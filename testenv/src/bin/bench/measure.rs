//! What is counted around a scenario, and the rehearsal that shows what the bare loop has to write.

use std::time::Instant;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use tokio::time::sleep;

use crate::audit::Who;
use crate::cluster::{CONNECTION, IMAGES};
use crate::figures::{Calls, Figures, count};
use crate::floor::Floor;
use crate::machine::{Cpu, Pids};
use crate::sample::disguised;
use crate::stage::{POLL, Stage};

/// A namespace that both kinds of connections serve once, before anything is measured.
const REHEARSAL: &str = "rehearsal";

/// Opened before the cause of what is measured, closed when the operator is at rest.
pub struct Measure {
    pids: Pids,
    cpu: Cpu,
    calls: Calls,
}

/// What the bare loop writes.
pub struct Samples {
    /// Like a Secret of the connection of the cluster.
    pub cluster: Secret,
    /// Like a Secret of a connection of a namespace.
    pub namespaced: Secret,
}

impl Measure {
    /// Begins.
    pub fn begin(stage: &mut Stage) -> Result<Self> {
        stage.window.begin()?;
        let pids = stage.pids()?;
        Ok(Self { pids, cpu: pids.cpu()?, calls: calls(stage)? })
    }

    /// Waits until the operator is at rest, and says what there was.
    pub async fn end(self, stage: &mut Stage, id: &str, title: &str, targets: usize) -> Result<Figures> {
        stage.quiet(Some(Who::Operator)).await?;
        self.close(stage, id, title, targets)
    }

    /// Says what there was until now.
    pub fn close(self, stage: &mut Stage, id: &str, title: &str, targets: usize) -> Result<Figures> {
        stage.window.look()?;
        // One that was started meanwhile has used nothing before.
        let pids = stage.pids()?;
        let before = if pids.writer == self.pids.writer { self.cpu } else { Cpu { writer: 0.0, ..self.cpu } };
        let (cpu, now) = (pids.cpu()? - before, calls(stage)?);
        let calls = Calls {
            provider: now.provider - self.calls.provider,
            mints: now.mints - self.calls.mints,
            logins: now.logins - self.calls.logins,
            registry: now.registry - self.calls.registry,
        };
        let requests = stage.window.requests();
        println!("{id}: {title}");
        let (id, title) = (id.to_owned(), title.to_owned());
        Ok(Figures { id, title, targets, requests, calls, cpu, ..Figures::default() })
    }
}

fn calls(stage: &Stage) -> Result<Calls> {
    let ocean = &stage.ocean;
    Ok(Calls {
        provider: ocean.requests().len(),
        mints: ocean.issued(),
        logins: ocean.logins().len(),
        registry: ocean.registry().access_log()?.len() + stage.registry.access_log()?.len(),
    })
}

impl Figures {
    /// Takes in the bare loop beside it.
    pub fn beside(&mut self, floor: &Floor) {
        if let (Some(wall), Some(each)) = (self.wall_seconds, floor.seconds_per_write()) {
            self.ratio = Some(wall / (each * count(self.targets)));
            self.floor = Some(floor.clone());
        }
    }
}

impl Stage {
    /// Lets the operator write one Secret of each kind, takes them as samples, and removes every trace of it all.
    pub async fn rehearse(&mut self) -> Result<Samples> {
        self.start_at_once().await?;
        self.write_access().await?;
        self.create_tenant(REHEARSAL.to_owned(), 1).await?;
        let label = serde_json::json!({"metadata": {"labels": {"images": "platform"}}});
        let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(self.client.clone());
        namespaces.patch(REHEARSAL, &Default::default(), &kube::api::Patch::Merge(label)).await?;
        self.connect_cluster().await?;
        self.until_written("create", CONNECTION, 1).await?;
        self.until_written("create", &format!("{IMAGES}*"), 1).await?;
        self.quiet(Some(Who::Operator)).await?;
        self.kill().await?;
        let written = self.secrets(REHEARSAL).list(&ListParams::default()).await.context("read the samples")?;
        let sample = |prefix: &str| {
            let is_it = |secret: &&Secret| secret.metadata.name.as_deref().is_some_and(|name| name.starts_with(prefix));
            let found = written.iter().find(is_it).with_context(|| format!("no Secret {prefix} was written"))?;
            disguised(found)
        };
        let samples = Samples { cluster: sample(CONNECTION)?, namespaced: sample(IMAGES)? };
        self.forget_cluster().await?;
        self.delete_namespace(REHEARSAL).await?;
        Ok(samples)
    }

    /// Waits until the status says that so many targets are current: looked at now and then, because each look is a request.
    pub async fn until_told(&self, count: usize) -> Result<()> {
        let since = Instant::now();
        loop {
            let told = self.told_current().await?;
            if told == Some(u64::try_from(count)?) {
                return Ok(());
            }
            self.is_in_time(since, &format!("{count} targets in the status, which says {told:?}"))?;
            sleep(POLL).await;
        }
    }
}
