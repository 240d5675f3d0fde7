//! The pause an answer asks for, in all dialects that registries and their token servers speak. Pure.
//!
//! | Header | Meaning | Who |
//! |---|---|---|
//! | `Retry-After` | seconds or an HTTP date (RFC 9110, 10.2.3) | the OCI specification, nearly everybody |
//! | `X-Retry-After` | seconds since 1970, or seconds from now | Docker Hub |
//! | `X-RateLimit-Interval` | seconds until the next call | Cloudsmith |
//! | `X-RateLimit-Reset`, `RateLimit-Reset` | seconds or milliseconds since 1970, or seconds from now | GitHub, GitLab, DigitalOcean |
//!
//! The first of these that says anything counts; of several values the longest pause.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::Timestamp;

/// The shortest pause: what has already passed by this clock may not have passed by the other side's.
pub const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The pause after an answer that asks for one and does not say how long.
pub const UNNAMED_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause that anybody may ask for.
pub const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Numbers from here on are seconds since 1970 (it is March 1973), smaller ones seconds from now (three years).
const FIRST_EPOCH_SECONDS: f64 = 1e8;

/// Numbers from here on are milliseconds since 1970 (it is March 1973), smaller ones seconds (it is the year 5138).
const FIRST_EPOCH_MILLIS: f64 = 1e11;

const X_RETRY_AFTER: &str = "x-retry-after";
const INTERVAL: &str = "x-ratelimit-interval";
const RESETS: [&str; 2] = ["x-ratelimit-reset", "ratelimit-reset"];
const REMAINING: [&str; 2] = ["x-ratelimit-remaining", "ratelimit-remaining"];

/// The pause an answer asks for, between [`MIN_PAUSE`] and [`MAX_PAUSE`]; none if it asks for none, or for nothing that
/// can be understood.
///
/// The end of a rate limit's window counts only if the limit is used up, or if nothing says how much of it is left: many
/// services send it with every answer. Docker Hub's `ratelimit-remaining: 0;w=21600` has the length of the window but not
/// its end, so no pause is known from it: six hours would be up to six hours too long.
pub fn pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    longest(headers, RETRY_AFTER.as_str(), now).or_else(|| longest(headers, X_RETRY_AFTER, now)).or_else(|| {
        let spent = Allowance::of(headers).is_none_or(|allowance| allowance == Allowance::Spent);
        let window = || {
            // An interval of nothing says nothing about a limit that is used up.
            let interval = values(headers, INTERVAL).filter_map(number).filter(|seconds| *seconds > 0.0);
            let resets = || RESETS.iter().filter_map(|name| longest(headers, name, now)).max();
            interval.map(|number| until(number, now)).max().or_else(resets)
        };
        spent.then(window).flatten()
    })
}

/// Whether an answer says that a rate limit is the reason for it, whatever its status: GitHub says so with a 403.
pub fn is_exhausted(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || Allowance::of(headers) == Some(Allowance::Spent)
}

/// The pause until an allowance that is used up is granted anew, within the same limits; none if something of it is left, or
/// if nothing says when. It goes with any answer, also with the last one that was allowed.
pub fn until_more(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let resets = || RESETS.iter().filter_map(|name| longest(headers, name, now)).max();
    (Allowance::of(headers)? == Allowance::Spent).then(resets).flatten()
}

/// The pause that Google's services ask for in the body of an error (`google.rpc.RetryInfo`), within the same limits.
pub fn pause_in_body(body: &[u8]) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        error: Status,
    }
    #[derive(serde::Deserialize)]
    struct Status {
        details: Vec<Detail>,
    }
    #[derive(serde::Deserialize)]
    struct Detail {
        #[serde(rename = "retryDelay")]
        retry_delay: Option<String>,
    }
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let delays = envelope.error.details.iter().filter_map(|detail| detail.retry_delay.as_deref());
    delays.filter_map(|delay| Some(clamped(number(delay.strip_suffix('s')?)?))).max()
}

/// What is left of a rate limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowance {
    Left,
    Spent,
}

impl Allowance {
    /// As the headers have it, where a `;` begins parameters; none if they do not say.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let left = REMAINING
            .iter()
            .flat_map(|name| values(headers, name))
            .filter_map(|value| number(value.split(';').next().unwrap_or_default()));
        let least = left.reduce(f64::min)?;
        Some(if least < 1.0 { Self::Spent } else { Self::Left })
    }
}

/// The longest pause that the values of one header ask for.
fn longest(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Duration> {
    values(headers, name).filter_map(|value| until_value(value, now)).max()
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::trim)
}

/// The pause a value asks for: an HTTP date, a number, or several numbers that a proxy has joined with commas.
fn until_value(value: &str, now: Timestamp) -> Option<Duration> {
    match httpdate::parse_http_date(value) {
        Ok(date) => Some(until_epoch(date.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(), now)),
        Err(_) => value.split(',').filter_map(number).map(|number| until(number, now)).max(),
    }
}

