//! Foreign code as judge of what the operator writes: the kubelet's keyring, Flux's and kstatus' rules for status, and
//! Argo CD's way to run a health check.
//!
//! Each judge is a long-lived child that answers one line with one line and ends when its stdin does, so it cannot
//! outlive us. One instance can be shared by all tests. No rule is repeated here.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::tools::{self, Tool};

/// The kubelet's keyring: which credentials a node would try for an image.
#[derive(Debug)]
pub struct Keyring(Judge);

/// Flux's rules for conditions, and kstatus.
#[derive(Debug)]
pub struct Conditions(Judge);

/// Argo CD with a health check of ours.
#[derive(Debug)]
pub struct HealthCheck(Judge);

/// What GitOps tools think of an object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Judgement {
    /// `Current`, `InProgress`, `Failed`, `Terminating`, `NotFound` or `Unknown`.
    pub kstatus: String,
    /// Why, in the words of kstatus.
    pub message: String,
    /// What breaks Flux's rules; each begins with `error: ` or `warning: `.
    pub violations: Vec<String>,
}

/// What Argo CD shows as the health of an object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Health {
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    pub status: String,
    /// Why, in the words of the health check.
    pub message: String,
}

impl Keyring {
    /// Starts the judge; builds it if need be, so call it from async code before timing starts.
    ///
    /// # Errors
    /// It cannot be built or started.
    pub fn start() -> Result<Self> {
        Judge::start(Tool::Keyring).map(Self)
    }

    /// User and password pairs that the kubelet would try for `image` with a Pod's pull `secrets`, in its order.
    ///
    /// # Errors
    /// The kubelet would try no pull at all, with its own words; or the judge has ended.
    pub fn credentials(&self, image: &str, secrets: &[Secret]) -> Result<Vec<(String, String)>> {
        #[derive(Deserialize)]
        struct Credential {
            username: String,
            password: String,
        }
        #[derive(Deserialize)]
        struct Answer {
            credentials: Vec<Credential>,
            #[serde(default)]
            error: String,
        }
        let answer: Answer = self.0.ask(&json!({ "image": image, "secrets": secrets }))?;
        if !answer.error.is_empty() {
            bail!("the kubelet refuses: {}", answer.error);
        }
        Ok(answer.credentials.into_iter().map(|found| (found.username, found.password)).collect())
    }
}

impl Conditions {
    /// Starts the judge; builds it if need be, so call it from async code before timing starts.
    ///
    /// # Errors
    /// It cannot be built or started.
    pub fn start() -> Result<Self> {
        Judge::start(Tool::Conditions).map(Self)
    }

    /// Judges a whole object, as the API server returns it.
    ///
    /// # Errors
    /// The judge has ended.
    pub fn judge(&self, object: &Value) -> Result<Judgement> {
        self.0.ask(object)
    }
}

impl HealthCheck {
    /// Starts the judge; builds it if need be, so call it from async code before timing starts.
    ///
    /// # Errors
    /// It cannot be built or started.
    pub fn start() -> Result<Self> {
        Judge::start(Tool::Health).map(Self)
    }

    /// Runs a health check in Lua, as it stands in `argocd-cm`, on a whole object, as the API server returns it.
    ///
    /// # Errors
    /// The script fails, takes longer than a second, or returns something else than a health, with Argo CD's own words; or
    /// the judge has ended.
    pub fn run(&self, script: &str, object: &Value) -> Result<Health> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(flatten)]
            health: Health,
            #[serde(default)]
            error: String,
        }
        let answer: Answer = self.0.ask(&json!({ "script": script, "object": object }))?;
        if !answer.error.is_empty() {
            bail!("the health check fails: {}", answer.error);
        }
        Ok(answer.health)
    }
}

#[derive(Debug)]
struct Judge {
    name: &'static str,
    talk: Mutex<Talk>,
}

#[derive(Debug)]
struct Talk {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    fn start(tool: Tool) -> Result<Self> {
        let mut command = Command::new(tools::path(tool)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("start {}", tool.name()))?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the judge's stdout")?);
        Ok(Self { name: tool.name(), talk: Mutex::new(Talk { child, questions, answers }) })
    }

    fn ask<T: DeserializeOwned>(&self, question: &Value) -> Result<T> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = question.to_string();
        line.push('\n');
        let questions = talk.questions.as_mut().context("the judge's stdin")?;
        questions.write_all(line.as_bytes()).with_context(|| format!("ask {}", self.name))?;
        line.clear();
        if talk.answers.read_line(&mut line).with_context(|| format!("hear {}", self.name))? == 0 {
            bail!("{} has ended", self.name);
        }
        serde_json::from_str(&line).with_context(|| format!("an answer of {}: {line}", self.name))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The end of its stdin ends it; the wait only reaps it.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}
