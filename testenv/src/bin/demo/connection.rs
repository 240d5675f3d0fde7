//! The connection as a watch shows it: opened before anything happens, so that the moment of each change is known.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use crate::DEADLINE;

/// The connection at one moment.
#[derive(Clone)]
pub struct Sighting {
    /// When the watch showed it.
    pub at: Instant,
    generation: Option<i64>,
    status: Value,
}

impl Sighting {
    fn new(object: &DynamicObject) -> Self {
        Self { at: Instant::now(), generation: object.metadata.generation, status: object.data["status"].clone() }
    }

    /// A text of the status by its path, such as `/lastError/hint`; empty if it is not there.
    pub fn text(&self, path: &str) -> &str {
        self.status.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// All conditions, each as `Ready=True LoginProven: message`.
    pub fn conditions(&self) -> Vec<String> {
        let all = self.status["conditions"].as_array().into_iter().flatten();
        all.map(|condition| {
            let [kind, status, reason, message] =
                ["type", "status", "reason", "message"].map(|key| condition[key].as_str().unwrap_or_default());
            format!("{kind}={status} {reason}: {message}")
        })
        .collect()
    }

    /// Whether Ready has this value, and about the spec as it is now.
    pub fn is_ready(&self, value: &str) -> bool {
        let wanted = format!("Ready={value} ");
        self.status["observedGeneration"].as_i64() == self.generation
            && self.conditions().iter().any(|condition| condition.starts_with(&wanted))
    }
}

/// What the watch tells: that it stands, or a sighting.
enum Told {
    Standing,
    Seen(Sighting),
}

/// An open watch on the one connection of a namespace.
pub struct Watch {
    told: UnboundedReceiver<Told>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Opens it and waits until it stands.
    pub async fn open(client: Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("regcred.dev", "v1alpha1", "RegistryConnection");
        let api = Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind));
        let (sender, told) = unbounded_channel();
        let mut watch = Self { told, task: tokio::spawn(follow(api, sender)) };
        let standing = |told: &Told| matches!(told, Told::Standing);
        watch.next(standing).await.context("the watch on connections could not be opened")?;
        Ok(watch)
    }

    /// Waits until Ready has this value.
    pub async fn until_ready(&mut self, value: &str) -> Result<Sighting> {
        let wanted = |told: &Told| matches!(told, Told::Seen(sighting) if sighting.is_ready(value));
        match self.next(wanted).await.with_context(|| format!("Ready did not become {value}"))? {
            Told::Seen(sighting) => Ok(sighting),
            Told::Standing => bail!("the watch began anew"),
        }
    }

    async fn next(&mut self, wanted: impl Fn(&Told) -> bool) -> Result<Told> {
        let deadline = Instant::now() + DEADLINE;
        let mut last = "no connection".to_owned();
        loop {
            match timeout_at(deadline.into(), self.told.recv()).await {
                Ok(Some(told)) if wanted(&told) => return Ok(told),
                Ok(Some(Told::Seen(sighting))) => last = sighting.conditions().join("; "),
                Ok(Some(Told::Standing)) => {}
                Ok(None) => bail!("the watch ended; seen last: {last}"),
                Err(_) => bail!("waited {} s; seen last: {last}", DEADLINE.as_secs()),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<DynamicObject>, told: UnboundedSender<Told>) {
    let mut events = watcher(api, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(Event::InitDone) => Told::Standing,
            Ok(Event::Apply(object) | Event::InitApply(object)) => Told::Seen(Sighting::new(&object)),
            // A watch that breaks is opened again; the deadline of who waits decides whether that took too long.
            Ok(Event::Init | Event::Delete(_)) | Err(_) => continue,
        };
        if told.send(news).is_err() {
            return;
        }
    }
}
