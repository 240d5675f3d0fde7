//! When a connection is refreshed. Pure: everything follows from stored times, so a restart changes nothing.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// The fixed times at which a connection is refreshed: the first between an eighth and one interval after its creation,
/// then one every interval. Where in between depends on the UID, so that connections created together spread evenly. A
/// narrower range would crowd them: of half an interval, every period would have a half with twice the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    first: Timestamp,
    interval: SignedDuration,
    phase: u16,
}

impl Grid {
    /// The grid of a connection.
    pub fn new(created: Timestamp, uid: &str, interval: SignedDuration) -> Self {
        let digest = Sha256::digest(uid.as_bytes());
        let phase = u16::from_be_bytes([digest[0], digest[1]]);
        let least = interval / 8;
        // Whole seconds, like the stored times it is compared with.
        let delay = SignedDuration::from_secs((least + fraction(interval - least, phase)).as_secs());
        Self { first: add(created, delay), interval, phase }
    }

    /// The time from one refresh to the next.
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }

    /// The first time on the grid after `time`.
    pub fn next_after(&self, time: Timestamp) -> Timestamp {
        let since = time.duration_since(self.first);
        if since.is_negative() {
            return self.first;
        }
        let periods = since.as_secs() / self.interval.as_secs().max(1) + 1;
        add(self.first, self.interval.saturating_mul(i32::try_from(periods).unwrap_or(i32::MAX)))
    }

    /// When what was due at `due` is really done by a process that started at `started`: what fell due while nobody was
    /// there is spread over a tenth of the interval.
    pub fn spread(&self, due: Timestamp, started: Timestamp) -> Timestamp {
        if due >= started { due } else { add(started, fraction(self.interval / 10, self.phase)) }
    }
}

/// `phase`/65536 of a duration.
fn fraction(duration: SignedDuration, phase: u16) -> SignedDuration {
    duration.saturating_mul(i32::from(phase)) / 65_536
}

fn add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_mins(30);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    #[test]
    fn first_refresh_is_between_an_eighth_and_one_interval_after_creation() {
        for uid in 0..1000 {
            let next = Grid::new(at(1000), &uid.to_string(), INTERVAL).next_after(at(1000));
            assert!(next >= at(1003) && next <= at(1030), "{uid}: {next}");
        }
    }

    #[test]
    fn refreshes_follow_at_a_fixed_period_wherever_one_asks_from() {
        let grid = Grid::new(at(1000), "uid", INTERVAL);
        let first = grid.next_after(at(1000));
        assert_eq!(grid.next_after(first), first + INTERVAL);
        assert_eq!(grid.next_after(first + INTERVAL / 3), first + INTERVAL);
        assert_eq!(grid.next_after(first + INTERVAL * 7), first + INTERVAL * 8);
        assert_eq!(grid.next_after(at(0)), first);
    }

    #[test]
    fn what_fell_due_during_an_absence_is_spread_over_a_tenth_of_the_interval() {
        let spread: Vec<Timestamp> =
            (0..1000).map(|uid| Grid::new(at(1000), &uid.to_string(), INTERVAL).spread(at(1020), at(2000))).collect();
        assert!(spread.iter().all(|time| *time >= at(2000) && *time <= at(2003)));
        let early = spread.iter().filter(|time| **time < at(2000) + SignedDuration::from_secs(90)).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
        let grid = Grid::new(at(1000), "uid", INTERVAL);
        assert_eq!(grid.spread(at(2020), at(2000)), at(2020), "what falls due later keeps its time");
    }
}
