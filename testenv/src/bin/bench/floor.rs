//! The floor: a bare loop with the same client stack as the operator's that writes the same bytes to as many namespaces.
//!
//! It is a process of its own, so that its CPU seconds are its own, and it runs while no operator does.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use serde::{Deserialize, Serialize};

use crate::figures::count;
use crate::machine::{Cpu, Pids};
use crate::sample::{FIELD_MANAGER, renewed, within};

/// How many writes are under way at the same time: what the operator has without any flag.
pub const CONCURRENCY: usize = 32;

/// How it is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Verb {
    /// Secrets that are not there yet.
    Post,
    /// Secrets that are there with another login.
    Put,
}

/// What the bare loop is to do.
#[derive(Debug, Deserialize, Serialize)]
pub struct Job {
    /// How it reaches the API server.
    pub kubeconfig: PathBuf,
    /// What it writes.
    pub secret: Secret,
    /// Where to: namespaces and names.
    pub targets: Vec<(String, String)>,
    /// How.
    pub verb: Verb,
    /// Whose CPU time is read, besides its own.
    pub pids: Pids,
}

/// What it took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Floor {
    /// From the first request to the last answer, by the audit log: once before the scenario and once after it.
    pub wall_seconds: Vec<f64>,
    /// Writes in a second, in the same order.
    pub writes_per_second: Vec<f64>,
    /// CPU seconds, in the same order.
    pub cpu: Vec<Cpu>,
}

impl Floor {
    /// Takes in one more run.
    pub fn add(&mut self, writes: usize, wall_seconds: f64, cpu: Cpu) {
        self.wall_seconds.push(wall_seconds);
        self.writes_per_second.push(count(writes) / wall_seconds);
        self.cpu.push(cpu);
    }

    /// The mean time for one write, over all runs.
    pub fn seconds_per_write(&self) -> Option<f64> {
        let each = self.writes_per_second.iter().map(|rate| 1.0 / rate).sum::<f64>();
        (!self.writes_per_second.is_empty()).then(|| each / count(self.writes_per_second.len()))
    }
}

/// Does the job in a file, and writes beside it (see [`answer`]) what CPU time the writing took.
pub async fn run(job: &Path) -> Result<()> {
    let read = || File::open(job).with_context(|| format!("open {}", job.display()));
    let Job { kubeconfig, secret, targets, verb, pids } = serde_json::from_reader(read()?)?;
    let client = client(&kubeconfig).await?;
    let after = renewed(&secret)?;
    if verb == Verb::Put {
        each(&targets, async |target| post(&client, &secret, target).await).await?;
    }
    let pids = Pids { writer: Some(std::process::id()), ..pids };
    let before = pids.cpu()?;
    match verb {
        Verb::Post => each(&targets, async |target| post(&client, &secret, target).await).await?,
        Verb::Put => each(&targets, async |target| put(&client, &after, target).await).await?,
    }
    let cpu = pids.cpu()? - before;
    let remove = async |(namespace, name): &(String, String)| {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        secrets.delete(name, &DeleteParams::default()).await.map(drop).context("delete a Secret")
    };
    each(&targets, remove).await?;
    let told = File::create(answer(job)).context("write what the bare loop took")?;
    serde_json::to_writer(told, &cpu).context("write what the bare loop took")
}

/// Where the answer to a job goes.
pub fn answer(job: &Path) -> PathBuf {
    job.with_extension("answer.json")
}

/// Just as the operator makes its own.
async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Client::try_from(config).context("set up the client")
}

/// Does something to all targets, to so many at the same time.
async fn each(targets: &[(String, String)], work: impl AsyncFn(&(String, String)) -> Result<()>) -> Result<()> {
    let work = &work;
    let all = stream::iter(targets).map(|target| async move { work(target).await });
    all.buffer_unordered(CONCURRENCY).try_collect().await
}

async fn post(client: &Client, secret: &Secret, (namespace, name): &(String, String)) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let made = secrets.create(&parameters(), &within(secret, namespace, name)).await.context("create a Secret")?;
    ensure!(made.uid().is_some(), "a Secret without a UID was answered");
    Ok(())
}

async fn put(client: &Client, secret: &Secret, (namespace, name): &(String, String)) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = within(secret, namespace, name);
    secrets.replace(name, &parameters(), &secret).await.map(drop).context("replace a Secret")
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
