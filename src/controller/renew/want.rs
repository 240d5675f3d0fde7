//! Which credential is wanted, going by the ledger: the one that is there, or a new one. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::due::Life;
use crate::{
    controller::{
        due::{Cause, Due, PAUSE_AFTER_REFUSAL},
        validate::Connection,
    },
    domain::ledger::{Entry, Ledger, MAX_RETIRED},
};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A new credential.
    Issue,
    /// The one that was issued and not judged for good yet.
    Candidate,
    /// The one that is delivered.
    Current,
    /// None: the last one that was issued was refused for good, which was not told yet.
    Refusal,
}

/// Which credential is wanted. `asked` is the refresh that the user asks for; `same_access` whether the API credential is the one
/// that was used last, if that was looked at.
pub(super) fn want(
    connection: &Connection,
    ledger: &Ledger,
    (due, asked): (Due, Option<&str>),
    same_access: Option<bool>,
    started: Timestamp,
    now: Timestamp,
) -> Want {
    let terms = connection.provider.terms();
    if ledger.candidate.as_ref().is_some_and(|candidate| is_usable(candidate, &terms, now)) {
        return Want::Candidate;
    }
    if let Some((refused, at)) = ledger.refusal()
        && refused.terms == terms
        && is_untold(refused, at, (due, asked), now)
    {
        return Want::Refusal;
    }
    let Some(current) = ledger.current.as_ref().filter(|current| is_usable(current, &terms, now)) else {
        return Want::Issue;
    };
    if same_access == Some(false) {
        return Want::Issue;
    }
    let has_come = now >= Life::of(current).renewal(connection, started);
    let is_time = match due {
        // What was asked for may have been done by whoever ended before it was told.
        Due::Renew(Cause::Requested) => asked.is_none() || current.request.as_deref() != asked,
        Due::Renew(Cause::NotIssued) => true,
        Due::Renew(_) | Due::Test(Cause::NoVerdict) => has_come,
        Due::Test(_) | Due::Deliver | Due::Keep | Due::Withdraw | Due::Revoke | Due::Nothing => false,
    };
    // What was replaced waits to be revoked; more of it would be of no use to anybody. What has expired waits for nothing.
    let waiting = ledger.retired.iter().filter(|retired| retired.entry.expires_at > now).count();
    if is_time && waiting < MAX_RETIRED { Want::Issue } else { Want::Current }
}

/// Whether a refusal answers what is due: whoever saw it ended before it was told, or it would be paused for.
fn is_untold(refused: &Entry, at: Timestamp, (due, asked): (Due, Option<&str>), now: Timestamp) -> bool {
    match due {
        Due::Renew(Cause::Requested) => asked.is_some() && refused.request.as_deref() == asked,
        Due::Renew(Cause::TimePassed | Cause::NeverJudged) | Due::Test(Cause::NoVerdict | Cause::LedgerChanged) => {
            now.duration_since(at) < PAUSE_AFTER_REFUSAL
        }
        Due::Renew(_) | Due::Test(_) | Due::Deliver | Due::Keep | Due::Withdraw | Due::Revoke | Due::Nothing => false,
    }
}

