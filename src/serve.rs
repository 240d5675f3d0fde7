//! The operator's own HTTP endpoints: `/livez`, `/readyz`, `/metrics`.
//!
//! Alive means that a new start would mend nothing: the run loop turns, passes end, and watches are opened again and again. Ready
//! means that the lists of the watches are complete, so that what it says and does rests on the whole picture, and that no older
//! installation keeps it from working. A follower is ready: it can take over.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{controller::Context, leader};

/// The media type of the text that Prometheus scrapes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers requests until `shutdown` completes.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(context);
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
}

async fn livez(State(context): State<Arc<Context>>) -> impl IntoResponse {
    match context.pulse.trouble() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
    }
}

async fn readyz(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if let leader::State::Yielding { elder } = context.leadership.state() {
        let reason = format!("an older installation of regcred works, {elder}: uninstall one of the two\n");
        return (StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    if !context.index.is_synced() {
        let reason = "the connections and Secrets of the cluster are not listed yet; see the log\n";
        return (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned());
    }
    (StatusCode::OK, "ok\n".to_owned())
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    match context.metrics.text(context.index.store().state(), context.leadership.may_write()) {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, OPEN_METRICS)], text),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], "failed to encode metrics\n".into())
        }
    }
}
