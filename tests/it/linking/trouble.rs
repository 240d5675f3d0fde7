//! An API server that refuses, fails, or is another one than before.

use anyhow::Result;

use crate::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn placeholder_until_written() -> Result<()> {
    drop(Scenario::prepare("trouble").await?);
    Ok(())
}
