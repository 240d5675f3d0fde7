//! The only wiring: from the command line to a running operator, and back to a clean end.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{FutureExt, future::Shared};
use http::Uri;
use kube::{Client, Config, client::ClientBuilder};
use secrecy::ExposeSecret;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    api::names::FIELD_MANAGER,
    cli::RunArguments,
    clock::Clock,
    controller::{self, Context, events::Events},
    leader::{Candidate, Fence, Installation, Leadership, Tenure},
    linking,
    metrics::Metrics,
    net::{Certificates, Http, Lookup, Proxy, Settings, SystemLookup},
    provider::Binds,
    pulse::Pulse,
    registry::Habits,
    serve,
};

/// How long the look for the API server's addresses may delay the start.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

/// The name by which Pods know the API server, at the port of its Service.
const API_SERVER: (&str, u16) = ("kubernetes.default.svc", 443);

/// What there is outside of the operator, as far as it can differ from run to run.
pub struct Outside {
    /// Where the API server listens: no request of a connection may go there.
    pub api_server: Vec<SocketAddr>,
    /// Who resolves names.
    pub lookup: Arc<dyn Lookup>,
}

impl Default for Outside {
    /// The system's resolver, and an API server that nobody has to be kept from.
    fn default() -> Self {
        Self { api_server: vec![], lookup: Arc::new(SystemLookup) }
    }
}

/// How long the passes under way may take to finish after the signal to end.
const GRACE: Duration = Duration::from_secs(4);

/// Runs the operator against the cluster that the environment names, until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot be started.
pub async fn from_environment(arguments: RunArguments) -> anyhow::Result<()> {
    // The error tells all its causes itself; a chain would tell them twice.
    let mut config = Config::infer().await.map_err(|error| {
        anyhow::anyhow!(
            "failed to find a cluster: set KUBECONFIG to a kubeconfig file, or run in a Pod with a ServiceAccount ({error})"
        )
    })?;
    // Retries are the policy's business; below it they would multiply.
    config.default_retry = false;
    let lookup: Arc<dyn Lookup> = Arc::new(SystemLookup);
    let api_server = api_server(&config.cluster_url, |name| std::env::var(name).ok(), lookup.as_ref()).await;
    let leadership = Leadership::following();
    let pulse = Pulse::default();
    let clients = clients(config, &leadership, &pulse);
    let (client, lease_client) = clients.context("failed to set up the client of the API server")?;
    let context = context(client, &arguments, Clock::system(), Outside { api_server, lookup })?;
    let installation = Installation { namespace: arguments.namespace.clone(), name: arguments.installation.clone() };
    let candidate = Candidate { installation, identity: identity(|name| std::env::var(name).ok()) };
    let tenure = Tenure::new(lease_client, candidate, context.clock.clone(), leadership.clone());
    let context = Arc::new(Context { leadership, pulse, ..context });
    let listener = TcpListener::bind(arguments.metrics_addr)
        .await
        .with_context(|| format!("failed to listen on {} for metrics and probes", arguments.metrics_addr))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = arguments.namespace,
        metrics_addr = %listener.local_addr().context("failed to read the address of the metrics listener")?,
        "regcred starts"
    );
    let shutdown = ending()?.shared();
    let result = tokio::select! {
        result = run(context, listener, shutdown) => result,
        lost = tenure.run() => Err(lost.into()),
    };
    tenure.release().await;
    result
}

/// A client that writes only while this process leads, and one for its lease.
fn clients(config: Config, leadership: &Leadership, pulse: &Pulse) -> kube::Result<(Client, Client)> {
    let fenced = ClientBuilder::try_from(config.clone())?.with_layer(pulse).with_layer(&Fence::new(leadership.clone()));
    Ok((fenced.build(), ClientBuilder::try_from(config)?.with_layer(pulse).build()))
}

/// What tells this process from all others. A Pod's container that is started anew is the same one: no two Pods have one name.
fn identity(variable: impl Fn(&str) -> Option<String>) -> String {
    variable("POD_NAME").unwrap_or_else(|| {
        format!("{}-{:08x}", variable("HOSTNAME").as_deref().unwrap_or(FIELD_MANAGER), fastrand::u32(..))
    })
}

