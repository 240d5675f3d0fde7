//! A real client: makes a small image, pushes it, and pulls it with exactly the configuration it is given.
//!
//! Credentials reach it only through a `DOCKER_CONFIG` folder of its own, so nothing of the machine's own logins can help
//! or harm. It ignores path-scoped keys; what the kubelet would do is for the keyring judge to say.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::tools::{self, Tool};

/// How long one push or pull may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many lines of what it says go into an error.
const TAIL: usize = 20;

/// Environment variables by which a machine's own settings would get in.
const FOREIGN_SETTINGS: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    AUTHORITIES_FILE,
    AUTHORITIES_FOLDER,
];

/// Where Go looks for authorities, instead of the machine's own places (crypto/x509, root_unix.go).
const AUTHORITIES_FILE: &str = "SSL_CERT_FILE";
const AUTHORITIES_FOLDER: &str = "SSL_CERT_DIR";

/// A client, see the module.
#[derive(Clone, Debug)]
pub struct Crane {
    program: PathBuf,
    /// The certificates of the authorities it trusts, PEM; `None` for those that the machine trusts.
    authorities: Option<String>,
    /// Each call has a folder of its own in here.
    scratch: Arc<Scratch>,
}

/// What a pull brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pulled {
    /// The manifest's digest, `sha256:…`.
    pub digest: String,
}

impl Crane {
    /// Finds the program; builds it if need be.
    ///
    /// # Errors
    /// It cannot be built, or its folder cannot be made.
    pub fn find() -> Result<Self> {
        Self::new(tools::path(Tool::Crane)?)
    }

    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        Ok(Self { program, authorities: None, scratch: Arc::new(Scratch::new("testenv-crane")?) })
    }

    /// The same client, trusting these authorities (PEM, one or several) and no others.
    #[must_use]
    pub fn trusting(&self, authorities: &str) -> Self {
        Self { authorities: Some(authorities.to_owned()), ..self.clone() }
    }

    /// Pushes a small image, different for every name, and returns its digest. No network but the registry is used.
    ///
    /// # Errors
    /// The registry refuses or is away; with what the client says.
    pub async fn push(&self, image: &str, user: &str, password: &str) -> Result<String> {
        let (host, _) = image.split_once('/').context("an image name with a registry")?;
        let login = docker_config(host, user, password);
        let layer = layer(image)?;
        let answer = self.run(&login, |folder| {
            let path = folder.join("layer.tar");
            fs::write(&path, &layer).context("write a layer")?;
            Ok(vec!["append".into(), "--new_tag".into(), image.into(), "--new_layer".into(), path.into_os_string()])
        });
        let answer = answer.await.with_context(|| format!("push {image} as {user}"))?;
        // It answers the name with the digest.
        let (_, digest) = answer.split_once('@').with_context(|| format!("no digest in {answer:?}"))?;
        Ok(digest.to_owned())
    }

    /// Pulls an image, all of it, with exactly this `.dockerconfigjson`.
    ///
    /// # Errors
    /// The registry refuses or is away, or the configuration is of no use; with what the client says.
    pub async fn pull(&self, image: &str, docker_config: &[u8]) -> Result<Pulled> {
        let pulled = self.run(docker_config, |folder| {
            let target = folder.join("image.tar").into_os_string();
            Ok(vec!["pull".into(), image.into(), target])
        });
        pulled.await.with_context(|| format!("pull {image}"))?;
        let digest = self.run(docker_config, |_| Ok(vec!["digest".into(), image.into()])).await?;
        Ok(Pulled { digest })
    }

    /// Runs any other of its commands with exactly this `.dockerconfigjson`, and returns the last line it wrote.
    ///
    /// # Errors
    /// It fails; with what it says.
    pub async fn command(
        &self,
        docker_config: &[u8],
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String> {
        self.run(docker_config, |_| Ok(arguments.into_iter().map(|one| one.as_ref().to_owned()).collect())).await
    }

    /// Runs it in a folder of its own and returns the last line it wrote.
    async fn run(
        &self,
        docker_config: &[u8],
        arguments: impl FnOnce(&Path) -> Result<Vec<OsString>>,
    ) -> Result<String> {
        let own = tempfile::tempdir_in(self.scratch.path()).context("make a temporary folder")?;
        let folder = own.path();
        fs::write(folder.join("config.json"), docker_config).context("write a docker config")?;
        let mut command = Command::new(&self.program);
        command.args(arguments(folder)?).env("DOCKER_CONFIG", folder).env("HOME", folder);
        for name in FOREIGN_SETTINGS {
            command.env_remove(name);
        }
        if let Some(authorities) = &self.authorities {
            let file = folder.join("authorities.crt");
            fs::write(&file, authorities).context("write certificates")?;
            command.env(AUTHORITIES_FILE, file).env(AUTHORITIES_FOLDER, folder.join("none"));
        }
        let process = Process::spawn("crane", &command, &folder.join("log"))?;
        tokio::task::spawn_blocking(move || {
            let status = process.wait(DEADLINE)?;
            let said = process.tail(TAIL);
            match status {
                Some(status) if status.success() => Ok(said.lines().last().unwrap_or_default().to_owned()),
                Some(status) => bail!("crane ended ({status}): {said}"),
                None => bail!("crane was still busy after {} s: {said}", DEADLINE.as_secs()),
            }
        })
        .await?
    }
}

/// A `.dockerconfigjson` with one entry.
pub fn docker_config(key: &str, user: &str, password: &str) -> Vec<u8> {
    json!({ "auths": { key: { "username": user, "password": password } } }).to_string().into_bytes()
}

/// A layer with one small file that holds `content`.
fn layer(content: &str) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "content", content.as_bytes()).context("make a layer")?;
    archive.into_inner().context("make a layer")
}
