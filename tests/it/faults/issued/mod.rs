//! Every request of a story about issued credentials meets with every fault, one at a time; then the operator, or its
//! successor, goes on alone.
//!
//! A story is run once without a fault, and its requests to the API server, and to the provider and its registry, are counted.
//! Then it is run once for every request and every fault. Each run must end in the same state, with a target that works, a
//! ledger that agrees with it, nothing left to be revoked, and no credential at the provider but the one delivered. One more
//! credential is issued at most, and only if the fault lay between the provider's answer and its record.

mod account;
mod case;
mod other;
mod state;
mod story;
mod window;

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt;

use self::{
    account::Accounts,
    case::{Ran, run},
    story::Story,
    window::faults,
};
use super::{
    RUNNING, WIDTH,
    case::{Case, Side},
};

/// How often a case is run whose fault does not come: operators that are woken by time send requests in no fixed number.
const TRIES: usize = 3;

/// What is not in a run as it must be, one line each.
fn wrong(story: &Story, case: &Case, clean: &Ran, ran: &Result<Ran>) -> Vec<String> {
    let requests = match case.side {
        Side::Api => &clean.api,
        Side::Registry => &clean.provider,
    };
    let name = format!("{}: {case} ({})", story.name, requests[case.number - 1]);
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return vec![format!("{name}: {error:#}")],
    };
    let mut wrong = vec![];
    let is_refused = story.end.ready.is_some_and(|(status, _)| status == "False");
    let by_time = if is_refused { ran.lasted.as_secs() / (30 * 60) } else { 0 };
    let more = usize::from(ran.is_in_window) + usize::try_from(by_time).unwrap_or(usize::MAX);
    let most = clean.issued.max(story.most()) + more;
    if ran.issued > most {
        wrong.push(format!("{name}: {} credentials issued instead of {most}", ran.issued));
    }
    wrong
}

/// Runs a story once for every request and every fault.
async fn enumerate(story: &Story) -> Result<()> {
    let started = Instant::now();
    let accounts = Accounts::new(story.provider);
    let clean = {
        let _turn = RUNNING.acquire().await;
        run(story, None, &accounts).await.context("without a fault")?
    };
    let most = story.most();
    ensure!(clean.issued <= most, "{} credentials issued without a fault instead of {most}", clean.issued);
    println!("{}: {:?}, {:?}; {} issued", story.name, clean.api, clean.provider, clean.issued);
    let requests = [(Side::Api, &clean.api), (Side::Registry, &clean.provider)];
    let cases: Vec<Case> = requests
        .into_iter()
        .flat_map(|(side, requests)| {
            (1..=requests.len()).flat_map(move |number| {
                let faults = faults(story, side, requests, number).iter();
                faults.map(move |&fault| Case { side, number, fault })
            })
        })
        // The relay cannot tell one operator from the other, so that it cannot stop one.
        .filter(|case| story.operators == 1 || case.side == Side::Api || !case.fault.stops())
        .collect();
    ensure!(!cases.is_empty(), "the story has no requests");
    let ran: Vec<(Case, Result<Ran>)> = futures::stream::iter(cases)
        .map(|case| {
            let (clean, accounts) = (&clean, &accounts);
            async move {
                let _turn = RUNNING.acquire().await;
                let mut ran = run(story, Some((case, clean)), accounts).await;
                for _ in 1..TRIES {
                    if ran.as_ref().is_ok_and(|ran| !ran.is_faulty) {
                        ran = run(story, Some((case, clean)), accounts).await;
                    }
                }
                (case, ran)
            }
        })
        .buffer_unordered(WIDTH)
        .collect()
        .await;
    let faulty: Vec<String> = ran.iter().flat_map(|(case, ran)| wrong(story, case, &clean, ran)).collect();
    let count = |is: fn(&Ran) -> bool| ran.iter().filter(|(_, ran)| ran.as_ref().is_ok_and(is)).count();
    let (windows, faultless) = (count(|ran| ran.is_in_window), count(|ran| !ran.is_faulty));
    println!(
        "  {} cases, {windows} in the window, {faultless} without their fault, in {:.1} s",
        ran.len(),
        started.elapsed().as_secs_f32()
    );
    ensure!(faultless * 4 <= ran.len(), "too few requests met with a fault");
    if !faulty.is_empty() {
        bail!("{} of {} cases:\n{}", faulty.len(), ran.len(), faulty.join("\n"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_credential_is_issued_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::FIRST).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_renewed_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::RENEWAL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_the_registry_refuses_comes_to_nothing_whatever_request_fails() -> Result<()> {
    enumerate(&story::REFUSED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_api_token_renews_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::TOKEN_CHANGED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_target_comes_back_without_a_credential_issued_whatever_request_fails() -> Result<()> {
    enumerate(&story::TARGET_DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_ledger_costs_one_credential_whatever_request_fails() -> Result<()> {
    enumerate(&story::LEDGER_DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_takes_its_credential_along_whatever_request_fails() -> Result<()> {
    enumerate(&story::CONNECTION_DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_come_to_one_first_credential_whatever_request_fails() -> Result<()> {
    enumerate(&story::FIRST_OF_TWO).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_come_to_one_renewed_credential_whatever_request_fails() -> Result<()> {
    enumerate(&story::RENEWAL_OF_TWO).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_token_of_ionos_is_issued_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::IONOS_FIRST).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_ionos_is_renewed_the_same_whatever_request_fails() -> Result<()> {
    enumerate(&story::IONOS_RENEWAL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_come_to_one_renewed_token_of_ionos_whatever_request_fails() -> Result<()> {
    enumerate(&story::IONOS_RENEWAL_OF_TWO).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_takes_its_token_of_ionos_along_whatever_request_fails() -> Result<()> {
    enumerate(&story::IONOS_DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_takes_its_credential_along_whatever_request_fails() -> Result<()> {
    enumerate(&story::NAMESPACE_DELETED).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_leaves_a_token_of_ionos_that_is_kept_in_mind_whatever_request_fails() -> Result<()> {
    enumerate(&story::IONOS_NAMESPACE_DELETED).await
}
