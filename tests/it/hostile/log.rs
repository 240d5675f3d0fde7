//! Everything that is logged in this process, read for what must not stand there.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tracing_subscriber::{
    Layer,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::MARKER;
use crate::scenario::PASSWORD;

/// How a Basic login of these tests begins: their users are called `hostile-...`.
const BASIC: &str = "aG9zdGlsZS";

/// How the tokens begin that the providers' fakes make, and the logins that DigitalOcean's issues, in base64.
const TOKENS: [&str; 4] = ["dop_v1_", "dor_v1_", "eyJ", "b3duZXJAZXhhbXBsZS5jb206"];

static LOG: Log = Log { changes: AtomicUsize::new(0), leaks: Mutex::new(Vec::new()) };

static BEGUN: Once = Once::new();

/// What was found in the lines so far.
pub struct Log {
    /// Lines about a connection that changed: the log is being read.
    changes: AtomicUsize,
    leaks: Mutex<Vec<String>>,
}

struct Writer;

/// Begins to read, once.
pub fn read() -> &'static Log {
    BEGUN.call_once(|| {
        // As the operator does it, but for the level: the kube client quotes bodies in this one module.
        let filter = LevelFilter::DEBUG.and(filter_fn(|metadata| metadata.target() != "kube_client::client"));
        let lines = fmt::layer().with_ansi(false).with_writer(|| Writer).with_filter(filter);
        drop(tracing_subscriber::registry().with(lines).try_init());
    });
    &LOG
}

impl Log {
    /// How many changes of connections were logged.
    pub fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// The lines with a password, or with the words of a hostile server.
    pub fn leaks(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if line.contains("the connection changed") {
            LOG.changes.fetch_add(1, Ordering::Relaxed);
        }
        if [MARKER, PASSWORD, BASIC].iter().chain(&TOKENS).any(|word| line.contains(word)) {
            LOG.lock().push(line.into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
