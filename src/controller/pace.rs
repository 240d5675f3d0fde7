//! How fast targets are written: so many at the same time, and, if somebody asks for it, so many in a second.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, Interval, MissedTickBehavior},
};

use super::places::Places;

/// How many writes are under way at the same time, of all connections.
pub const CONCURRENCY: usize = 32;

/// So many Secrets at most are looked at in one pass that only removes or marks them; the others come right after.
pub const MOST: usize = 500;

/// How many writes may wait for somebody, such as a webhook in their namespace, besides the others.
const STRAGGLERS: usize = 64;

/// What writes or removes for this long comes back in another pass, so that nothing it rests on gets old, and no pass is cut off.
pub const LONGEST: Duration = Duration::from_secs(15);

/// See the module.
pub struct Pace {
    places: Places,
    beat: Option<Mutex<Interval>>,
    per_second: Option<usize>,
}

impl Pace {
    /// At most so many writes in a second; none for as many as the API server takes.
    pub fn new(per_second: Option<u32>) -> Self {
        let per_second = per_second.filter(|count| *count > 0);
        let beat = per_second.map(|count| {
            let mut beat = tokio::time::interval(Duration::from_secs(1) / count);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new(beat)
        });
        Self {
            places: Places::new(CONCURRENCY, STRAGGLERS),
            beat,
            per_second: per_second.and_then(|count| usize::try_from(count).ok()),
        }
    }

    /// Whether everybody waits for a turn.
    pub fn is_limited(&self) -> bool {
        self.per_second.is_some()
    }

    /// How many writes may be begun in this time; at least one.
    pub fn most_within(&self, time: Duration) -> usize {
        let seconds = usize::try_from(time.as_secs()).unwrap_or(usize::MAX);
        self.per_second.map_or(usize::MAX, |count| seconds.saturating_mul(count).max(1))
    }

    /// Writes when its turn has come. None, and nothing is written, if that had not come by `latest`: others may have a better use
    /// for it.
    pub async fn at_its_turn<T>(&self, latest: Option<Instant>, write: impl Future<Output = T>) -> Option<T> {
        let is_late = || latest.is_some_and(|latest| Instant::now() >= latest);
        // Nobody closes them.
        let place = self.places.take().await?;
        if let Some(beat) = &self.beat {
            let mut beat = beat.lock().await;
            if is_late() {
                return None;
            }
            beat.tick().await;
        } else if is_late() {
            return None;
        }
        Some(place.work(write).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_left_to_others() {
        let pace = Pace::new(Some(1));
        let started = Instant::now();
        let at = |seconds: u64| Some(started + Duration::from_secs(seconds));
        let write = |latest| pace.at_its_turn(latest, future::ready(()));
        assert!(write(None).await.is_some());
        let (first, late, patient) = tokio::join!(write(at(5)), write(at(1)), write(at(5)));
        assert!(first.is_some() && late.is_none() && patient.is_some());
        assert_eq!(started.elapsed(), Duration::from_secs(2), "who came too late used up no time");
        assert!(Pace::new(None).at_its_turn(Some(started), future::ready(())).await.is_none());
    }
}
