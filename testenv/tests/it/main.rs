//! testenv proves itself before anything is proved with it.
#![allow(clippy::unwrap_used)]

mod clients;
mod control_plane;
mod faults;
mod http;
mod judges;
mod listener;
mod outliving;
mod provider;
mod registry;
mod token_server;

use std::time::Duration;

use testenv::ControlPlane;
use tokio::sync::OnceCell;

/// Generous: it only says how long a failure takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// The one control plane of this test run. It ends with the process, by its lifelines.
async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_try_init(ControlPlane::start).await.unwrap()
}
