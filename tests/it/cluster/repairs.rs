//! What it costs to put right what somebody did to many targets at once: one write for each of them.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use testenv::eventually;

use super::{CONCURRENCY, Wide};
use crate::scenario::DEADLINE;

/// How many namespaces there are.
const N: usize = 100;

/// How many Secrets are edited.
const EDITED: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_lost_and_ten_edited_secrets_are_put_right_with_one_write_each() -> Result<()> {
    let wide = Wide::start("repairs").await?;
    wide.create_namespaces(0..N).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    wide.at_rest().await?;
    let contents = async || {
        let all = wide.delivered("images").await?.into_iter();
        Ok::<_, anyhow::Error>(all.map(|(namespace, secret)| (namespace, secret.data)).collect::<Vec<_>>())
    };
    let good = contents().await?;
    assert_eq!(good.len(), N);
    wide.scenario.calls.clear();
    let since = Instant::now();

    stream::iter(0..N)
        .map(|number| {
            let secrets = wide.secrets(number);
            async move { secrets.delete("images", &DeleteParams::default()).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<_>>()
        .await?;
    eventually("all to be back", DEADLINE, async || Ok((contents().await? == good).then_some(()))).await?;
    wide.at_rest().await?;
    let mut asked = wide.asked();
    assert_eq!(asked.take("create secrets"), N);
    let reads = asked.take_source_reads();
    ensure!(reads <= N, "{reads} reads of the source");
    let told = asked.take_statuses();
    ensure!(told <= wide.most_statuses(since), "{told} statuses");
    asked.nothing_else()?;

    let wrong = Patch::Merge(json!({"data": {".dockerconfigjson": "e30="}}));
    stream::iter(0..EDITED)
        .map(|number| {
            let (secrets, wrong) = (wide.secrets(number * N / EDITED), &wrong);
            async move { secrets.patch("images", &PatchParams::default(), wrong).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<_>>()
        .await?;
    eventually("all to be right", DEADLINE, async || Ok((contents().await? == good).then_some(()))).await?;
    wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    wide.at_rest().await?;
    let mut asked = wide.asked();
    assert_eq!(asked.take("create secrets"), N);
    assert_eq!(asked.take("patch secrets") + asked.take("update secrets"), EDITED);
    let reads = asked.take_source_reads();
    ensure!(reads <= N + EDITED, "{reads} reads of the source");
    let told = asked.take_statuses();
    ensure!(told <= wide.most_statuses(since), "{told} statuses");
    asked.nothing_else()?;
    assert_eq!(wide.scenario.good_logins()?, 1, "the login was not tested again");
    Ok(())
}
