//! Places for what goes on at the same time. Whoever waits long for somebody leaves its place to others.

use std::{pin::pin, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Whoever takes longer than this waits for somebody, such as a webhook in its namespace or a registry, for whom the others must
/// not wait.
pub const SLOW: Duration = Duration::from_secs(2);

/// See the module.
pub struct Places {
    free: Semaphore,
    stragglers: Semaphore,
}

/// One of them.
pub struct Place<'a> {
    permit: SemaphorePermit<'a>,
    stragglers: &'a Semaphore,
}

impl Places {
    /// So many, and besides so many who take longer than [`SLOW`]. From then on it is not single ones that have trouble, and more at
    /// the same time would help nobody.
    pub fn new(places: usize, stragglers: usize) -> Self {
        Self { free: Semaphore::new(places), stragglers: Semaphore::new(stragglers) }
    }

    /// One of them, when it is free; none once they are closed.
    pub async fn take(&self) -> Option<Place<'_>> {
        let permit = self.free.acquire().await.ok()?;
        Some(Place { permit, stragglers: &self.stragglers })
    }

    /// Gives out no more of them.
    pub fn close(&self) {
        self.free.close();
    }
}

impl Place<'_> {
    /// Works in this place for as long as it takes to see that it takes long.
    pub async fn work<T>(self, work: impl Future<Output = T>) -> T {
        let Self { permit, stragglers } = self;
        let mut work = pin!(work);
        if let Ok(done) = timeout(SLOW, &mut work).await {
            return done;
        }
        tokio::select! {
            biased;
            done = &mut work => done,
            straggler = stragglers.acquire() => {
                drop(permit);
                let done = work.await;
                drop(straggler);
                done
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_hang_leave_their_places_to_others_up_to_a_limit() {
        let places = Places::new(32, 64);
        let work = async |work: bool| {
            let place = places.take().await.unwrap();
            place.work(async { if work { Some(()) } else { future::pending().await } }).await
        };
        let hang = |count: usize| future::join_all((0..count).map(|_| work(false)));
        let mut few = hang(64).boxed_local();
        for _ in 0..2 {
            assert!(timeout(SLOW, &mut few).await.is_err());
        }
        assert_eq!(timeout(SLOW, work(true)).await, Ok(Some(())), "nobody waits for those that hang");
        let mut more = hang(32).boxed_local();
        assert!(timeout(2 * SLOW, &mut more).await.is_err());
        assert!(work(true).now_or_never().is_none(), "too many hang");
        assert!(work(true).now_or_never().is_none(), "these still have their places");
        drop(few);
        assert!(more.as_mut().now_or_never().is_none());
        assert_eq!(work(true).now_or_never(), Some(Some(())), "until others who hang have an end");
    }

    #[tokio::test(start_paused = true)]
    async fn closed_places_are_not_taken_by_those_who_wait_for_one_either() {
        let places = Places::new(1, 1);
        let taken = places.take().await;
        let (waits, ()) = tokio::join!(places.take(), async { places.close() });
        assert!(taken.is_some() && waits.is_none() && places.take().await.is_none());
    }
}
