//! How fast targets are written: so many at the same time, and, if somebody asks for it, so many in a second.

use std::time::Duration;

use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::{Instant, Interval, MissedTickBehavior},
};

/// How many writes are under way at the same time, of all connections.
const CONCURRENCY: usize = 32;

/// What writes or removes for this long comes back in another pass, so that nothing it rests on gets old, and no pass is cut off.
pub const LONGEST: Duration = Duration::from_secs(15);

/// See the module.
pub struct Pace {
    places: Semaphore,
    beat: Option<Mutex<Interval>>,
}

impl Pace {
    /// At most so many writes in a second; none for as many as the API server takes.
    pub fn new(per_second: Option<u32>) -> Self {
        let beat = per_second.filter(|count| *count > 0).map(|count| {
            let mut beat = tokio::time::interval(Duration::from_secs(1) / count);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new(beat)
        });
        Self { places: Semaphore::new(CONCURRENCY), beat }
    }

    /// Completes when a write may begin; it is under way until what is returned is dropped. None if the turn had not come by
    /// `latest`: others may have a better use for it.
    pub async fn turn(&self, latest: Option<Instant>) -> Option<SemaphorePermit<'_>> {
        let is_late = || latest.is_some_and(|latest| Instant::now() >= latest);
        // Nobody closes it.
        let place = self.places.acquire().await.ok()?;
        if let Some(beat) = &self.beat {
            let mut beat = beat.lock().await;
            if is_late() {
                return None;
            }
            beat.tick().await;
        }
        (!is_late() || self.beat.is_some()).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_left_to_others() {
        let pace = Pace::new(Some(1));
        let started = Instant::now();
        let at = |seconds: u64| Some(started + Duration::from_secs(seconds));
        assert!(pace.turn(None).await.is_some());
        let (first, late, patient) = tokio::join!(pace.turn(at(5)), pace.turn(at(1)), pace.turn(at(5)));
        assert!(first.is_some() && late.is_none() && patient.is_some());
        assert_eq!(started.elapsed(), Duration::from_secs(2), "who came too late used up no time");
        drop((first, patient));
        assert!(Pace::new(None).turn(Some(started)).await.is_none());
    }
}
