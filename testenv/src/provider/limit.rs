//! How many requests one client may make: a sliding hour, and a sliding minute for bursts. Pure.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// How many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) hour: usize,
    pub(super) minute: usize,
}

/// The requests of one token that still count, oldest first.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Timestamp>);

/// Whether one more may come.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Room {
    Yes,
    /// The hour is full.
    NotThisHour,
    /// The minute is full, for so many seconds.
    NotThisMinute(i64),
}

impl Window {
    /// Counts one more, if there is room. What is refused does not count.
    pub(super) fn take(&mut self, limits: Limits, now: Timestamp) -> Room {
        self.0.retain(|call| now.duration_since(*call) < HOUR);
        if self.0.len() >= limits.hour {
            return Room::NotThisHour;
        }
        let recent: Vec<_> = self.0.iter().filter(|call| now.duration_since(**call) < MINUTE).collect();
        if let Some(oldest) = recent.first().filter(|_| recent.len() >= limits.minute) {
            let left = (**oldest + MINUTE).duration_since(now);
            return Room::NotThisMinute(left.as_secs() + 1);
        }
        self.0.push_back(now);
        Room::Yes
    }

    /// Name and value of the headers that tell of it.
    pub(super) fn headers(&self, limits: Limits, now: Timestamp) -> [(&'static str, String); 3] {
        let reset = self.0.front().map_or(now, |oldest| *oldest + HOUR);
        [
            ("ratelimit-limit", limits.hour.to_string()),
            ("ratelimit-remaining", limits.hour.saturating_sub(self.0.len()).to_string()),
            ("ratelimit-reset", reset.as_second().to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide() {
        let limits = Limits { hour: 4, minute: 2 };
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut window = Window::default();
        for (second, expected) in [
            (0, Room::Yes),
            (10, Room::Yes),
            (20, Room::NotThisMinute(41)),
            (60, Room::Yes),
            (61, Room::NotThisMinute(10)),
            (200, Room::Yes),
            (300, Room::NotThisHour),
            (3_599, Room::NotThisHour),
            (3_600, Room::Yes),
        ] {
            assert_eq!(window.take(limits, at(second)), expected, "{second}");
        }
        let told = window.headers(limits, at(3_600)).map(|(_, value)| value);
        assert_eq!(told, ["4", "0", "3610"].map(str::to_owned));
    }
}