/// What the controller works with.
///
/// # Errors
/// If the arguments name a file or a proxy that cannot be used, or if the HTTP client cannot be set up.
pub fn context(client: Client, arguments: &RunArguments, clock: Clock, outside: Outside) -> anyhow::Result<Context> {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| FIELD_MANAGER.to_owned());
    Ok(Context {
        events: Events::new(client.clone(), format!("{}/{host}", arguments.namespace)),
        client,
        http: Http::new(Settings {
            allow_loopback: arguments.allow_loopback,
            forbid_private: arguments.forbid_private_addresses,
            authorities: authorities(arguments.ca_file.as_deref())?,
            api_server: outside.api_server,
            proxy: proxy(arguments)?,
            lookup: outside.lookup,
            clock: clock.clone(),
        })
        .context("failed to set up the HTTP client for registries")?,
        index: controller::index::Index::new(clock.clone(), &arguments.namespace),
        clock,
        memories: controller::memory::Memories::default(),
        kept: controller::sweep::Kept::default(),
        waits: controller::renew::orphan::Waits::default(),
        fingerprints: crate::domain::credential::Fingerprints::default(),
        habits: Habits::default(),
        flights: controller::flight::Flights::default(),
        metrics: Metrics::default(),
        allow_loopback: arguments.allow_loopback,
        binds: if arguments.require_source_host { Binds::Always } else { Binds::IfItSays },
        namespace: arguments.namespace.clone(),
        revocation_grace: arguments.revocation_grace,
        pass_limit: controller::PASS_LIMIT,
        pace: controller::Pace::new(arguments.max_writes_per_second),
        linking: linking::Shared::default(),
        pulse: Pulse::default(),
        leadership: Leadership::alone(),
        began: OnceLock::new(),
    })
}

fn authorities(file: Option<&Path>) -> anyhow::Result<Certificates> {
    let Some(file) = file else { return Ok(Certificates::default()) };
    let what = || format!("failed to read certificate authorities from {} (--ca-file)", file.display());
    Certificates::parse(&std::fs::read(file).with_context(what)?).with_context(what)
}

fn proxy(arguments: &RunArguments) -> anyhow::Result<Option<Proxy>> {
    let exceptions = arguments.no_proxy.as_deref().unwrap_or_default();
    // A variable that is set to nothing is as good as none.
    let url = arguments.https_proxy.as_ref().filter(|url| !url.expose_secret().trim().is_empty());
    url.map(|url| Proxy::parse(url, exceptions)).transpose().context("failed to use the URL of --https-proxy")
}

/// Where the API server listens, as far as this operator can know: at the URL of its own client, where the environment of a
/// Pod says, and under the name that Pods use. What cannot be resolved is no reason not to start.
async fn api_server(url: &Uri, variable: impl Fn(&str) -> Option<String>, lookup: &dyn Lookup) -> Vec<SocketAddr> {
    let plain = url.scheme_str() == Some("http");
    let mut places =
        vec![(url.host().unwrap_or_default().to_owned(), url.port_u16().unwrap_or(if plain { 80 } else { 443 }))];
    if let Some(host) = variable("KUBERNETES_SERVICE_HOST") {
        let ports =
            ["KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"].map(|name| variable(name)?.parse().ok());
        places.extend(ports.into_iter().flatten().map(|port| (host.clone(), port)));
        places.push((host, API_SERVER.1));
    }
    let known = futures::future::join_all(places.iter().map(async |(host, port)| {
        let found = addresses(host, *port, lookup).await;
        if found.is_empty() {
            tracing::warn!(
                host,
                "failed to resolve the name of the API server; connections are not kept from its address"
            );
        }
        found
    }));
    // Outside of a Pod nobody knows this name.
    let (known, named) = tokio::join!(known, addresses(API_SERVER.0, API_SERVER.1, lookup));
    let mut found: Vec<SocketAddr> = known.into_iter().flatten().chain(named).collect();
    found.sort();
    found.dedup();
    tracing::debug!(addresses = ?found, "no connection may reach the API server");
    found
}

