//! What can happen to which request, and whether that lies in the one window in which a credential may be lost.

use testenv::Fault;

use super::{Case, Side, story::Story};
use regcred::api::names::LEDGER_PREFIX;

/// The faults of an issued credential's stories: every other one shows as one of these, or is met by the stories of credentials
/// that are given.
const FAULTS: [Fault; 4] = [Fault::StopBefore, Fault::StopAfter, Fault::AnswerLost, Fault::Answer(500)];

/// What can happen to a request, in words, that has others before it. Whoever is stopped at one that changes nothing leaves
/// what the one before it left; and whether no answer comes or one that says nothing is the same to who only asks.
pub fn faults(story: &Story, side: Side, requests: &[String], number: usize) -> &'static [Fault] {
    let words = &requests[number - 1];
    let is_control = is_anybody(words) || requests[..number - 1].last().is_some_and(|before| is_anybody(before));
    let has_effect = match side {
        Side::Api => !["get ", "list ", "create events"].iter().any(|verb| words.starts_with(verb)),
        Side::Registry => story.provider.is_mint(words) || !words.starts_with("GET ") || words.contains("client_id"),
    };
    match (has_effect, number) {
        // One run at a time takes long, and whoever only asks does so in the story of a deleted connection as well.
        _ if story.is_alone => {
            if has_effect {
                &[Fault::StopAfter, Fault::Answer(500)]
            } else {
                &[]
            }
        }
        // A control without an answer is never repeated, and leaves a credential that is not proven (src/registry/control.rs).
        _ if side == Side::Registry && is_control => &FAULTS[..2],
        (true, _) => &FAULTS,
        (false, 1) => &[Fault::StopBefore, Fault::Answer(500)],
        (false, _) => &FAULTS[3..],
    }
}

/// Whether a request, in words, asks for a token for nobody.
fn is_anybody(words: &str) -> bool {
    words.contains("client_id") && !words.ends_with(" login")
}

/// Whether the last of these requests may have been a control, or what comes before one: which of two operators sent it is
/// not to be seen.
pub fn may_be_control(story: &Story, side: Side, seen: &[String]) -> bool {
    let is_test = seen.last().is_some_and(|words| words.contains("client_id"));
    story.operators > 1 && side == Side::Registry && is_test && seen.iter().any(|words| is_anybody(words))
}

/// Whether a request to the API server, in words, changes a ledger.
fn is_record(words: &str) -> bool {
    words.starts_with(&format!("patch secrets {LEDGER_PREFIX}"))
}

/// Whether a fault lies between the provider's answer and its record; `seen` ends with the request that met with it.
pub fn is_in_window(story: &Story, case: Case, seen: &[String]) -> bool {
    let Some(words) = seen.last() else { return false };
    if story.operators > 1 && case.fault.stops() {
        // Which of the two was about to write, and for the how manieth time, is not up to us.
        return true;
    }
    match (case.side, case.fault) {
        (Side::Registry, Fault::StopAfter | Fault::AnswerLost) => story.provider.is_mint(words),
        (Side::Api, Fault::StopBefore) => {
            // The first Secret created is the ledger where there is none.
            let first = seen.iter().position(|words| words == "create secrets").filter(|_| !story.has_ledger);
            let is_record = |(at, words): &(usize, &String)| is_record(words) || first == Some(*at);
            let records = seen.iter().enumerate().filter(is_record).count();
            is_record(&(seen.len() - 1, words)) && records == story.provider.record()
        }
        (
            Side::Api | Side::Registry,
            Fault::StopBefore
            | Fault::StopAfter
            | Fault::AnswerLost
            | Fault::NotSent
            | Fault::NeverAnswered
            | Fault::Answer(_),
        ) => false,
    }
}
