//! Waiting for something to become true, with a deadline and without sleeping for luck.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};

/// The first pause between two looks; it grows by half up to [`SLOWEST`].
const FASTEST: Duration = Duration::from_millis(20);

/// The longest pause between two looks.
const SLOWEST: Duration = Duration::from_millis(250);

/// Looks again and again until `look` returns something.
///
/// An error from `look` ends nothing: it is what was seen last, so a look that says `bail!("still {phase}")` explains a
/// failure better than one that returns `None`.
///
/// # Errors
/// After `deadline`; names `what` was awaited and what was seen last.
pub async fn eventually<T>(
    what: impl Display,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    let mut pause = FASTEST;
    loop {
        let seen = match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "nothing yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() >= deadline {
            bail!("waited {} s for {what}; seen last: {seen}", deadline.as_secs_f32());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(SLOWEST);
    }
}

/// Makes a namespace of its own, named after `prefix`. Its `default` ServiceAccount, which only Pods need, comes later.
///
/// # Errors
/// The namespace cannot be made.
pub async fn namespace(client: &Client, prefix: &str) -> Result<String> {
    let suffix: String = std::iter::repeat_with(fastrand::lowercase).take(8).collect();
    let name = format!("{prefix}-{suffix}");
    let mut object = Namespace::default();
    object.metadata.name = Some(name.clone());
    let namespaces = Api::<Namespace>::all(client.clone());
    namespaces.create(&PostParams::default(), &object).await.with_context(|| format!("make the namespace {name}"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn says_what_was_seen_last() {
        let error = eventually::<()>("the moon", Duration::ZERO, async || bail!("still clouds")).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s for the moon; seen last: still clouds");
    }
}
