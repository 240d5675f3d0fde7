//! A pause is between one second and an hour, whatever the headers say and whatever the time is.
//!
//! A file holds one header per line, `name: value`; a line without a name is a `Retry-After`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use jiff::Timestamp;
use regcred::net::retry_after::pause;

/// Numbers from here on may be times instead of seconds: nobody asks for three years.
const FIRST_TIME: u64 = 100_000_000;

/// The times at which the files are read: 1970, the autumn of 2026, and the end of time.
const TIMES: [Timestamp; 3] = [Timestamp::UNIX_EPOCH, Timestamp::constant(1_794_000_000, 0), Timestamp::MAX];

/// What holds for any headers.
pub fn holds(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) if HeaderName::from_bytes(&line[..colon]).is_ok() => (&line[..colon], &line[colon + 1..]),
            _ => (RETRY_AFTER.as_str().as_bytes(), line),
        };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    for now in TIMES {
        headers_hold(&headers, now);
    }
}

/// What holds for any headers at any time.
pub fn headers_hold(headers: &HeaderMap, now: Timestamp) {
    let asked = pause(headers, now);
    assert!(
        asked.is_none_or(|pause| (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&pause)),
        "{asked:?}"
    );
    assert_eq!(pause(headers, now), asked);
    let speaks =
        |name: &HeaderName| ["retry", "ratelimit", "rate-limit"].iter().any(|word| name.as_str().contains(word));
    assert!(asked.is_none() || headers.keys().any(speaks), "nobody asked for {asked:?}");
    // The one form that every implementation has to know.
    let mut values = headers.get_all(RETRY_AFTER).iter();
    if let (Some(only), None) = (values.next(), values.next())
        && only.as_bytes().iter().all(u8::is_ascii_digit)
        && let Some(seconds) = only.to_str().ok().and_then(|text| text.parse::<u64>().ok())
        && seconds < FIRST_TIME
    {
        assert_eq!(asked, Some(Duration::from_secs(seconds.clamp(1, 3600))));
    }
}
