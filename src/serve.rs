//! The operator's own HTTP endpoints: `/livez`, `/readyz`, `/metrics`.
//!
//! Alive means that the process answers. Ready means that both lists of the watches are complete, so that what it says
//! and does rests on the whole picture.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    api::{ConditionType, condition},
    controller::Context,
};

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
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(context);
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
}

async fn readyz(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if context.index.is_synced() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the connections and Secrets of the cluster are not listed yet; see the log\n",
        )
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let connections = context.index.store().state();
    let ready = connections.iter().map(|connection| {
        let conditions = connection.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
        condition::find(conditions, ConditionType::Ready).map_or_else(
            || ("Unknown".into(), "Progressing".into()),
            |ready| (ready.status.clone(), ready.reason.clone()),
        )
    });
    match context.metrics.text(ready) {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, OPEN_METRICS)], text),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], "failed to encode metrics\n".into())
        }
    }
}
