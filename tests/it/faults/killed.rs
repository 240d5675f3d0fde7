//! The shipped command, ended by SIGKILL at chosen requests.

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use testenv::Fault::{self, StopAfter, StopBefore};

use super::{
    case::{Case, Side, run},
    logs::Logs,
    operator::Shape,
    story::{self, Story},
    wrong,
};

/// Where it is killed: around every write that another one follows, and around a login.
const CHOSEN: [(&Story, Side, usize, Fault); 10] = [
    (&story::CREATED, Side::Api, 2, StopBefore),
    (&story::CREATED, Side::Api, 2, StopAfter),
    (&story::CREATED, Side::Api, 3, StopAfter),
    (&story::CREATED, Side::Registry, 2, StopAfter),
    (&story::SOURCE_CHANGED, Side::Api, 2, StopAfter),
    (&story::SOURCE_CHANGED, Side::Api, 4, StopAfter),
    (&story::REFUSED_LATER, Side::Api, 2, StopBefore),
    (&story::REPAIRED, Side::Api, 3, StopAfter),
    (&story::RENAMED_SECRET, Side::Api, 2, StopAfter),
    (&story::ADOPTED, Side::Api, 3, StopBefore),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_command_killed_at_ten_requests_goes_on_where_it_was() -> Result<()> {
    let runs = CHOSEN.map(|(story, side, number, fault)| async move {
        let clean = run(story, None, Shape::Task).await.context("without a fault")?;
        let requests = match side {
            Side::Api => &clean.api,
            Side::Registry => &clean.registry,
        };
        ensure!(number <= requests.len(), "{} has no request {number} to {side:?}", story.name);
        let case = Case { side, number, fault };
        println!("{}: killed, {case} ({})", story.name, requests[number - 1]);
        let ran = run(story, Some((case, &clean.state)), Shape::Process).await;
        anyhow::Ok((story, case, clean, ran))
    });
    let ran = try_join_all(runs).await?;
    let mut faulty = vec![];
    for (story, case, clean, ran) in &ran {
        let logs = Logs::read(&story.prefix()).await?;
        faulty.extend(wrong(story, case, clean, ran, &logs));
    }
    if !faulty.is_empty() {
        bail!("{} of {} cases:\n{}", faulty.len(), ran.len(), faulty.join("\n"));
    }
    Ok(())
}
