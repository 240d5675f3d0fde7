//! The one thread on which everything that comes from outside is read.
//!
//! Whoever answers can keep a reader busy: interim answers without end, for one, are read as fast as they come, and no limit
//! of the HTTP stack ends that but the time limit of the request. The rest of the operator must not wait for it.

use std::{io, panic::resume_unwind, sync::Arc};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use super::Failure;

/// See the module. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Thread(Arc<Owned>);

struct Owned(Option<Runtime>);

impl Thread {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("outside").enable_all().build()?;
        Ok(Self(Arc::new(Owned(Some(runtime)))))
    }

    /// Does something there. Dropping the future ends it.
    ///
    /// # Panics
    /// If the work does: a fault in it is one of whoever asked for it.
    ///
    /// # Errors
    /// What it fails with; [`Failure::Broken`] if the thread is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.0.0 else { return Err(Failure::Broken) };
        let mut task = JoinSet::new();
        task.spawn_on(work, runtime.handle());
        match task.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(ended)) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(Failure::Broken),
            },
            None => Err(Failure::Broken),
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // A runtime must not be waited for where others run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
