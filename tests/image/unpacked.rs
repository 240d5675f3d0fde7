//! The image by way of a registry, and its program in a place where nothing else is.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testenv::{
    Registry, Scratch,
    crane::docker_config,
    image::{Architecture, PROGRAM, USER},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The image, pushed to a registry, pulled from it and unpacked.
pub struct Unpacked {
    /// What it says of itself.
    pub config: Value,
    /// Its files, no folders, sorted.
    pub files: Vec<String>,
    scratch: Scratch,
}

impl Unpacked {
    pub async fn pull() -> Result<Self> {
        let layout = layout()?;
        let registry = Registry::start().await?;
        registry.set_password("node", "node")?;
        let login = docker_config(&registry.host(), "node", "node");
        let (crane, name) = (registry.crane(), format!("{}/regcred:shipped", registry.host()));
        crane.command(&login, ["push".as_ref(), layout.as_os_str(), name.as_ref()]).await?;
        let config = serde_json::from_str(&crane.command(&login, ["config", &name]).await?)?;
        let scratch = Scratch::new("image")?;
        let archive = scratch.path().join("image.tar");
        crane.command(&login, ["export".as_ref(), name.as_ref(), archive.as_os_str()]).await?;
        let root = scratch.path().join("root");
        tar::Archive::new(fs::File::open(archive)?).unpack(&root)?;
        // Scratch folders are closed to everybody else.
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        let mut files = vec![];
        collect(&root, &root, &mut files)?;
        files.sort();
        Ok(Self { config, files, scratch })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.scratch.path().join("root").join(file)
    }

    /// Adds a file, as a mount would.
    pub fn add(&self, file: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.path(file), bytes)?;
        Ok(fs::set_permissions(self.path(file), Permissions::from_mode(0o644))?)
    }

    /// Its program, as the user and in the root folder that the image says. Who is not root needs a kernel that lets everybody
    /// have user namespaces.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (user, group) = USER.split_once(':').unwrap();
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("chroot");
            command.arg(format!("--userspec={USER}")).arg(self.path(""));
            command
        } else {
            let mut command = Command::new("unshare");
            command.args(["--user", &format!("--map-user={user}"), &format!("--map-group={group}"), "--root"]);
            command.arg(self.path(""));
            command
        };
        command.arg(Path::new("/").join(PROGRAM)).args(arguments);
        command
    }
}

/// Where `make image` puts it.
fn layout() -> Result<PathBuf> {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let architecture = Architecture::own().context("a machine that images are made for")?;
    let layout = target.join("image").join(architecture.name()).join("oci");
    ensure!(layout.is_dir(), "there is no image at {}: `make image` builds it", layout.display());
    Ok(layout)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// The whole answer to a GET.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
