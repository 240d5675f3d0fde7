//! What others do with their own Secrets in the namespaces that are served: it is no concern of the operator.

use std::ops::Range;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testenv::eventually;

use super::{CONCURRENCY, Wide};
use crate::scenario::DEADLINE;

/// How many namespaces there are.
const N: usize = 100;

/// How many Secrets of others there are.
const FOREIGN: Range<usize> = 0..300;

/// How many of them are nearly as large as a Secret can be.
const LARGE: usize = 3;

/// Does the same with each of the Secrets of others.
async fn with_each<T>(step: impl AsyncFn(usize) -> kube::Result<T>) -> Result<()> {
    let step = &step;
    stream::iter(FOREIGN)
        .map(|number| async move { step(number).await.map(drop) })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_others_come_change_and_go_in_all_namespaces_without_a_request() -> Result<()> {
    let wide = Wide::start("others").await?;
    wide.create_namespaces(0..N).await?;
    wide.connect("images", wide.spec()).await?;
    wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    wide.at_rest().await?;
    wide.scenario.calls.clear();
    wide.idles().await?;

    let name = |number: usize| format!("foreign-{number}");
    with_each(async |number| {
        let mut secret = Secret { type_: Some("Opaque".into()), ..Secret::default() };
        secret.metadata.name = Some(name(number));
        let size = if number < LARGE { 1_000_000 } else { 10 };
        secret.data = Some([("data".to_owned(), ByteString(vec![b'a'; size]))].into());
        wide.secrets(number % N).create(&PostParams::default(), &secret).await
    })
    .await?;
    with_each(async |number| {
        // Some of them look like sources, which only the operator's own namespace has.
        let labels = json!({"team": "shop", "regcred.dev/source": if number % 2 == 0 { "true" } else { "false" }});
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        wide.secrets(number % N).patch(&name(number), &PatchParams::default(), &patch).await
    })
    .await?;
    with_each(async |number| wide.secrets(number % N).delete(&name(number), &DeleteParams::default()).await).await?;

    // News come in their order: who has heard of this one has heard of all of that.
    wide.secrets(0).delete("images", &DeleteParams::default()).await?;
    eventually("the Secret to be back", DEADLINE, async || Ok(wide.secrets(0).get_opt("images").await?)).await?;
    wide.ready("images", ("True", "LoginProven"), (100, 100)).await?;
    wide.at_rest().await?;
    let mut asked = wide.asked();
    assert_eq!((asked.take("create secrets"), asked.take_source_reads()), (1, 1));
    let told = asked.take_statuses();
    ensure!(told <= 1, "{told} statuses for one Secret that was lost");
    asked.nothing_else()?;
    Ok(())
}
