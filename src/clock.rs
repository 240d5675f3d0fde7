//! The only caller of the system's clock. Every other module gets the time passed in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time. A test may let it run faster than real time, so that an interval passes in seconds.
#[derive(Clone, Debug)]
pub struct Clock {
    started: (Timestamp, Instant),
    speed: Option<u32>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { started: (system_now(), Instant::now()), speed: None }
    }

    /// A clock that starts at the system's time and runs `speed` times as fast.
    pub fn running(speed: u32) -> Self {
        Self { speed: Some(speed.max(1)), ..Self::system() }
    }

    /// When this clock, and with it the process, started.
    pub fn started(&self) -> Timestamp {
        self.started.0
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match self.speed {
            None => system_now(),
            Some(speed) => {
                let elapsed = SignedDuration::try_from(self.started.1.elapsed()).unwrap_or(SignedDuration::MAX);
                self.started
                    .0
                    .saturating_add(elapsed.saturating_mul(i32::try_from(speed).unwrap_or(i32::MAX)))
                    .unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// How long this clock has run. It never goes back, and setting the time of day does not move it.
    pub fn uptime(&self) -> Duration {
        self.started.1.elapsed().saturating_mul(self.speed.unwrap_or(1))
    }

    /// How long to wait in real time until the clock has run for `uptime`; zero if it has.
    pub fn wait_until_uptime(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(self.uptime()) / self.speed.unwrap_or(1)
    }

    /// How long to wait in real time until `time` has come; zero if it has.
    pub fn wait_until(&self, time: Timestamp) -> Duration {
        let wait = Duration::try_from(time.duration_since(self.now())).unwrap_or(Duration::ZERO);
        wait / self.speed.unwrap_or(1)
    }
}

/// The API shows times in whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn runs_faster_when_asked_and_waits_accordingly_shorter() {
        let clock = Clock::running(60);
        let start = clock.now();
        assert_eq!(clock.wait_until(start + SignedDuration::from_mins(5)), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now().duration_since(start), SignedDuration::from_mins(2));
        assert_eq!(clock.wait_until(start), Duration::ZERO);
        assert_eq!(clock.uptime(), Duration::from_secs(120));
        assert_eq!(clock.wait_until_uptime(Duration::from_secs(180)), Duration::from_secs(1));
        assert_eq!(clock.wait_until_uptime(Duration::from_secs(60)), Duration::ZERO);
    }
}
