//! Somebody else may keep taking away what we name, be it by mistake or as its own idea of right. We put it back, ever more seldom,
//! and in the end leave it alone. Pure; times are the clock's uptime.

use std::time::Duration;

use super::place::Losses;

/// What lasted for this long was no part of what happened before.
pub const QUIET: Duration = Duration::from_secs(600);

/// The longest pause before it is put back.
const LONGEST: Duration = Duration::from_secs(300);

/// After so many losses in a row nothing is put back any more, until somebody wants something else.
const END: u32 = 20;

/// From so many losses in a row on it is no accident.
const CONFLICT: u32 = 3;

/// One more loss.
pub fn lost(before: Option<Losses>, now: Duration) -> Losses {
    let lasted = before.filter(|before| now.saturating_sub(before.last) < QUIET);
    Losses { count: lasted.map_or(1, |before| before.count.saturating_add(1)), last: now }
}

/// When it may be put back, as uptime; none if never.
pub fn not_before(losses: Losses) -> Option<Duration> {
    let pause = match losses.count {
        0 | 1 => Duration::ZERO,
        END.. => return None,
        count => Duration::from_secs(1).saturating_mul(1 << (count - 2).min(16)).min(LONGEST),
    };
    Some(losses.last.saturating_add(pause))
}

/// Whether somebody should be told of it, and until when, as uptime.
pub fn conflict(losses: Losses, now: Duration) -> Option<Duration> {
    let end = losses.last.saturating_add(QUIET);
    (losses.count >= CONFLICT && (now < end || not_before(losses).is_none())).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_lost_again_and_again_is_put_back_ever_more_seldom_and_at_last_not_at_all() {
        let (mut losses, mut now, mut writes) = (None, at(100), 0);
        while let Some(then) = losses.map_or(Some(now), not_before) {
            (now, writes) = (then, writes + 1);
            losses = Some(lost(losses, now));
        }
        assert_eq!(writes, END);
        assert!((at(3000)..at(4000)).contains(&now), "{now:?}");
        assert!(conflict(losses.unwrap(), now + 2 * QUIET).is_some(), "that is told for as long as it lasts");
    }

    #[test]
    fn a_single_loss_is_put_back_at_once_and_forgotten() {
        let first = lost(None, at(100));
        assert_eq!((not_before(first), conflict(first, at(100))), (Some(at(100)), None));
        let later = lost(Some(first), at(100) + QUIET);
        assert_eq!(later.count, 1);
        let third = lost(Some(lost(Some(first), at(101))), at(103));
        assert_eq!(conflict(third, at(104)), Some(at(103) + QUIET));
        assert_eq!(conflict(third, at(104) + QUIET), None);
    }
}
