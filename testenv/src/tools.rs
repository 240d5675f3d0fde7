//! The programs everything here runs: which there are, and where the binary of each lies.
//!
//! A binary comes from the folder `KUBEBUILDER_ASSETS` if it is there, else from a cache folder, where it is built on
//! first use from a pinned Go module beside this crate. Nothing is ever taken from `PATH`: its version would be a guess.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::compile;

/// A folder with ready-made binaries, named as envtest names it. What is missing there is built.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// One program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// The store under the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers that come with Kubernetes.
    KubeControllerManager,
    /// Kubernetes' own client, for the demo.
    Kubectl,
    /// The distribution registry, its own command.
    Registry,
    /// A client that pushes and pulls images.
    Crane,
    /// What installs charts.
    Helm,
    /// The kubelet's keyring as a judge.
    Keyring,
    /// Flux's condition rules and kstatus as a judge.
    Conditions,
    /// Argo CD's way to run a health check as a judge.
    Health,
}

impl Tool {
    /// All programs, the slowest to build first.
    pub const ALL: [Self; 10] = [
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Helm,
        Self::Kubectl,
        Self::Keyring,
        Self::Etcd,
        Self::Registry,
        Self::Crane,
        Self::Conditions,
        Self::Health,
    ];

    /// The binary's file name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Registry => "registry",
            Self::Crane => "crane",
            Self::Helm => "helm",
            Self::Keyring => "keyring",
            Self::Conditions => "conditions",
            Self::Health => "health",
        }
    }

    /// The folder below `go/` with the module it is built from.
    pub(crate) const fn module(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl | Self::Keyring => "kubernetes",
            Self::Registry => "registry",
            Self::Crane => "crane",
            Self::Helm => "helm",
            Self::Conditions | Self::Health => "gitops",
        }
    }

    /// The Go package that is its `main`.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Registry => "github.com/distribution/distribution/v3/cmd/registry",
            Self::Conditions => ".",
            Self::Crane => "github.com/google/go-containerregistry/cmd/crane",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Keyring => "./keyring",
            Self::Health => "./health",
        }
    }
}

/// Where the binary of `tool` lies; builds it if need be, which can take minutes.
///
/// # Errors
/// See [`paths`].
pub fn path(tool: Tool) -> Result<PathBuf> {
    let mut found = paths(&[tool])?;
    found.pop().context("one path for one tool")
}

/// Where the binaries of `tools` lie, in the same order; builds those that are missing, one after the other.
///
/// Blocks, so call it from async code through `spawn_blocking`.
///
/// # Errors
/// A binary is missing and Go is missing or too old, or the build fails.
pub fn paths(tools: &[Tool]) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for &tool in tools {
        let path = match asset(tool) {
            Some(path) => path,
            None => {
                let path = cached(tool)?;
                if !path.exists() {
                    missing.push((tool, path.clone()));
                }
                path
            }
        };
        found.push(path);
    }
    for (index, (tool, path)) in missing.iter().enumerate() {
        compile::into(*tool, path, index + 1, missing.len())?;
    }
    Ok(found)
}

fn asset(tool: Tool) -> Option<PathBuf> {
    let folder = std::env::var_os(ASSETS_VARIABLE).filter(|folder| !folder.is_empty())?;
    let path = PathBuf::from(folder).join(tool.name());
    // The registry's log is read, and what it says differs between versions.
    (path.is_file() && tool != Tool::Registry).then_some(path)
}

fn cached(tool: Tool) -> Result<PathBuf> {
    Ok(cache_folder()?.join(compile::key(tool)?).join(tool.name()))
}

/// The folder under which every key has its own folder.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let Some(base) = base else { bail!("set HOME or XDG_CACHE_HOME: built tools are kept there") };
    Ok(base.join("regcred").join("testenv"))
}

/// The folder with the Go module that `tool` is built from.
pub(crate) fn source(tool: Tool) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(tool.module())
}
