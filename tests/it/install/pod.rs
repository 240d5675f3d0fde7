//! What a kubelet would start: there are no nodes here.

use std::{path::Path, process::ExitStatus};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{EnvVar, Secret},
};
use kube::{Api, Client, ResourceExt};
use testenv::{ControlPlane, eventually};

use super::wire::Wire;
use crate::{process::Running, scenario::DEADLINE};

/// The operator of a release as one of its Pods would run it: under the account, with the environment, and with nothing else.
pub struct Pod {
    pub running: Running,
}

impl Pod {
    /// Ends it as a kubelet does.
    pub async fn end(self) -> Result<()> {
        self.running.process.signal_term()?;
        self.until_ended().await?.success().then_some(()).context("it failed")
    }

    /// Waits until it has ended by itself.
    pub async fn until_ended(&self) -> Result<ExitStatus> {
        eventually("the operator to end", DEADLINE, async || self.running.process.try_wait()).await
    }

    /// Starts a Pod of the Deployment, as it is now. Only where it serves metrics is ours to say, as Pods have
    /// addresses of their own, what a test cannot do without, and by which wire it reaches the API server.
    pub async fn start(
        plane: &ControlPlane,
        (namespace, deployment): (&str, &str),
        name: &str,
        more: &[(&str, &str)],
        wire: Option<&Wire>,
    ) -> Result<Self> {
        let client = plane.client()?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let spec = deployments.get(deployment).await?.spec.context("a spec")?.template.spec.context("a template")?;
        let account = spec.service_account_name.context("an account")?;
        let [container] = &spec.containers[..] else { bail!("one container") };
        ensure!(container.command.is_none(), "the image says which program it is");
        ensure!(container.args.as_deref() == Some(&["run".to_owned()]), "{:?}", container.args);
        let mut environment = vec![];
        for variable in container.env.iter().flatten() {
            environment.push((variable.name.clone(), value(&client, namespace, name, variable).await?));
        }
        environment.push(("HOSTNAME".into(), name.to_owned()));
        environment.push(("REGCRED_METRICS_ADDR".into(), "127.0.0.1:0".into()));
        environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut kubeconfig = plane.service_account_kubeconfig(namespace, &account).await?;
        if let Some(wire) = wire {
            let text = std::fs::read_to_string(&kubeconfig)?
                .replace(&plane.url(), &format!("https://127.0.0.1:{}", wire.port));
            kubeconfig = plane.folder().join(format!("{name}.kubeconfig"));
            std::fs::write(&kubeconfig, text)?;
        }
        Ok(Self { running: run(&kubeconfig, &environment)? })
    }
}

fn run(kubeconfig: &Path, environment: &[(&str, &str)]) -> Result<Running> {
    let level = environment.iter().find(|(name, _)| *name == "RUST_LOG").map_or("info", |(_, value)| value);
    Running::start(kubeconfig, level, environment)
}

async fn value(client: &Client, namespace: &str, pod: &str, variable: &EnvVar) -> Result<String> {
    if let Some(value) = &variable.value {
        return Ok(value.clone());
    }
    let from = variable.value_from.as_ref().with_context(|| format!("{}: no value", variable.name))?;
    if let Some(field) = &from.field_ref {
        return match field.field_path.as_str() {
            "metadata.namespace" => Ok(namespace.to_owned()),
            "metadata.name" => Ok(pod.to_owned()),
            path => bail!("{}: {path}", variable.name),
        };
    }
    let key = from.secret_key_ref.as_ref().with_context(|| format!("{}: a source", variable.name))?;
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get(&key.name).await?;
    let value = secret.data.as_ref().and_then(|data| data.get(&key.key));
    let value = value.with_context(|| format!("no key {} in {}", key.key, secret.name_any()))?;
    Ok(String::from_utf8(value.0.clone())?)
}
