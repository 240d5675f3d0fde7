//! Everything the story plays on, how it is used when it stays, and its end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use testenv::certificates::Authority;
use testenv::provider::digital_ocean;
use testenv::tools::{self, Tool};
use testenv::{ControlPlane, DigitalOcean, Keyring, Registry, Scratch, TokenServer, registry, token_server};
use tokio::task::spawn_blocking;

use crate::kubectl::Kubectl;
use crate::operator::{self, ACCOUNT, Operator};
use crate::{issued, story, told};

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
    /// The registry, over TLS.
    pub registry: Registry,
    /// Its token server, over TLS too.
    pub tokens: TokenServer,
    /// The certificate of the authority that both are signed by, as a file.
    pub authority: PathBuf,
    /// A provider that issues credentials, with a registry of its own.
    pub ocean: DigitalOcean,
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
        let folder = Scratch::new("regcred-demo")?;
        let authority = Authority::new()?;
        let tls = Some(authority.server(&["localhost"])?);
        let tokens = TokenServer::start_with(token_server::Options { tls: tls.clone(), ..Default::default() })?;
        let options = registry::Options { authentication: tokens.trust().into(), tls };
        let account = digital_ocean::Options { registries: vec![issued::REGISTRY.to_owned()], ..Default::default() };
        let (plane, registry, ocean) =
            tokio::try_join!(ControlPlane::start(), Registry::start_with(options), DigitalOcean::start(account))?;
        let certificate = folder.path().join("ca.crt");
        fs::write(&certificate, authority.certificate()).context("write the authority's certificate")?;
        let kubectl = spawn_blocking(|| tools::path(Tool::Kubectl)).await??;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the repository")?;
        Ok(Self {
            keyring: Keyring::start()?,
            kubectl: Kubectl::new(kubectl, plane.kubeconfig_path(), folder.path(), root),
            operator: None,
            registry,
            ocean,
            tokens,
            authority: certificate,
            plane,
            program: operator.to_owned(),
            root: root.to_owned(),
            folder,
        })
    }

    /// Starts the operator.
    pub async fn start_operator(&mut self) -> Result<&Operator> {
        // As its Pods would: under the account that was installed.
        let kubeconfig = self.plane.service_account_kubeconfig(operator::NAMESPACE, ACCOUNT).await?;
        let operator = Operator::start(&self.program, &kubeconfig, &self.operator_log()).await?;
        Ok(self.operator.insert(operator))
    }

    /// The token server's host, as the connection lists it.
    pub fn token_host(&self) -> String {
        format!("localhost:{}", self.tokens.listener().port())
    }

    /// An example with its placeholders replaced, as a file.
    pub fn example(&self, name: &str, replacements: &[(&str, &str)]) -> Result<PathBuf> {
        let source = self.root.join("examples").join(name);
        let mut text = fs::read_to_string(&source).with_context(|| format!("read {}", source.display()))?;
        for (placeholder, value) in replacements {
            ensure!(text.contains(placeholder), "{placeholder} is not in {}", source.display());
            text = text.replace(placeholder, value);
        }
        let path = self.folder.path().join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Brings all logs together in one folder that stays.
    pub fn keep_logs(&mut self) -> Result<PathBuf> {
        for folder in [self.plane.folder(), self.registry.folder(), self.ocean.registry().folder()] {
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
        println!("\n   registry         https://{host}, user {}, password {}", story::USER, story::PASSWORD);
        println!("   token server     {}", self.tokens.realm());
        println!("   their authority  {}", self.authority.display());
        println!("   private image    {}", story::image(&host));
        println!("   provider's API   {} (a fake)", self.ocean.api_url());
        println!("   operator's log   {}", self.operator_log().display());
        println!("   metrics          http://{}/metrics", operator.address());
        println!("\nEnter or Ctrl-C here ends and removes it all.");
        Ok(())
    }

    /// Ends everything and makes sure that nothing is left.
    pub fn end(self) -> Result<()> {
        let mut pids = self.plane.pids();
        pids.extend([self.registry.pid(), self.ocean.registry().pid()].into_iter().flatten());
        let folders = [self.plane.folder(), self.registry.folder(), self.ocean.registry().folder(), self.folder.path()];
        let folders = folders.map(Path::to_owned);
        if let Some(operator) = self.operator {
            pids.push(operator.pid());
            let (status, took) = operator.end()?;
            told::fact(&format!("regcred ended {} after SIGTERM, {status}", told::milliseconds(took)));
        }
        drop((self.keyring, self.registry, self.ocean, self.tokens, self.plane, self.folder));
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
