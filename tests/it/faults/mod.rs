//! Every request of a story meets with every fault, one at a time; then the operator, or its successor, goes on alone.
//!
//! A story is run once without a fault, and its requests to the API server and to the registry are counted. Then it is
//! run once for every request and every fault that can happen to it. Each run must end in the same state, with as many
//! creations and deletions of each object (by the audit log), no more revisions, nothing foreign written, and no login
//! beyond what `allowed` says (by the registry's log).

mod case;
mod door;
mod issued;
mod killed;
mod logs;
mod operator;
pub mod state;
pub mod story;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt;
use testenv::Fault;
use tokio::sync::Semaphore;

use self::{
    case::{Case, Ran, Side, run},
    logs::Logs,
    operator::Shape,
    story::Story,
};

/// How many runs of one story are under way at once. They wait more than they work.
const WIDTH: usize = 12;

/// Held by every run of every story: with more of them at once each takes so long that its fast clock shows a day.
static RUNNING: Semaphore = Semaphore::const_new(2 * WIDTH);

/// A login whose verdict may be lost is made once more: by a process that took the place of one that ended between the
/// login and the status, or by the same one if it never saw the answer. The logins that a wrong password costs by the
/// passing of time, one every 30 minutes, come in addition; `lasted` is by the operator's clock.
fn allowed(case: &Case, clean: (usize, usize), story: &Story, ran: &Ran) -> (usize, usize) {
    let more = match (case.side, case.fault) {
        (Side::Api | Side::Registry, Fault::StopBefore | Fault::StopAfter) | (Side::Registry, Fault::AnswerLost) => 1,
        (Side::Api, Fault::AnswerLost)
        | (Side::Api | Side::Registry, Fault::NotSent | Fault::NeverAnswered | Fault::Answer(_)) => 0,
    };
    let is_refused = story.end.ready.is_some_and(|(status, _)| status == "False");
    let by_time = if is_refused { ran.lasted.as_secs() / (30 * 60) } else { 0 };
    if is_refused {
        (clean.0, clean.1 + more + usize::try_from(by_time).unwrap_or(usize::MAX))
    } else {
        (clean.0 + more, clean.1)
    }
}

/// What is not in a run as it must be, one line each.
fn wrong(story: &Story, case: &Case, clean: &Ran, ran: &Result<Ran>, logs: &Logs) -> Vec<String> {
    let requests = match case.side {
        Side::Api => &clean.api,
        Side::Registry => &clean.registry,
    };
    let name = format!("{}: {case} ({})", story.name, requests[case.number - 1]);
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return vec![format!("{name}: {error:#}")],
    };
    let mut wrong = vec![];
    let (found, expected) = (logs.tally(&ran.namespace), logs.tally(&clean.namespace));
    if !found.may_be(&expected) {
        wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
    }
    let (found, most) = (logs.logins(&ran.namespace), allowed(case, logs.logins(&clean.namespace), story, ran));
    if found.0 > most.0 || found.1 > most.1 {
        wrong.push(format!("{name}: {found:?} logins (accepted, refused), at most {most:?} are allowed"));
    }
    let more = usize::from(story.edits_spec && case.fault.stops());
    let (found, most) = (logs.writes(&ran.namespace), logs.writes(&clean.namespace) + more);
    if found > most {
        wrong.push(format!("{name}: {found} writes of Secrets instead of {most}"));
    }
    let most = clean.revisions + more;
    if ran.revisions > most {
        wrong.push(format!("{name}: {} revisions instead of {most}", ran.revisions));
    }
    wrong
}

/// Runs a story once for every request and every fault.
async fn enumerate(story: &Story) -> Result<()> {
    let started = Instant::now();
    let clean = {
        let _turn = RUNNING.acquire().await;
        run(story, None, Shape::Task).await.context("without a fault")?
    };
    let requests = [(Side::Api, &clean.api), (Side::Registry, &clean.registry)];
    let cases: Vec<Case> = requests
        .iter()
        .flat_map(|(side, requests)| {
            let numbers = 1..=requests.len();
            numbers.flat_map(move |number| {
                side.faults().iter().map(move |fault| Case { side: *side, number, fault: *fault })
            })
        })
        .collect();
    ensure!(!cases.is_empty(), "the story has no requests");
    let ran: Vec<(Case, Result<Ran>)> = futures::stream::iter(cases)
        .map(|case| {
            let clean = &clean.state;
            async move {
                let _turn = RUNNING.acquire().await;
                (case, run(story, Some((case, clean)), Shape::Task).await)
            }
        })
        .buffer_unordered(WIDTH)
        .collect()
        .await;

    let mut faulty = vec![];
    let logs = Logs::read(&story.prefix()).await?;
    ensure!(
        logs.logins(&clean.namespace).1 == story.wrong_passwords,
        "{:?} logins without a fault",
        logs.logins(&clean.namespace)
    );
    let mut counts: BTreeMap<(Side, Fault), usize> = BTreeMap::new();
    for (case, ran) in &ran {
        *counts.entry((case.side, case.fault)).or_default() += 1;
        faulty.extend(wrong(story, case, &clean, ran, &logs));
    }
    println!("{}: {} cases in {:.1} s", story.name, ran.len(), started.elapsed().as_secs_f32());
    println!("  requests: {:?}, {:?}; logins {:?}", clean.api, clean.registry, logs.logins(&clean.namespace));
    println!(
        "  {}",
        counts.iter().map(|((side, fault), n)| format!("{side:?} {fault}: {n}")).collect::<Vec<_>>().join(", ")
    );
    if !faulty.is_empty() {
        bail!("{} of {} cases:\n{}", faulty.len(), ran.len(), faulty.join("\n"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_created_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::CREATED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_login_is_delivered_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::SOURCE_CHANGED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_told_and_counted_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::REFUSED_LATER).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_login_is_delivered_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::REPAIRED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_secret_takes_the_place_of_the_old_one_whatever_request_fails() -> Result<()> {
    enumerate(&story::RENAMED_SECRET).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_takes_its_secret_along_whatever_request_fails() -> Result<()> {
    enumerate(&story::DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::LINKS_MADE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_end_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::LINKS_ENDED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_takes_its_links_along_whatever_request_fails() -> Result<()> {
    enumerate(&story::LINKED_AND_DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_made_anew_adopts_its_secret_whatever_request_fails() -> Result<()> {
    enumerate(&story::ADOPTED).await
}
