//! The operator that a story is run with: a task of this process, or the shipped command as a process of its own.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use testenv::{Faults, Scratch, request::Request};

use super::door::Door;
use crate::{
    process::{ON_LOOPBACK, Running},
    scenario::{DEADLINE, Scenario},
    shared::OPERATOR_NAMESPACE,
};

/// How much faster than real time the clock of a task runs: the minute before an orphan goes, and the five before a denied
/// write is tried again, pass in seconds; no refresh comes near.
const SPEED: u32 = 60;

/// How long a process, whose clock is the system's, may take to the end: some things take five minutes at the most.
const PROCESS_DEADLINE: Duration = Duration::from_secs(360);

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// A task, which is ended by dropping it.
    Task,
    /// A process, which is ended by SIGKILL.
    Process,
}

/// The operator, running or not.
pub enum Operator {
    /// The scenario has it.
    Task,
    /// The command.
    Process {
        /// Where its kubeconfig is.
        scratch: Scratch,
        /// The process, and its way to the API server.
        running: Option<Box<(Running, Door)>>,
    },
}

/// Whether a request counts: all do but the watches, which begin anew by themselves, and those by which a process stays the one
/// that works.
pub fn is_counted(request: &Request) -> bool {
    request.verb != "watch" && request.resource != "leases"
}

/// Lets the operator's account have a lease in the scenario's namespace, as if it were installed there.
async fn lend_a_lease(scenario: &Scenario) -> Result<()> {
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": "lease"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]}],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "lease"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"},
        "subjects": [{"kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": "regcred"}],
    }))?;
    let (client, namespace) = (scenario.client.clone(), scenario.namespace.as_str());
    let apply = PatchParams::apply("test").force();
    Api::<Role>::namespaced(client.clone(), namespace).patch("lease", &apply, &Patch::Apply(&role)).await?;
    Api::<RoleBinding>::namespaced(client, namespace).patch("lease", &apply, &Patch::Apply(&binding)).await?;
    Ok(())
}

impl Operator {
    /// One that is not started yet.
    pub fn new(shape: Shape, scenario: &mut Scenario, faults: &Faults) -> Result<Self> {
        Ok(match shape {
            Shape::Task => {
                scenario.faults = Some((faults.clone(), is_counted));
                scenario.set_speed(SPEED);
                Self::Task
            }
            Shape::Process => Self::Process { scratch: Scratch::new("killed")?, running: None },
        })
    }

    /// Starts it, and waits until it has the whole picture.
    pub async fn start(&mut self, scenario: &mut Scenario, faults: &Faults) -> Result<()> {
        match self {
            Self::Task => scenario.start_operator().await,
            Self::Process { scratch, running } => {
                let namespace = scenario.namespace.as_str();
                let confined = [&testenv::client::CONFINED[..], &["leases"]].concat();
                let client = scenario.shared.operator_client(namespace, &confined, &scenario.calls)?;
                let door = Door::open(faults.on(client, is_counted)).await?;
                lend_a_lease(scenario).await?;
                // Its lease is its own when it is started anew.
                let environment = [&ON_LOOPBACK[..], &[("POD_NAME", "killed"), ("POD_NAMESPACE", namespace)]].concat();
                let process = Running::start(&door.write_kubeconfig(scratch.path())?, "info", &environment)?;
                process.ready().await?;
                scenario.metrics_addr = Some(process.address().await?);
                *running = Some(Box::new((process, door)));
                Ok(())
            }
        }
    }

    /// Ends it in the middle of whatever it does.
    pub async fn kill(&mut self, scenario: &mut Scenario) {
        // A refusal that was not recorded is asked for once more.
        scenario.tried_again += 1;
        match self {
            Self::Task => scenario.kill_operator().await,
            Self::Process { running, .. } => {
                if let Some(ended) = running.take() {
                    ended.0.process.kill();
                }
            }
        }
    }

    /// How much faster than real time its clock runs.
    pub fn speed(&self) -> u32 {
        match self {
            Self::Task => SPEED,
            Self::Process { .. } => 1,
        }
    }

    /// How long it may take to the end of a story.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Task => DEADLINE,
            Self::Process { .. } => PROCESS_DEADLINE,
        }
    }
}
