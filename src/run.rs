//! The only wiring: from the command line to a running operator, and back to a clean end.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt, future::Shared};
use kube::{
    Client, Config,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    api::names::FIELD_MANAGER,
    cli::RunArguments,
    clock::Clock,
    controller::{self, Context},
    metrics::Metrics,
    net::{Certificates, Http, Settings, SystemLookup},
    serve,
};

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
    let client = Client::try_from(config).context("failed to set up the client of the API server")?;
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
    let context = Arc::new(context(client, &arguments, Clock::system())?);
    run(context, listener, shutdown).await
}

/// What the controller works with.
///
/// # Errors
/// If the HTTP client cannot be set up.
pub fn context(client: Client, arguments: &RunArguments, clock: Clock) -> anyhow::Result<Context> {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| FIELD_MANAGER.to_owned());
    let reporter =
        Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(format!("{}/{host}", arguments.namespace)) };
    Ok(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        http: Http::new(Settings {
            allow_loopback: arguments.allow_loopback,
            authorities: Certificates::default(),
            api_server: vec![],
            lookup: Arc::new(SystemLookup),
            forbid_private: false,
            proxy: None,
            clock: clock.clone(),
        })
        .context("failed to set up the HTTP client for registries")?,
        clock,
        index: controller::index::Index::default(),
        memories: controller::memory::Memories::default(),
        fingerprints: crate::domain::credential::Fingerprints::default(),
        metrics: Metrics::default(),
        allow_loopback: arguments.allow_loopback,
        pass_limit: controller::PASS_LIMIT,
    })
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
