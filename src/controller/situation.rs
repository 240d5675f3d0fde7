//! The table of conditions as the reference page prints it. [`super::policy::conditions`] decides; a test holds every row
//! against it, for all combinations of facts.

use std::fmt;

use super::policy::{Delivery, Facts};
use crate::{
    api::{Reason, condition::ConditionStatus, reason::Class},
    problem::Problem,
};
use Cell::{Is, Same};
use ConditionStatus::{False, True, Unknown};

/// A row of the table.
pub struct Situation {
    /// What is the case.
    pub name: &'static str,
    /// Whether these facts are such a case, if no row above is about them; none for a case that is decided without facts.
    pub fits: Option<fn(&Facts<'_>) -> bool>,
    /// Ready.
    pub ready: Cell,
    /// CredentialsValid.
    pub credentials_valid: Cell,
    /// Delivered.
    pub delivered: Cell,
    /// Reconciling or Stalled.
    pub progress: Progress,
}

/// What a condition then says.
pub enum Cell {
    /// This value, for this reason.
    Is(ConditionStatus, Why),
    /// What is known of it otherwise, as the text says.
    Same(&'static str),
}

/// The reason of a condition.
pub enum Why {
    /// Of what is wrong.
    Cause,
    /// One of these.
    OneOf(&'static [Reason]),
    /// Of the last proof.
    LastProof,
    /// It goes without saying.
    Plain,
}

/// Which of the two is present.
pub enum Progress {
    /// Neither.
    Neither,
    /// Reconciling.
    Reconciling,
    /// Stalled.
    Stalled,
    /// Reconciling, and after five minutes Stalled instead.
    StalledLater,
    /// What was there stays.
    Same,
}

/// All rows; the first that fits decides.
pub const SITUATIONS: &[Situation] = &[
    Situation {
        name: "suspended before the first pass",
        fits: None,
        ready: Is(False, Why::OneOf(&[Reason::Suspended])),
        credentials_valid: Is(Unknown, Why::Plain),
        delivered: Is(False, Why::Plain),
        progress: Progress::Neither,
    },
    Situation {
        name: "suspended later",
        fits: None,
        ready: Same("as it was"),
        credentials_valid: Same("as it was"),
        delivered: Same("as it was"),
        progress: Progress::Same,
    },
    Situation {
        name: "the login in the Secret has ended; or the delivered one has, and another is refused",
        fits: Some(|facts| {
            let is_refused = cause(facts) == Some(Reason::InvalidCredentials);
            cause(facts) == Some(Reason::Expired) || facts.expired.is_some() && is_refused
        }),
        ready: Is(False, Why::OneOf(&[Reason::Expired])),
        credentials_valid: Is(False, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::Stalled,
    },
    Situation {
        name: "the delivered login has ended, and what another needs is missing, or a listed repository fails it",
        fits: Some(|facts| {
            let is_unfit = facts.problem.is_some_and(Problem::is_of_a_repository);
            facts.expired.is_some() && (is_unfit || class(facts) == Some(Class::Missing))
        }),
        ready: Is(False, Why::OneOf(&[Reason::Expired])),
        credentials_valid: Is(False, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::StalledLater,
    },
    Situation {
        name: "the delivered login has ended, and there is no verdict on another now",
        fits: Some(|facts| facts.expired.is_some() && class(facts) == Some(Class::Wait)),
        ready: Is(False, Why::OneOf(&[Reason::Expired])),
        credentials_valid: Is(False, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::Reconciling,
    },
    Situation {
        name: "the registry accepted the login, a listed repository fails",
        fits: Some(|facts| facts.problem.is_some_and(Problem::is_of_a_repository)),
        ready: Is(False, Why::Cause),
        credentials_valid: Same("True; Unknown if it would have accepted any"),
        delivered: Same("as it is"),
        progress: Progress::StalledLater,
    },
    Situation {
        name: "the registry refused the login",
        fits: Some(|facts| cause(facts) == Some(Reason::InvalidCredentials)),
        ready: Is(False, Why::OneOf(&[Reason::InvalidCredentials])),
        credentials_valid: Is(False, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::Stalled,
    },
    Situation {
        name: "the spec or what is read cannot be used, the operator lacks a right to read it, an address or token server is \
               not allowed, a protocol error",
        fits: Some(|facts| matches!(class(facts), Some(Class::UsersTurn | Class::Ours))),
        ready: Is(False, Why::Cause),
        credentials_valid: Is(Unknown, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::Stalled,
    },
    Situation {
        name: "something that is read, or a key in it, is missing",
        fits: Some(|facts| class(facts) == Some(Class::Missing)),
        ready: Is(False, Why::Cause),
        credentials_valid: Is(Unknown, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::StalledLater,
    },
    Situation {
        name: "no verdict now, a proven login is delivered",
        fits: Some(|facts| {
            let proofs = [Reason::LoginProven, Reason::RepositoriesProven, Reason::Unverified];
            let is_proven = facts.verdict.is_some_and(|verdict| proofs.contains(&verdict));
            let is_delivered = matches!(facts.delivery, Delivery::Current | Delivery::Partial(_));
            class(facts) == Some(Class::Wait) && is_proven && is_delivered
        }),
        ready: Is(True, Why::LastProof),
        credentials_valid: Is(Unknown, Why::Cause),
        delivered: Same("as it is"),
        progress: Progress::Neither,
    },
    Situation {
        name: "no verdict now, nothing is delivered, or the last verdict was a refusal of another login",
        fits: Some(|facts| class(facts) == Some(Class::Wait)),
        ready: Is(False, Why::Cause),
        credentials_valid: Is(Unknown, Why::Plain),
        delivered: Same("as it is"),
        progress: Progress::Reconciling,
    },
    Situation {
        name: "the Secret cannot be written: it is foreign, a right, quota or policy forbids it, or the API server refuses \
               its labels",
        fits: Some(|facts| matches!(facts.delivery, Delivery::Impossible(_))),
        ready: Is(False, Why::Cause),
        credentials_valid: Same("as known"),
        delivered: Is(False, Why::Cause),
        progress: Progress::Stalled,
    },
    Situation {
        name: "of a cluster's connection: the Secret cannot be written in some of the namespaces, more are selected than \
               `maxTargets` allows, or a removal waits to be allowed",
        fits: Some(|facts| matches!(facts.delivery, Delivery::Partial(_))),
        ready: Is(True, Why::LastProof),
        credentials_valid: Same("as known"),
        delivered: Is(False, Why::Cause),
        progress: Progress::Neither,
    },
    Situation {
        name: "a working login is being replaced",
        fits: Some(|facts| {
            let was_ready = facts.ready_before.as_ref().is_some_and(|ready| ready.status == True);
            *facts.delivery == Delivery::Outstanding && was_ready
        }),
        ready: Same("True, as it was"),
        credentials_valid: Same("as known"),
        delivered: Is(False, Why::OneOf(&[Reason::Progressing])),
        progress: Progress::Neither,
    },
    Situation {
        name: "the first delivery, or that of an edited spec, is under way",
        fits: Some(|facts| *facts.delivery == Delivery::Outstanding),
        ready: Is(False, Why::OneOf(&[Reason::Progressing])),
        credentials_valid: Same("as known"),
        delivered: Is(False, Why::OneOf(&[Reason::Progressing])),
        progress: Progress::Reconciling,
    },
    Situation {
        name: "delivered; the registry lets in any login, or the test is `Off`",
        fits: Some(|facts| matches!(facts.verdict, Some(Reason::Unverified | Reason::NotTested))),
        ready: Is(True, Why::OneOf(&[Reason::Unverified, Reason::NotTested])),
        credentials_valid: Is(Unknown, Why::OneOf(&[Reason::Unverified, Reason::NotTested])),
        delivered: Is(True, Why::Plain),
        progress: Progress::Neither,
    },
    Situation {
        name: "proven and delivered",
        fits: Some(|facts| matches!(facts.verdict, Some(Reason::LoginProven | Reason::RepositoriesProven))),
        ready: Is(True, Why::OneOf(&[Reason::LoginProven, Reason::RepositoriesProven])),
        credentials_valid: Is(True, Why::Plain),
        delivered: Is(True, Why::Plain),
        progress: Progress::Neither,
    },
];

fn cause(facts: &Facts<'_>) -> Option<Reason> {
    facts.problem.map(|problem| problem.reason)
}

fn class(facts: &Facts<'_>) -> Option<Class> {
    cause(facts).map(Reason::class)
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Same(text) => formatter.write_str(text),
            Is(status, why) => {
                formatter.write_str(status.as_str())?;
                match why {
                    Why::Cause => formatter.write_str(", the cause"),
                    Why::LastProof => formatter.write_str(", the last proof"),
                    Why::Plain => Ok(()),
                    Why::OneOf(reasons) => {
                        let names: Vec<String> = reasons.iter().map(|reason| format!("`{reason}`")).collect();
                        write!(formatter, ", {}", names.join(" or "))
                    }
                }
            }
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Neither => "–",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::StalledLater => "Reconciling; Stalled after 5 minutes",
            Self::Same => "as it was",
        })
    }
}

/// The table for the reference page.
pub fn reference_table() -> String {
    let mut table = String::from(
        "| Situation | Ready | CredentialsValid | Delivered | Reconciling or Stalled |\n|---|---|---|---|---|\n",
    );
    for situation in SITUATIONS {
        let Situation { name, fits: _, ready, credentials_valid, delivered, progress } = situation;
        table.push_str(&format!("| {name} | {ready} | {credentials_valid} | {delivered} | {progress} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{ConditionType, condition::Desired},
        controller::policy::{conditions, suspended_conditions},
        problem::Problem,
    };
    use jiff::Timestamp;

    fn check(cell: &Cell, told: &Desired, facts: &Facts<'_>) -> Result<(), String> {
        let (status, why) = match cell {
            Is(status, why) => (status, why),
            // What the delivery alone decides.
            Same("as it is") => return check(as_it_is(facts), told, facts),
            Same("as known" | "True; Unknown if it would have accepted any") => {
                return check(&as_known(facts), told, facts);
            }
            Same("True, as it was") => return check(&Is(True, Why::LastProof), told, facts),
            Same(other) => return Err(format!("nobody knows what {other:?} means")),
        };
        let is_right = *status == told.status
            && match why {
                Why::Cause => Some(told.reason) == cause(facts).or(impossible(facts)),
                // What stands in ready_before in this test, as the last proof is by then.
                Why::LastProof => Some(told.reason) == facts.verdict || told.reason == BEFORE,
                Why::OneOf(reasons) => reasons.contains(&told.reason),
                Why::Plain => true,
            };
        if is_right { Ok(()) } else { Err(format!("{told:?} is not {cell}")) }
    }

    fn impossible(facts: &Facts<'_>) -> Option<Reason> {
        match facts.delivery {
            Delivery::Impossible(problem) | Delivery::Partial(problem) => Some(problem.reason),
            Delivery::Current | Delivery::Outstanding => None,
        }
    }

    fn as_it_is(facts: &Facts<'_>) -> &'static Cell {
        if *facts.delivery == Delivery::Current { &Is(True, Why::Plain) } else { &Is(False, Why::Plain) }
    }

    fn as_known(facts: &Facts<'_>) -> Cell {
        match facts.verdict {
            Some(Reason::LoginProven | Reason::RepositoriesProven | Reason::InvalidCredentials) => Is(True, Why::Plain),
            _ => Is(Unknown, Why::Plain),
        }
    }

    fn check_progress(progress: &Progress, told: &[Desired], missing_for_long: bool) -> Result<(), String> {
        let present: Vec<ConditionType> = told
            .iter()
            .map(|condition| condition.kind)
            .filter(|kind| matches!(kind, ConditionType::Reconciling | ConditionType::Stalled))
            .collect();
        let wanted: &[ConditionType] = match progress {
            Progress::Neither => &[],
            Progress::StalledLater if missing_for_long => &[ConditionType::Stalled],
            Progress::Reconciling | Progress::StalledLater => &[ConditionType::Reconciling],
            Progress::Stalled => &[ConditionType::Stalled],
            Progress::Same => return Err("no facts decide that".into()),
        };
        if present == wanted { Ok(()) } else { Err(format!("{present:?} is not {progress}")) }
    }

    fn check_row(situation: &Situation, told: &[Desired], facts: &Facts<'_>) -> Result<(), String> {
        let Situation { ready, credentials_valid, delivered, progress, .. } = situation;
        let cells = [
            (ConditionType::Ready, ready),
            (ConditionType::CredentialsValid, credentials_valid),
            (ConditionType::Delivered, delivered),
        ];
        for (kind, cell) in cells {
            let told = told.iter().find(|condition| condition.kind == kind).ok_or("absent")?;
            check(cell, told, facts).map_err(|error| format!("{}: {error}", kind.as_str()))?;
        }
        check_progress(progress, told, facts.missing_for_long)
    }

    const BEFORE: Reason = Reason::LoginProven;

    #[test]
    fn the_printed_table_is_what_the_policy_does_for_all_combinations_of_facts() {
        let problems = Reason::ALL.iter().copied().filter(|reason| reason.class().is_trouble());
        let problems: Vec<Option<Problem>> =
            problems.map(|reason| Some(Problem::new(reason, "why"))).chain([None]).collect();
        let verdicts = Reason::ALL.iter().copied().filter(|reason| reason.is_verdict()).map(Some);
        let verdicts: Vec<Option<Reason>> = verdicts.chain([None]).collect();
        let deliveries = [
            Delivery::Current,
            Delivery::Outstanding,
            Delivery::Impossible(Problem::new(Reason::TargetConflict, "taken")),
            Delivery::Partial(Problem::new(Reason::TargetConflict, "taken")),
        ];
        let before = Desired { kind: ConditionType::Ready, status: True, reason: BEFORE, message: "good".into() };
        let mut hit = vec![0; SITUATIONS.len()];
        for problem in &problems {
            for verdict in &verdicts {
                for delivery in &deliveries {
                    for (missing_for_long, ready_before, expired) in [
                        (false, None, None),
                        (true, None, None),
                        (false, Some(before.clone()), None),
                        (true, Some(before.clone()), None),
                        (false, Some(before.clone()), Some(Timestamp::UNIX_EPOCH)),
                        (true, None, Some(Timestamp::UNIX_EPOCH)),
                    ] {
                        let is_refused = *verdict == Some(Reason::InvalidCredentials);
                        // A refusal is always a problem too; and what is delivered was judged.
                        let is_delivered = matches!(delivery, Delivery::Current | Delivery::Partial(_));
                        if problem.is_none() && (is_refused || verdict.is_none() && is_delivered) {
                            continue;
                        }
                        // So is an end.
                        if problem.is_none() && expired.is_some() {
                            continue;
                        }
                        // A repository is asked for once the login was accepted.
                        let is_unfit = problem.as_ref().is_some_and(Problem::is_of_a_repository);
                        if is_unfit && (verdict.is_none() || is_refused || *verdict == Some(Reason::NotTested)) {
                            continue;
                        }
                        let facts = Facts {
                            problem: problem.as_ref(),
                            expired,
                            verdict: *verdict,
                            delivery,
                            subject: ("r.example", "images"),
                            places: None,
                            missing_for_long,
                            ready_before,
                        };
                        let row = SITUATIONS.iter().position(|row| row.fits.is_some_and(|fits| fits(&facts)));
                        let row = row.unwrap_or_else(|| panic!("no row for {problem:?} {verdict:?} {delivery:?}"));
                        hit[row] += 1;
                        let told = conditions(&facts);
                        check_row(&SITUATIONS[row], &told, &facts).unwrap_or_else(|error| {
                            panic!("{}: {error}: {problem:?} {verdict:?} {delivery:?}", SITUATIONS[row].name)
                        });
                    }
                }
            }
        }
        for (situation, hits) in SITUATIONS.iter().zip(hit) {
            assert_eq!(hits > 0, situation.fits.is_some(), "{}: {hits} combinations", situation.name);
        }
    }

    #[test]
    fn the_row_of_the_suspended_is_what_they_say() {
        let nothing = Facts {
            problem: None,
            expired: None,
            verdict: None,
            delivery: &Delivery::Outstanding,
            subject: ("r.example", "images"),
            places: None,
            missing_for_long: false,
            ready_before: None,
        };
        check_row(&SITUATIONS[0], &suspended_conditions(), &nothing).unwrap();
    }
}