/// The pause until what a number means, told by its size.
fn until(number: f64, now: Timestamp) -> Duration {
    if number < FIRST_EPOCH_SECONDS {
        clamped(number)
    } else if number < FIRST_EPOCH_MILLIS {
        until_epoch(number, now)
    } else {
        until_epoch(number / 1e3, now)
    }
}

/// The pause until a time in seconds since 1970.
fn until_epoch(seconds: f64, now: Timestamp) -> Duration {
    clamped(seconds - now.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64())
}

/// A number of digits and at most one point: no sign, no exponent, no infinity.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}

fn clamped(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(MIN_PAUSE.as_secs_f64(), MAX_PAUSE.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    /// 2026-11-21T15:00:00Z.
    const NOW: i64 = 1_795_273_200;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.parse::<HeaderName>().unwrap(), http::HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    fn seconds(lines: &[&str]) -> Option<f64> {
        let pause = pause(&headers(lines), Timestamp::from_second(NOW).unwrap())?;
        Some((pause.as_secs_f64() * 1e3).round() / 1e3)
    }

    #[test]
    fn reads_the_pause_in_every_dialect() {
        for (lines, expected) in [
            // Seconds.
            (&["retry-after: 30"][..], Some(30.0)),
            (&["retry-after:  30 "], Some(30.0)),
            (&["retry-after: 1.5"], Some(1.5)),
            (&["retry-after: 0"], Some(1.0)),
            (&["retry-after: 0.2"], Some(1.0)),
            (&["retry-after: 3601"], Some(3600.0)),
            (&["retry-after: 99999999"], Some(3600.0)),
            (&["retry-after: 99999999999999999999999999"], Some(3600.0)),
            // HTTP dates in their three forms: today's, RFC 850's, asctime's.
            (&["retry-after: Sat, 21 Nov 2026 15:00:45 GMT"], Some(45.0)),
            (&["retry-after: Saturday, 21-Nov-26 15:00:45 GMT"], Some(45.0)),
            (&["retry-after: Sat Nov 21 15:00:45 2026"], Some(45.0)),
            (&["retry-after: Sat, 21 Nov 2026 14:00:00 GMT"], Some(1.0)),
            (&["retry-after: Thu, 01 Jan 1970 00:00:00 GMT"], Some(1.0)),
            (&["retry-after: Fri, 31 Dec 9999 23:59:59 GMT"], Some(3600.0)),
            // Seconds since 1970, where they should not be and where they may.
            (&["retry-after: 1795273245"], Some(45.0)),
            (&["x-retry-after: 1795273245"], Some(45.0)),
            (&["x-retry-after: 45"], Some(45.0)),
            (&["x-retry-after: 1795270000"], Some(1.0)),
            // The end of the window.
            (&["x-ratelimit-reset: 1795273245"], Some(45.0)),
            (&["x-ratelimit-reset: 1795273245123"], Some(45.123)),
            (&["x-ratelimit-reset: 45"], Some(45.0)),
            (&["RateLimit-Reset: 45"], Some(45.0)),
            (&["ratelimit-reset: 1795273245"], Some(45.0)),
            (&["ratelimit-reset: 1795270000"], Some(1.0)),
            (&["ratelimit-reset: 1795273245000000000"], Some(3600.0)),
            (&["x-ratelimit-reset: 45", "x-ratelimit-remaining: 0"], Some(45.0)),
            (&["x-ratelimit-reset: 45", "x-ratelimit-remaining: 7"], None),
            (&["x-ratelimit-reset: 45", "x-ratelimit-remaining: many"], Some(45.0)),
            (&["ratelimit-reset: 45", "ratelimit-remaining: 0;w=60"], Some(45.0)),
            (&["ratelimit-reset: 45", "ratelimit-remaining: 3;w=60"], None),
            (&["ratelimit-reset: 45", "ratelimit-remaining: 9", "x-ratelimit-remaining: 0"], Some(45.0)),
            // Cloudsmith.
            (&["x-ratelimit-interval: 2.5"], Some(2.5)),
            (&["x-ratelimit-interval: 5", "x-ratelimit-reset: 1795273245"], Some(5.0)),
            (&["x-ratelimit-interval: 0.0", "x-ratelimit-reset: 1795273245"], Some(45.0)),
            (&["x-ratelimit-interval: 5", "x-ratelimit-remaining: 7"], None),
            // Docker Hub: nobody knows when its window ends.
            (&["ratelimit-limit: 100;w=21600", "ratelimit-remaining: 0;w=21600"], None),
            (&["ratelimit-limit: 100;w=21600", "ratelimit-remaining: 76;w=21600"], None),
            // Several.
            (&["retry-after: 30", "x-ratelimit-reset: 1795273999", "x-retry-after: 99"], Some(30.0)),
            (&["retry-after: 30", "x-ratelimit-remaining: 7"], Some(30.0)),
            (&["x-retry-after: 99", "x-ratelimit-reset: 45"], Some(99.0)),
            (&["retry-after: soon", "x-ratelimit-reset: 45"], Some(45.0)),
            (&["retry-after: 30", "retry-after: 40"], Some(40.0)),
            (&["retry-after: 30, 40"], Some(40.0)),
            (&["retry-after: soon", "retry-after: 40"], Some(40.0)),
            (&["x-ratelimit-reset: 20", "ratelimit-reset: 45"], Some(45.0)),
            // Nothing, and nonsense.
            (&[], None),
            (&["date: Sat, 21 Nov 2026 15:00:45 GMT"], None),
            (&["retry-after: "], None),
            (&["retry-after: ."], None),
            (&["retry-after: 1.2.3"], None),
            (&["retry-after: -5"], None),
            (&["retry-after: +5"], None),
            (&["retry-after: 1e3"], None),
            (&["retry-after: NaN"], None),
            (&["retry-after: inf"], None),
            (&["retry-after: 0x10"], None),
            (&["retry-after: 30s"], None),
            (&["retry-after: PT30S"], None),
            (&["retry-after: tomorrow"], None),
            (&["retry-after: Sat, 99 Nov 2026 15:00:45 GMT"], None),
            (&["retry-after: 2026-11-21T15:00:45Z"], None),
            (&["retry-after: ٣٠"], None),
            (&["x-ratelimit-reset: never"], None),
        ] {
            assert_eq!(seconds(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn knows_when_a_used_up_allowance_is_granted_anew() {
        for (lines, expected) in [
            (&["ratelimit-remaining: 0", "ratelimit-reset: 1795273245"][..], Some(45)),
            (&["ratelimit-remaining: 0", "ratelimit-reset: 1795270000"], Some(1)),
            (&["ratelimit-remaining: 0", "ratelimit-reset: 1895273245"], Some(3600)),
            (&["ratelimit-remaining: 1", "ratelimit-reset: 1795273245"], None),
            (&["ratelimit-remaining: 0"], None),
            (&["ratelimit-reset: 1795273245"], None),
            (&["ratelimit-remaining: 0", "ratelimit-reset: soon"], None),
        ] {
            let pause = until_more(&headers(lines), Timestamp::from_second(NOW).unwrap());
            assert_eq!(pause.map(|pause| pause.as_secs()), expected, "{lines:?}");
        }
    }

    #[test]
    fn never_panics_and_stays_within_its_limits() {
        let times = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet = b"0123456789.,;:-+ eGMTSatNov\xff";
        for _ in 0..3_000 {
            let value: Vec<u8> = (0..random.usize(..32)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let value = http::HeaderValue::from_bytes(&value).unwrap();
            for name in ["retry-after", X_RETRY_AFTER, INTERVAL, RESETS[0], REMAINING[0]] {
                let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]);
                for now in times {
                    let found = pause(&headers, now);
                    assert!(found.is_none_or(|pause| (MIN_PAUSE..=MAX_PAUSE).contains(&pause)), "{value:?}");
                }
                is_exhausted(&headers);
            }
        }
    }

    #[test]
    fn knows_a_rate_limit_that_is_used_up() {
        for (lines, expected) in [
            (&["x-ratelimit-remaining: 0"][..], true),
            (&["x-ratelimit-remaining:  0 "], true),
            (&["ratelimit-remaining: 0;w=21600"], true),
            (&["retry-after: 60"], true),
            (&["x-ratelimit-remaining: 1"], false),
            (&["ratelimit-remaining: 76;w=21600"], false),
            (&["x-ratelimit-remaining: none"], false),
            (&["x-ratelimit-reset: 1795273245"], false),
            (&[], false),
        ] {
            assert_eq!(is_exhausted(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn reads_the_pause_that_google_puts_into_the_body() {
        let quota = r#"{"@type":"type.googleapis.com/google.rpc.QuotaFailure"}"#;
        let info =
            |delay: &str| format!(r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":{delay}}}"#);
        let body = |details: &str| format!(r#"{{"error":{{"code":429,"details":[{details}]}}}}"#);
        for (body, expected) in [
            (body(&info(r#""30s""#)), Some(30.0)),
            (body(&format!("{quota},{}", info(r#""2.5s""#))), Some(2.5)),
            (body(&info(r#""0s""#)), Some(1.0)),
            (body(&info(r#""99999s""#)), Some(3600.0)),
            (body(&info(r#""-3s""#)), None),
            (body(&info(r#""30""#)), None),
            (body(&info("30")), None),
            (body(quota), None),
            (body(""), None),
            (r#"{"error":"no"}"#.into(), None),
            ("<html>".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(pause_in_body(body.as_bytes()).map(|pause| pause.as_secs_f64()), expected, "{body}");
        }
    }
}
