//! Pauses in all dialects of registries, at all times.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::{prelude::*, sample::select};

use crate::{
    config,
    holds::retry_after::{headers_hold, holds},
};

/// The names under which services say when to come back, and two that say nothing of it.
const NAMES: [&str; 9] = [
    "retry-after",
    "x-retry-after",
    "x-ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-interval",
    "ratelimit-reset",
    "ratelimit-remaining",
    "ratelimit-limit",
    "date",
];

/// What may stand in them: numbers near and far, times, dates of all three forms, and anything.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        (-3..4000_i64).prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "[0-9]{1,40}(\\.[0-9]{0,3})?(e[0-9]{1,4})?(;w=[0-9]{1,6})?",
        "(Sun|Mon|Fri), [0-3][0-9] (Feb|Nov|Dec) [0-9]{4} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] (GMT|UTC|[+-][0-9]{4})",
        "(Sunday|Friday), [0-3][0-9]-(Feb|Nov)-[0-9]{2} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT",
        "(Sun|Fri) (Feb|Nov) [ 0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9] [0-9]{4}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z",
        "[ -~\té]{0,20}",
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    prop_oneof![1_700_000_000..2_000_000_000_i64, first..last]
        .prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_pause_is_between_a_second_and_an_hour_at_all_times(
        lines in proptest::collection::vec((select(&NAMES[..]), value()), 0..4),
        now in time(),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers_hold(&headers, now);
        let file: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        holds(file.join("\n").as_bytes());
        holds(&bytes);
    }

    #[test]
    fn a_number_of_seconds_is_waited_for_within_the_limits(seconds in prop_oneof![0..100_u64, 0..100_000_000_u64], now in time()) {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from(seconds))]);
        headers_hold(&headers, now);
    }
}
