//! A second operator in a scenario, as an upgrade or a lost lease may leave one running; and what a watch shows of the
//! Secrets all the while.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures::{FutureExt, StreamExt};
use http::{Request, Response, Uri};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
    client::{Body, ClientBuilder},
    runtime::{WatchStreamExt, watcher},
};
use regcred::{clock::Clock, controller::Context, run::Outside};
use testenv::{Calls, Confine, eventually};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::scenario::{DEADLINE, Scenario};

/// A running operator beside the scenario's own.
pub struct Another {
    pub context: Arc<Context>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl Another {
    /// Starts it with a client of its own and a clock that runs this fast.
    pub async fn start(scenario: &Scenario, client: Client, speed: u32) -> Result<Self> {
        let outside = Outside { api_server: vec![scenario.api_server()?], lookup: scenario.names.clone() };
        let context = regcred::run::context(client, &scenario.arguments, Clock::running(speed), outside)?;
        let context = Arc::new(context);
        let listener = TcpListener::bind(scenario.arguments.metrics_addr).await?;
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) }.boxed().shared();
        let task = tokio::spawn(regcred::run::run(Arc::clone(&context), listener, shutdown));
        Ok(Self { context, stop, task })
    }

    /// Waits until it has the whole picture.
    pub async fn synced(&self) -> Result<()> {
        eventually("the other operator to be synced", DEADLINE, async || {
            Ok(self.context.index.is_synced().then_some(()))
        })
        .await
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) -> Result<()> {
        drop(self.stop);
        tokio::time::timeout(DEADLINE, self.task).await.context("the other operator did not end")??
    }
}

impl Scenario {
    /// A client as operators have it, which sees this scenario's namespace only.
    pub fn another_client(&self, calls: &Calls) -> Result<Client> {
        self.shared.operator_client(&self.namespace, &testenv::client::CONFINED, calls)
    }

    /// The same, but to lists and watches there are no connections: the oldest picture a cache can give.
    pub fn client_that_sees_no_connections(&self, calls: &Calls) -> Result<Client> {
        let builder = ClientBuilder::try_from(self.shared.operator.clone())?;
        let elsewhere = Confine::to("default", &["registryconnections"]);
        let here = ["secrets", "configmaps", "serviceaccounts", "clusterregistryconnections"];
        let here = Confine::to(&self.namespace, &here);
        Ok(builder.with_layer(&elsewhere).with_layer(&here).with_layer(calls).build())
    }

    /// Waits until a connection is ready, where the scenario has no operator of its own.
    pub async fn ready_of_another(&self, name: &str) -> Result<()> {
        eventually(format!("connection {name}"), DEADLINE, async || {
            let connection = self.connections().get(name).await?;
            Ok(crate::scenario::is_ready(&connection, "True", "LoginProven").then_some(()))
        })
        .await
    }

    /// Deletes a connection.
    pub async fn disconnect(&self, name: &str) -> Result<()> {
        self.connections().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until a Secret is gone.
    pub async fn until_gone(&self, name: &str) -> Result<()> {
        eventually(format!("Secret {name} to go"), DEADLINE, async || {
            Ok(self.secrets().get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }

    /// What the events say about Secrets that were left.
    pub async fn left(&self) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = events.list(&ListParams::default()).await?.items.into_iter();
        let left = events.filter(|event| event.reason.as_deref() == Some("NotRemoved"));
        Ok(left.map(|event| event.message.unwrap_or_default()).collect())
    }

    /// Waits until an event about a Secret that was left says this, and returns all there are.
    pub async fn until_left(&self, words: &str) -> Result<Vec<String>> {
        eventually(format!("an event that says {words:?}"), DEADLINE, async || {
            let left = self.left().await?;
            match left.iter().any(|message| message.contains(words)) {
                true => Ok(Some(left)),
                false => anyhow::bail!("{left:?}"),
            }
        })
        .await
    }

    /// Makes a Secret as the operator itself would: by its field manager.
    pub async fn forge(&self, secret: serde_json::Value) -> Result<Secret> {
        let parameters = kube::api::PostParams { field_manager: Some("regcred".into()), ..Default::default() };
        Ok(self.secrets().create(&parameters, &serde_json::from_value(secret)?).await?)
    }

    /// What was asked for, watches and events aside: `get secrets`, `delete secrets`, …
    pub fn asked(&self) -> Vec<String> {
        asked(&self.calls)
    }
}

/// What was asked for, watches and events aside.
pub fn asked(calls: &Calls) -> Vec<String> {
    let calls = calls.all().into_iter().filter(|call| !call.is_hum() && call.request.resource != "events");
    calls
        .map(|call| {
            let subresource = if call.request.subresource.is_empty() { "" } else { "/" };
            format!("{} {}{subresource}{}", call.request.verb, call.request.resource, call.request.subresource)
        })
        .collect()
}

/// A client that answers some requests itself: with this status and text; all others go through.
pub fn answering(
    client: Client,
    is_meant: impl Fn(&http::Method, &Uri) -> bool + Clone + Send + Sync + 'static,
    status: u16,
    text: &'static str,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_meant = is_meant(request.method(), request.uri());
        let client = client.clone();
        async move {
            if is_meant {
                let answer = Response::builder().status(status).body(Body::from(text.as_bytes().to_vec()));
                return Ok(answer.unwrap());
            }
            client.send(request).await
        }
    });
    Client::new(service, "default")
}

/// What a watch showed of a namespace's Secrets, in order: `+name uid` or `-name uid`.
#[derive(Clone)]
pub struct Witness(Arc<Mutex<Vec<String>>>);

impl Witness {
    /// Begins to watch, once what is there already was seen.
    pub async fn watch(scenario: &Scenario) -> Result<Self> {
        let witness = Self(Arc::default());
        let (list, api) = (witness.clone(), scenario.secrets());
        let (seen, first) = oneshot::channel();
        let mut seen = Some(seen);
        tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                let line = match event {
                    Ok(watcher::Event::Apply(secret)) => format!("+{} {}", secret.name_any(), uid(&secret)),
                    Ok(watcher::Event::Delete(secret)) => format!("-{} {}", secret.name_any(), uid(&secret)),
                    Ok(watcher::Event::InitDone) => {
                        if let Some(seen) = seen.take() {
                            let _ = seen.send(());
                        }
                        continue;
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) | Err(_) => continue,
                };
                list.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        tokio::time::timeout(DEADLINE, first).await.context("the watch did not begin")??;
        Ok(witness)
    }

    /// All that was seen.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this was seen.
    pub async fn sees(&self, start: &str) -> Result<()> {
        eventually(format!("{start:?} in the watch"), DEADLINE, async || {
            match self.all().iter().any(|line| line.starts_with(start)) {
                true => Ok(Some(())),
                false => anyhow::bail!("{:?}", self.all()),
            }
        })
        .await
    }

    /// How many lines begin like this.
    pub fn count(&self, start: &str) -> usize {
        self.all().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// The UID of a Secret.
pub fn uid(secret: &Secret) -> String {
    secret.metadata.uid.clone().unwrap_or_default()
}

/// Twice the grace, in real time at some speed.
pub fn grace_at(speed: u32) -> Duration {
    regcred::controller::sweep::GRACE * 2 / speed
}
