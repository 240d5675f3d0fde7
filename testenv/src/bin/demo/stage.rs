//! Everything the story plays on, how it is used when it stays, and its end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use testenv::tools::{self, Tool};
use testenv::{ControlPlane, Keyring, Registry, Scratch};
use tokio::task::spawn_blocking;

use crate::kubectl::Kubectl;
use crate::operator::Operator;
use crate::{story, told};

/// The programs of the demo, so that they are built in one go.
const TOOLS: [Tool; 7] = [
    Tool::KubeApiserver,
    Tool::KubeControllerManager,
    Tool::Kubectl,
    Tool::Keyring,
    Tool::Etcd,
    Tool::Registry,
    Tool::Crane,
];

/// See the module.
pub struct Stage {
    /// The kubelet's own keyring.
    pub keyring: Keyring,
    /// kubectl for the control plane.
    pub kubectl: Kubectl,
    /// The operator, once it is started.
    pub operator: Option<Operator>,
    /// The registry.
    pub registry: Registry,
    /// The control plane.
    pub plane: ControlPlane,
    program: PathBuf,
    root: PathBuf,
    folder: Scratch,
}

impl Stage {
    /// Starts the control plane and the registry, building what they need.
    pub async fn set(operator: &Path) -> Result<Self> {
        spawn_blocking(|| tools::paths(&TOOLS)).await??;
        let (plane, registry) = tokio::try_join!(ControlPlane::start(), Registry::start())?;
        let kubectl = spawn_blocking(|| tools::path(Tool::Kubectl)).await??;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the repository")?;
        let folder = Scratch::new("regcred-demo")?;
        Ok(Self {
            keyring: Keyring::start()?,
            kubectl: Kubectl::new(kubectl, plane.kubeconfig_path(), folder.path(), root),
            operator: None,
            registry,
            plane,
            program: operator.to_owned(),
            root: root.to_owned(),
            folder,
        })
    }

    /// Starts the operator.
    pub async fn start_operator(&mut self) -> Result<&Operator> {
        let operator = Operator::start(&self.program, &self.plane.kubeconfig_path(), &self.operator_log()).await?;
        Ok(self.operator.insert(operator))
    }

    /// An example with its placeholder replaced, as a file.
    pub fn example(&self, name: &str, placeholder: &str, value: &str) -> Result<PathBuf> {
        let source = self.root.join("examples").join(name);
        let text = fs::read_to_string(&source).with_context(|| format!("read {}", source.display()))?;
        ensure!(text.contains(placeholder), "{placeholder} is not in {}", source.display());
        let path = self.folder.path().join(name);
        fs::write(&path, text.replace(placeholder, value)).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Brings all logs together in one folder that stays.
    pub fn keep_logs(&mut self) -> Result<PathBuf> {
        for folder in [self.plane.folder(), self.registry.folder()] {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if let (Some("log"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_name()) {
                    fs::copy(&path, self.folder.path().join(name))?;
                }
            }
        }
        self.folder.keep();
        Ok(self.folder.path().to_owned())
    }

    /// Says how to use what keeps running.
    pub fn explain(&self) -> Result<()> {
        let operator = self.operator.as_ref().context("the operator runs")?;
        let host = self.registry.host();
        println!("\nEverything keeps running. In another terminal:\n");
        println!("   export KUBECONFIG={}", self.plane.kubeconfig_path().display());
        println!("   alias kubectl={}", self.kubectl.program().display());
        println!("   kubectl get regconn --all-namespaces --output wide");
        println!("   kubectl get events --namespace {}", story::NAMESPACE);
        println!("\n   registry         http://{host}, user {}, password {}", story::USER, story::PASSWORD);
        println!("   private image    {}", story::image(&host));
        println!("   operator's log   {}", self.operator_log().display());
        println!("   metrics          http://{}/metrics", operator.address());
        println!("\nEnter or Ctrl-C here ends and removes it all.");
        Ok(())
    }

    /// Ends everything and makes sure that nothing is left.
    pub fn end(self) -> Result<()> {
        let mut pids = self.plane.pids();
        pids.extend(self.registry.pid());
        let folders = [self.plane.folder(), self.registry.folder(), self.folder.path()].map(Path::to_owned);
        if let Some(operator) = self.operator {
            pids.push(operator.pid());
            let (status, took) = operator.end()?;
            told::fact(&format!("regcred ended {} after SIGTERM, {status}", told::milliseconds(took)));
        }
        drop((self.keyring, self.registry, self.plane, self.folder));
        let left: Vec<u32> = pids.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        ensure!(left.is_empty(), "still running: {left:?}");
        if std::env::var_os(testenv::scratch::KEEP_VARIABLE).is_none_or(|value| value.is_empty()) {
            let left: Vec<_> = folders.iter().filter(|folder| folder.exists()).collect();
            ensure!(left.is_empty(), "still there: {left:?}");
        }
        told::fact(&format!("{} processes ended, {} folders removed", pids.len(), folders.len()));
        Ok(())
    }

    fn operator_log(&self) -> PathBuf {
        self.folder.path().join("operator.log")
    }
}
