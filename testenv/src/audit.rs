//! The API server's audit log, which sees every request of every client whatever path it took.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// What the API server is told to log: the metadata of everything, once per request, when it has been answered.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived", "ResponseStarted"],
  "rules": [{"level": "Metadata"}]
}"#;

/// One answered request. A watch is answered when it ends.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who asked.
    #[serde(default)]
    pub user: User,
    /// The program that asked.
    #[serde(default)]
    pub user_agent: String,
    /// What was asked for; absent for addresses that are no resource.
    #[serde(default)]
    pub object_ref: ObjectRef,
    /// The answer.
    #[serde(default)]
    pub response_status: ResponseStatus,
    /// When the request had come, to the microsecond.
    #[serde(default, rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
    /// When it had been answered, to the microsecond.
    #[serde(default, rename = "stageTimestamp")]
    pub answered: Timestamp,
}

/// Reads a log as it grows, every line once: a look costs what is new in it.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    offset: u64,
}

impl Follower {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The requests that were written down since the last look. A last line that is still being written waits for the next.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn read(&mut self) -> Result<Vec<AuditEvent>> {
        let what = || format!("read {}", self.path.display());
        let mut file = File::open(&self.path).with_context(what)?;
        file.seek(SeekFrom::Start(self.offset)).with_context(what)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(what)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        bytes.truncate(whole);
        self.offset += u64::try_from(whole)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).context("read a line of the audit log")).collect()
    }
}

/// Who asked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct User {
    /// Such as `system:serviceaccount:namespace:name`.
    #[serde(default)]
    pub username: String,
}

/// What was asked for; empty strings where a part does not apply.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// The API group.
    pub api_group: String,
    /// The plural name.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The answer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct ResponseStatus {
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
}

/// Reads the log at `path`, but only the lines that contain `text`. A last line that is still being written is left out.
pub(crate) fn read(path: &Path, text: &str) -> Result<Vec<AuditEvent>> {
    let wanted = text;
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .filter(|line| line.contains(wanted))
        .map(|line| serde_json::from_str(line).context("read a line of the audit log"))
        .collect()
}
