//! How fast targets are written: so many at the same time, and, if somebody asks for it, so many in a second.

use std::time::Duration;

use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    time::{Interval, MissedTickBehavior},
};

/// How many writes are under way at the same time, of all connections.
const CONCURRENCY: usize = 32;

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

    /// Completes when a write may begin; it is under way until what is returned is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        let place = self.places.acquire().await.ok();
        if let Some(beat) = &self.beat {
            beat.lock().await.tick().await;
        }
        place
    }
}
