//! A provider's time: the system's at its start, then so many times as fast, as the clock of an operator under test.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// See the module. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Arc<Mutex<Start>>,
    speed: u32,
}

#[derive(Debug)]
struct Start {
    /// What it showed.
    shown: Timestamp,
    real: Instant,
}

impl Clock {
    /// Starts one at the system's time that runs `speed` times as fast; at least 1.
    pub fn new(speed: u32) -> Self {
        let shown = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX);
        Self { start: Arc::new(Mutex::new(Start { shown, real: Instant::now() })), speed: speed.max(1) }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let start = self.start();
        let elapsed = SignedDuration::try_from(start.real.elapsed()).unwrap_or(SignedDuration::MAX);
        let elapsed = elapsed.saturating_mul(i32::try_from(self.speed).unwrap_or(i32::MAX));
        start.shown.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Sets it to `now`, to agree with a clock that has started at another moment. What was issued before keeps its real end.
    pub fn set(&self, now: Timestamp) {
        *self.start() = Start { shown: now, real: Instant::now() };
    }

    /// When it shows `time`, in the system's time.
    pub fn real(&self, time: Timestamp) -> SystemTime {
        let left = time.duration_since(self.now());
        let (real, now) = (left.unsigned_abs() / self.speed, SystemTime::now());
        let moved = if left.is_negative() { now.checked_sub(real) } else { now.checked_add(real) };
        moved.unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)))
    }

    fn start(&self) -> MutexGuard<'_, Start> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_a_fast_clock_is_over_early() {
        let clock = Clock::new(600);
        let (now, real) = (clock.now(), SystemTime::now());
        let end = clock.real(now + SignedDuration::from_hours(1)).duration_since(real).unwrap();
        // Six seconds, and whatever passed between the looks at the two clocks.
        assert!(end > Duration::from_secs(3) && end < Duration::from_mins(1), "{end:?}");
        let past = clock.real(now - SignedDuration::from_hours(1));
        assert!(past < real);
    }

    #[test]
    fn it_can_be_set_to_agree_with_another() {
        let (clock, other) = (Clock::new(1), Timestamp::from_second(1_000_000).unwrap());
        clock.set(other);
        assert!(clock.now() >= other && clock.now() < other + SignedDuration::from_mins(10));
    }
}
