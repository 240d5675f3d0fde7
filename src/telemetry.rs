//! Logs: one line an event on standard error, as text or as JSON, filtered by `RUST_LOG`.

use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use crate::cli::LogFormat;

/// Starts logging. Without `RUST_LOG`, info and above is shown.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let subscriber = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Text => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    // Only a second call fails, and then the first one's logging is there.
    drop(result);
}
