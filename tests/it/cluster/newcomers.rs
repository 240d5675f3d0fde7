//! What a namespace costs that comes to be while a hundred others are served already.

use std::time::Instant;

use anyhow::{Result, ensure};
use testenv::eventually;

use super::Wide;
use crate::scenario::{DEADLINE, PASSWORD};

/// How many namespaces there are at first.
const N: usize = 100;

/// Ten seconds pass in two.
const FAST: u32 = 5;

/// How many come one by one.
const SINGLY: usize = 5;

/// How many come at once.
const TOGETHER: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn new_namespaces_cost_one_secret_each_no_look_at_others_no_login_and_no_status_of_their_own() -> Result<()> {
    let mut wide = Wide::prepare("newcomers").await?;
    // Numbers are told every two seconds then.
    wide.scenario.set_speed(FAST);
    wide.write_source("login", PASSWORD).await?;
    wide.scenario.start_operator().await?;
    wide.create_namespaces(0..N).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    wide.at_rest().await?;
    wide.scenario.calls.clear();

    let since = Instant::now();
    for number in N..N + SINGLY {
        wide.create_namespaces(number..number + 1).await?;
        eventually("it to be served", DEADLINE, async || {
            wide.secrets(number).get_opt("images").await.map_err(Into::into)
        })
        .await?;
        wide.at_rest().await?;
    }
    let mut asked = wide.asked();
    assert_eq!((asked.take("create secrets"), asked.take_source_reads()), (SINGLY, SINGLY));
    let told = asked.take_statuses();
    ensure!(told <= wide.most_statuses(since), "{told} statuses for {SINGLY} namespaces one by one");
    asked.nothing_else()?;

    wide.create_namespaces(N + SINGLY..N + SINGLY + TOGETHER).await?;
    wide.ready("images", ("True", "LoginProven"), (125, 125)).await?;
    wide.at_rest().await?;
    let mut asked = wide.asked();
    assert_eq!(asked.take("create secrets"), SINGLY + TOGETHER);
    let reads = asked.take_source_reads();
    ensure!(reads <= SINGLY + TOGETHER, "{reads} reads of the source");
    let told = asked.take_statuses();
    ensure!(told <= wide.most_statuses(since), "{told} statuses for all of them");
    asked.nothing_else()?;
    assert_eq!(wide.delivered("images").await?.len(), N + SINGLY + TOGETHER);
    assert_eq!(wide.scenario.good_logins()?, 1, "one test for all of them");
    Ok(())
}
