//! Logs: one line an event on standard error, as text or as JSON, filtered by `RUST_LOG`.

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::cli::LogFormat;

/// Starts logging. Without `RUST_LOG`, info and above is shown. Of a panic the place is logged, never its message.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let filter = filter.and(filter_fn(|metadata| !quotes_bodies(metadata) && !names_another_kind(metadata)));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Only a second call fails, and then the first one's logging is there.
    drop(tracing_subscriber::registry().with(lines.with_filter(filter)).try_init());
    std::panic::set_hook(Box::new(|panic| {
        // The message of a panic may quote what it stumbled over, as one about a cut in the middle of a character does.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "regcred panicked; this is a fault to report");
    }));
}

/// The kube client logs bodies of answers in this one module: those it cannot read, and the server's words about a
/// request that failed. Both may quote a Secret, so no level shows them.
fn quotes_bodies(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "kube_client::client"
}

/// The run loop knows one kind, and would name a connection of the cluster as one of a namespace. Each pass says whose it is.
fn names_another_kind(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == "kube_runtime::controller"
}