async fn addresses(host: &str, port: u16, lookup: &dyn Lookup) -> Vec<SocketAddr> {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return vec![SocketAddr::new(ip, port)];
    }
    match tokio::time::timeout(LOOKUP_PATIENCE, lookup.lookup(host)).await {
        Ok(Ok(found)) => found.into_iter().map(|at| SocketAddr::new(at.ip(), port)).collect(),
        Ok(Err(_)) | Err(_) => vec![],
    }
}

/// Runs the operator until `shutdown` completes, and at most [`GRACE`] longer.
///
/// # Errors
/// If the metrics listener fails.
pub async fn run(
    context: Arc<Context>,
    listener: TcpListener,
    shutdown: Shared<impl Future<Output = ()> + Send + 'static>,
) -> anyhow::Result<()> {
    let server = serve::serve(listener, Arc::clone(&context), shutdown.clone());
    let work = async {
        controller::run(context, shutdown.clone()).await;
        // A process without its run loop would look alive.
        ensure!(shutdown.peek().is_some(), "the run loop ended by itself; this is a bug in regcred");
        Ok(())
    };
    let both = async { tokio::try_join!(work, async { server.await.context("the metrics listener failed") }) };
    let too_long = async {
        shutdown.clone().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = both => {
            result?;
            tracing::info!("regcred ends");
        }
        () = too_long => tracing::warn!(seconds = GRACE.as_secs(), "regcred ends with work unfinished; it is taken up at the next start"),
    }
    Ok(())
}

/// Completes at the first SIGTERM or SIGINT.
fn ending() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
            _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::future::BoxFuture;

    use super::*;

    /// Knows some names; `hangs` takes forever.
    struct Names(&'static [(&'static str, &'static str)]);

    impl Lookup for Names {
        fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let found = self.0.iter().find(|(known, _)| *known == name).map(|(_, ip)| ip.parse().unwrap());
            let hangs = name == "hangs";
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(vec![SocketAddr::new(found.ok_or(io::ErrorKind::NotFound)?, 0)])
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn finds_the_api_server_wherever_it_is_named() {
        let names = Names(&[("kubernetes.default.svc", "10.96.0.1"), ("api.example", "192.0.2.7")]);
        let pod = [
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "6443"),
        ];
        for (url, environment, lookup, expected) in [
            ("https://127.0.0.1:6443/", &[][..], &Names(&[]), &["127.0.0.1:6443"][..]),
            ("https://[::1]:6443/", &[], &Names(&[]), &["[::1]:6443"]),
            ("https://api.example/", &[], &names, &["10.96.0.1:443", "192.0.2.7:443"]),
            ("https://api.example:6443/", &[], &names, &["10.96.0.1:443", "192.0.2.7:6443"]),
            ("http://api.example/", &[], &names, &["10.96.0.1:443", "192.0.2.7:80"]),
            ("https://10.96.0.1/", &pod, &names, &["10.96.0.1:443", "10.96.0.1:6443"]),
            ("https://hangs/", &pod[..1], &Names(&[]), &["10.96.0.1:443"]),
            ("https://unknown/", &[], &Names(&[]), &[]),
        ] {
            let variable =
                |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            let found = api_server(&url.parse().unwrap(), variable, lookup).await;
            let expected: Vec<SocketAddr> = expected.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn says_in_one_sentence_what_is_wrong_with_the_authorities() {
        let error = |path: &str| format!("{:#}", authorities(Some(Path::new(path))).err().unwrap());
        assert_eq!(
            error("/nowhere/ca.pem"),
            "failed to read certificate authorities from /nowhere/ca.pem (--ca-file): No such file or directory (os error 2)"
        );
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let text = error(manifest);
        assert!(
            text.ends_with(
                "(--ca-file): it holds no certificate (a block that begins with -----BEGIN CERTIFICATE-----)"
            ),
            "{text}"
        );
        assert!(authorities(None).is_ok());
    }
}
