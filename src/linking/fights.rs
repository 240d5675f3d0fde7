//! Somebody else may keep changing what we write, be it by mistake or as its own idea of right. We put it right, ever more seldom,
//! and in the end a few times a day. Pure; times are the clock's uptime.

use std::time::Duration;

use super::place::Losses;

/// What lasted for this long was no part of what happened before.
pub const QUIET: Duration = Duration::from_secs(600);

/// The longest pause before it is put back.
const LONGEST: Duration = Duration::from_secs(300);

/// After so many losses in a row it is left alone for [`REST`].
const END: u32 = 20;

/// Whoever has changed it so often goes on. If not, what is ours comes back all the same.
const REST: Duration = Duration::from_secs(6 * 3600);

/// From so many losses in a row on it is no accident.
const CONFLICT: u32 = 3;

/// One more loss.
pub fn lost(before: Option<Losses>, now: Duration) -> Losses {
    let lasted = before.filter(|before| now < not_before(*before).saturating_add(QUIET));
    Losses { count: lasted.map_or(1, |before| before.count.saturating_add(1)), last: now }
}

/// When it may be put right, as uptime.
pub fn not_before(losses: Losses) -> Duration {
    let pause = match losses.count {
        0 | 1 => Duration::ZERO,
        END.. => REST,
        count => Duration::from_secs(1).saturating_mul(1 << (count - 2).min(16)).min(LONGEST),
    };
    losses.last.saturating_add(pause)
}

/// Whether somebody should be told of it, and until when, as uptime.
pub fn conflict(losses: Losses, now: Duration) -> Option<Duration> {
    let end = not_before(losses).saturating_add(QUIET);
    (losses.count >= CONFLICT && now < end).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_lost_again_and_again_is_put_back_ever_more_seldom_and_at_last_four_times_a_day() {
        let (mut losses, mut now, mut times) = (None, at(100), vec![]);
        while now < at(3 * 24 * 3600) {
            times.push(now);
            losses = Some(lost(losses, now));
            now = losses.map_or(now, not_before);
        }
        let within = |from: u64, to: u64| times.iter().filter(|time| (at(from)..at(to)).contains(*time)).count();
        assert_eq!(within(0, 2 * 3600), 20);
        assert_eq!(within(24 * 3600, 48 * 3600), 4);
        assert!(conflict(losses.unwrap(), now).is_some(), "that is told for as long as it lasts");
    }

    #[test]
    fn a_single_loss_is_put_back_at_once_and_forgotten() {
        let first = lost(None, at(100));
        assert_eq!((not_before(first), conflict(first, at(100))), (at(100), None));
        let later = lost(Some(first), at(100) + QUIET);
        assert_eq!(later.count, 1);
        let third = lost(Some(lost(Some(first), at(101))), at(103));
        assert_eq!(conflict(third, at(104)), Some(at(105) + QUIET));
        assert_eq!(conflict(third, at(105) + QUIET), None);
    }
}