/// Whether a credential may be relied on: it was issued for what is asked now, nobody refused it, and its end is not near.
fn is_usable(entry: &Entry, terms: &Value, now: Timestamp) -> bool {
    let life = Life::of(entry);
    entry.terms == *terms && !entry.refused && now < life.latest() && !life.is_ahead(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{created, delivered, entry, issuing, minutes_later, object};
    use serde_json::json;

    /// On an interval of 30 minutes, with a life of 90: it may be relied on until minute 81.
    struct Case {
        connection: Connection,
        ledger: Ledger,
        due: Due,
        same_access: Option<bool>,
        started: Timestamp,
    }

    impl Case {
        fn new(change: impl FnOnce(&mut Self)) -> Self {
            let connection = issuing(&delivered(|_| {}));
            let ledger = Ledger { current: Some(entry(&connection, "r1", 0, 90)), ..Ledger::default() };
            let due = Due::Renew(Cause::TimePassed);
            let mut case = Self { connection, ledger, due, same_access: None, started: created() };
            change(&mut case);
            case
        }

        fn current(&mut self) -> &mut Entry {
            self.ledger.current.as_mut().unwrap()
        }

        fn candidate(&mut self, minute: i64) -> &mut Entry {
            self.ledger.candidate = Some(entry(&self.connection, "r2", minute, 90));
            self.ledger.candidate.as_mut().unwrap()
        }

        fn at(&self, minute: i64) -> Want {
            let Self { connection, ledger, due, same_access, started } = self;
            want(connection, ledger, (*due, None), *same_access, *started, minutes_later(minute))
        }
    }

    fn fill(ledger: &mut Ledger) {
        while !ledger.is_full() {
            ledger.candidate = ledger.current.clone();
            ledger.promote(None, created());
        }
    }

    #[test]
    fn a_credential_is_issued_where_there_is_none_that_may_be_relied_on() {
        type Change = fn(&mut Case);
        let cases: [(&str, Change, i64, Want); 11] = [
            ("as it should be", |_| {}, 1, Want::Current),
            ("none", |case| case.ledger = Ledger::default(), 1, Want::Issue),
            ("only replaced ones", |case| case.ledger.retire_all(created()), 1, Want::Issue),
            ("refused", |case| case.current().refused = true, 1, Want::Issue),
            ("not proven", |case| case.current().proven = false, 1, Want::Current),
            ("issued for other terms", |case| case.current().terms = json!({}), 1, Want::Issue),
            ("near its end", |case| case.due = Due::Deliver, 81, Want::Issue),
            ("not quite", |case| case.due = Due::Deliver, 80, Want::Current),
            ("issued in the time to come", |case| case.current().issued_at = minutes_later(10), 1, Want::Issue),
            ("by a clock a little ahead", |case| case.current().issued_at = minutes_later(2), 1, Want::Current),
            (
                "a spec of another provider's terms",
                |case| {
                    let other = json!({"digitalocean": {"registryName": "other", "secretRef": {"name": "login"}}});
                    case.connection.provider = serde_json::from_value(other).unwrap();
                },
                1,
                Want::Issue,
            ),
        ];
        for (name, change, minute, expected) in cases {
            assert_eq!(Case::new(change).at(minute), expected, "{name}");
        }
    }

    #[test]
    fn another_secret_alone_is_no_other_terms() {
        let mut case = Case::new(|_| {});
        let other = json!({"digitalocean": {"registryName": "team", "secretRef": {"name": "another"}}});
        case.connection.provider = serde_json::from_value(other).unwrap();
        assert_eq!(case.at(1), Want::Current);
    }

    #[test]
    fn what_was_issued_is_judged_before_another_is_issued() {
        type Change = fn(&mut Case);
        let cases: [(&str, Change, Want); 7] = [
            ("usable", |case| _ = case.candidate(30), Want::Candidate),
            (
                "whatever is due",
                |case| {
                    case.candidate(30);
                    case.due = Due::Renew(Cause::Requested);
                },
                Want::Candidate,
            ),
            (
                "though the current one is refused",
                |case| {
                    case.candidate(30);
                    case.current().refused = true;
                },
                Want::Candidate,
            ),
            (
                "and though the API credential is another",
                |case| {
                    case.candidate(30);
                    case.same_access = Some(false);
                },
                Want::Candidate,
            ),
            ("near its end", |case| case.candidate(30).expires_at = minutes_later(36), Want::Current),
            ("refused", |case| case.candidate(30).refused = true, Want::Current),
            ("issued for other terms", |case| case.candidate(30).terms = json!(1), Want::Current),
        ];
        for (name, change, expected) in cases {
            let case = Case::new(|case| {
                case.due = Due::Test(Cause::LedgerChanged);
                change(case);
            });
            assert_eq!(case.at(31), expected, "{name}");
        }
    }

    #[test]
    fn only_a_renewal_whose_time_has_come_issues_while_the_current_one_is_good() {
        use Cause as C;
        // The first time on the grid after minute 0 is not later than minute 30, and not earlier than 3.
        for (due, early, late) in [
            (Due::Renew(C::Requested), Want::Issue, Want::Issue),
            (Due::Renew(C::TimePassed), Want::Current, Want::Issue),
            (Due::Renew(C::NeverJudged), Want::Current, Want::Issue),
            (Due::Test(C::NoVerdict), Want::Current, Want::Issue),
            (Due::Test(C::TimePassed), Want::Current, Want::Current),
            (Due::Test(C::Requested), Want::Current, Want::Current),
            (Due::Test(C::SpecChanged), Want::Current, Want::Current),
            (Due::Test(C::InputChanged), Want::Current, Want::Current),
            (Due::Test(C::LedgerChanged), Want::Current, Want::Current),
            (Due::Deliver, Want::Current, Want::Current),
            (Due::Withdraw, Want::Current, Want::Current),
            (Due::Revoke, Want::Current, Want::Current),
            (Due::Nothing, Want::Current, Want::Current),
        ] {
            let case = Case::new(|case| case.due = due);
            assert_eq!((case.at(2), case.at(30)), (early, late), "{due:?}");
        }
    }

    #[test]
    fn another_api_credential_asks_for_another_one_if_it_was_looked_at() {
        for (same, expected) in [(None, Want::Current), (Some(true), Want::Current), (Some(false), Want::Issue)] {
            let case = Case::new(|case| (case.due, case.same_access) = (Due::Test(Cause::InputChanged), same));
            assert_eq!(case.at(1), expected, "{same:?}");
        }
    }

    #[test]
    fn while_the_ledger_is_full_nothing_is_issued_before_it_has_to_be() {
        for due in [Due::Renew(Cause::Requested), Due::Renew(Cause::TimePassed), Due::Test(Cause::NoVerdict)] {
            let case = Case::new(|case| {
                fill(&mut case.ledger);
                case.due = due;
            });
            assert_eq!((case.at(40), case.at(81)), (Want::Current, Want::Issue), "{due:?}");
        }
        let refused = Case::new(|case| {
            fill(&mut case.ledger);
            case.current().refused = true;
        });
        assert_eq!(refused.at(1), Want::Issue);
    }

    #[test]
    fn what_has_expired_does_not_fill_the_ledger() {
        let case = Case::new(|case| {
            fill(&mut case.ledger);
            case.ledger.retired[0].entry.expires_at = minutes_later(40);
        });
        assert_eq!((case.at(39), case.at(40)), (Want::Current, Want::Issue));
    }

    #[test]
    fn a_renewal_that_was_missed_waits_for_its_turn_after_a_restart() {
        let case = Case::new(|case| case.started = minutes_later(60));
        let due = Life::of(case.ledger.current.as_ref().unwrap()).renewal(&case.connection, case.started);
        assert!(due >= minutes_later(60) && due <= minutes_later(63));
        assert_eq!(case.at(59), Want::Current);
        assert_eq!(case.at(63), Want::Issue);
    }

    #[test]
    fn the_ledger_and_the_status_agree_on_when_a_renewal_is_due_to_the_second() {
        let connection = issuing(&object(|object| {
            object["spec"]["renewalPolicy"] = "NearExpiry".into();
        }));
        let exact = entry(&connection, "r1", 0, 90);
        let late = |time: Timestamp| time + jiff::SignedDuration::from_millis(700);
        let exact = Entry { issued_at: late(exact.issued_at), expires_at: late(exact.expires_at), ..exact };
        let told = Life::of_delivered(&crate::controller::verify::issued(&exact)).unwrap();
        let due = told.renewal(&connection, created());
        let ledger = Ledger { current: Some(exact), ..Ledger::default() };
        // Otherwise it would be due again and again until the ledger agrees.
        assert_eq!(
            want(&connection, &ledger, (Due::Renew(Cause::TimePassed), None), None, created(), due),
            Want::Issue
        );
    }
}
