//! What cuts a pass short.

use super::api_failure::ApiFailure;

/// A pass could not be finished; unless the connection is gone, trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret could not be read.
    #[error("failed to read the source Secret")]
    Read(#[source] ApiFailure),
    /// A Secret could not be written.
    #[error("failed to write the target Secret")]
    Write(#[source] ApiFailure),
    /// A ledger could not be written.
    #[error("failed to write the ledger")]
    Ledger(#[source] ApiFailure),
    /// A Secret was another one each time it was to be written.
    #[error("a Secret kept changing while it was being written")]
    Contended,
    /// This process is not the one to work now, or cannot tell (`leader`).
    #[error("this process is not the one to work now")]
    NotLeading,
    /// The connection does not exist any more, or another of its name does.
    #[error("the connection is gone")]
    Gone,
    /// The API server or a registry kept a pass waiting.
    #[error("the pass took too long")]
    TimedOut,
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] ApiFailure),
    /// The API server does not want the status.
    #[error("the API server refused the status")]
    Refused(#[source] ApiFailure),
    /// A fault of ours ended the pass.
    #[error("the pass panicked")]
    Panicked,
}

impl Error {
    /// All kinds that are counted, as they stand in metrics.
    pub const KINDS: [&str; 9] = [
        "ReadFailed",
        "WriteFailed",
        "LedgerFailed",
        "Contended",
        "NotLeading",
        "TimedOut",
        "StatusFailed",
        "StatusRefused",
        "Panicked",
    ];

    /// What kind it is; none for a connection that is gone, which is no trouble.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => Some("ReadFailed"),
            Self::Write(_) => Some("WriteFailed"),
            Self::Ledger(_) => Some("LedgerFailed"),
            Self::Contended => Some("Contended"),
            Self::NotLeading => Some("NotLeading"),
            Self::TimedOut => Some("TimedOut"),
            Self::Status(_) => Some("StatusFailed"),
            Self::Refused(_) => Some("StatusRefused"),
            Self::Panicked => Some("Panicked"),
            Self::Gone => None,
        }
    }
}
