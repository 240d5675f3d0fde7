//! The image that is shipped: the program, the authorities it trusts, and nothing else. Needs no container engine.
//!
//! The same program gives the same image, byte for byte. What it says of itself stands here once; the Dockerfile repeats
//! it for those who build with an engine, and a test compares the two. How the program is built is the Makefile's business.

mod files;
mod program;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::crane::docker_config;
use crate::registry::Registry;
use crate::scratch::Scratch;

pub use files::{Files, PROGRAM, ROOTS};
pub use program::{Architecture, LARGEST, Program};

/// Whom the program runs as: nobody in particular, as the chart says too.
pub const USER: &str = "65532:65532";

/// What is started; the chart adds `run`.
pub const ENTRYPOINT: &str = "/regcred";

/// What the image says of itself, in the words of the OCI image specification (`annotations.md`).
pub const LABELS: [(&str, &str); 4] = [
    ("org.opencontainers.image.title", "regcred"),
    (
        "org.opencontainers.image.description",
        "A Kubernetes operator for container registry credentials: obtained, proven, kept fresh, delivered",
    ),
    ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE")),
    ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
];

/// The folder below the given one with the files as they are in the image.
const ROOTFS: &str = "rootfs";

/// The folder below the given one with the image as an OCI layout.
const LAYOUT: &str = "oci";

/// The only login of the registry that lends a hand.
const LOGIN: &str = "image";

/// An image as an OCI layout, a folder that `crane push`, `skopeo` and `podman` take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// The folder.
    pub layout: PathBuf,
    /// The manifest's digest, `sha256:…`.
    pub digest: String,
}

/// The folders of this machine that nobody else has to know of, each with a slash at its end.
pub fn private_folders() -> Vec<String> {
    let named = ["HOME", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME"];
    let named = named.iter().filter_map(env::var_os).map(PathBuf::from);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    // The paths of a crate have a folder `src` in them as well, wherever they were built.
    let sources = sources.filter(|path| path.components().count() > 2);
    let folders = named.chain(sources).filter(|path| path.is_absolute() && path.parent().is_some());
    folders.map(|path| format!("{}/", path.display().to_string().trim_end_matches('/'))).collect()
}

/// Writes the files of the image into a folder `rootfs` below `folder`, in place of what is there.
///
/// # Errors
/// They cannot be written.
pub fn rootfs(program: &Program, folder: &Path) -> Result<PathBuf> {
    let rootfs = emptied(folder, ROOTFS)?;
    Files::new(program).write(&rootfs)?;
    Ok(rootfs)
}

/// Builds the image into a folder `oci` below `folder`, in place of what is there.
///
/// The client that makes images changes them in a registry only, so one is started for it.
///
/// # Errors
/// A program cannot be built or does not do as it is told; with what it says.
pub async fn build(program: &Program, folder: &Path) -> Result<Image> {
    let scratch = Scratch::new("testenv-image")?;
    let layer = scratch.path().join("layer.tar");
    fs::write(&layer, Files::new(program).layer()?).context("write the layer")?;
    let layout = emptied(folder, LAYOUT)?;

    let registry = Registry::start().await?;
    registry.set_password(LOGIN, LOGIN)?;
    let login = docker_config(&registry.host(), LOGIN, LOGIN);
    let (files, image) = (format!("{}/regcred:files", registry.host()), format!("{}/regcred:image", registry.host()));
    let crane = registry.crane();
    let append = ["append", "--oci-empty-base", "--new_tag", &files, "--new_layer"].map(OsStr::new);
    crane.command(&login, append.into_iter().chain([layer.as_os_str()])).await?;
    let labels = LABELS.map(|(name, value)| format!("--label={name}={value}"));
    let platform = format!("linux/{}", program.architecture().name());
    let mutate = ["mutate", "--set-platform", &platform, "--user", USER, "--entrypoint", ENTRYPOINT, "--tag", &image];
    crane.command(&login, mutate.into_iter().chain(labels.iter().map(String::as_str)).chain([&*files])).await?;
    let digest = crane.command(&login, ["digest", &image]).await?;
    let pull = ["pull", "--format", "oci", &image].map(OsStr::new);
    crane.command(&login, pull.into_iter().chain([layout.as_os_str()])).await?;
    Ok(Image { layout, digest })
}

/// The folder `name` below `folder`, with nothing in it.
fn emptied(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}
