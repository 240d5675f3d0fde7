//! The pause an answer asks for. Pure.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::Timestamp;

/// The longest pause a registry may ask for.
pub const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// The pause an answer asks for, between one second and [`MAX_PAUSE`].
pub fn pause(headers: &HeaderMap, _now: Timestamp) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), MAX_PAUSE))
}
