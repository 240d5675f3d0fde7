//! How fast targets are written: so many at the same time, and, if somebody asks for it, so many in a second.

use std::{pin::pin, time::Duration};

use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, Interval, MissedTickBehavior, timeout},
};

/// How many writes are under way at the same time, of all connections.
const CONCURRENCY: usize = 32;

/// A write that takes longer than this gives its place to another one: it waits for somebody, such as a webhook in its namespace,
/// for whom the others must not wait.
pub const SLOW: Duration = Duration::from_secs(2);

/// How many writes may be under way for longer than that, besides the others. From then on it is not single namespaces that have
/// trouble, and more at the same time would help nobody.
const STRAGGLERS: usize = 64;

/// What writes or removes for this long comes back in another pass, so that nothing it rests on gets old, and no pass is cut off.
pub const LONGEST: Duration = Duration::from_secs(15);

/// See the module.
pub struct Pace {
    places: Semaphore,
    stragglers: Semaphore,
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
            places: Semaphore::new(CONCURRENCY),
            stragglers: Semaphore::new(STRAGGLERS),
            beat,
            per_second: per_second.and_then(|count| usize::try_from(count).ok()),
        }
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
        // Nobody closes it.
        let place = self.places.acquire().await.ok()?;
        if let Some(beat) = &self.beat {
            let mut beat = beat.lock().await;
            if is_late() {
                return None;
            }
            beat.tick().await;
        } else if is_late() {
            return None;
        }
        let mut write = pin!(write);
        if let Ok(done) = timeout(SLOW, &mut write).await {
            return Some(done);
        }
        let straggler = self.stragglers.try_acquire();
        let place = straggler.is_err().then_some(place);
        let done = write.await;
        drop((place, straggler));
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, future};

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

    #[tokio::test(start_paused = true)]
    async fn writes_that_hang_give_their_places_to_others_up_to_a_limit() {
        let pace = Pace::new(None);
        let hang = |count: usize| future::join_all((0..count).map(|_| pace.at_its_turn(None, future::pending::<()>())));
        let mut few = hang(STRAGGLERS).boxed();
        for _ in 0..STRAGGLERS / CONCURRENCY {
            assert!(timeout(SLOW, &mut few).await.is_err());
        }
        let quick = timeout(SLOW, pace.at_its_turn(None, future::ready(()))).await;
        assert_eq!(quick, Ok(Some(())), "nobody waits for those that hang");
        let mut more = hang(CONCURRENCY).boxed();
        assert!(timeout(2 * SLOW, &mut more).await.is_err());
        assert!(pace.at_its_turn(None, future::ready(())).now_or_never().is_none(), "too many hang");
        drop(few);
        assert_eq!(pace.at_its_turn(None, future::ready(())).now_or_never(), None, "these still have their places");
        drop(more);
        assert_eq!(pace.at_its_turn(None, future::ready(())).now_or_never(), Some(Some(())));
    }
}
