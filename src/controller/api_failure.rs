//! An answer of the API server that ends a pass, in words that are safe to log.
//!
//! The server's own words are not: an error about a write may quote the whole object, and ours hold passwords.

use std::time::Duration;

/// Why the API server could not be worked with. Trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ApiFailure(String);

impl ApiFailure {
    /// There was no answer in this time.
    pub fn silence(time: Duration) -> Self {
        Self(format!("the API server has not answered within {} s", time.as_secs()))
    }
}

impl From<kube::Error> for ApiFailure {
    fn from(error: kube::Error) -> Self {
        Self(match error {
            kube::Error::Api(status) => match status.reason.as_str() {
                "" => format!("the API server answered {}", status.code),
                reason => format!("the API server answered {} {reason:.64}", status.code),
            },
            // What could not be read would be quoted.
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                "the API server's answer could not be read".to_owned()
            }
            other => {
                let mut text = other.to_string();
                let mut source = std::error::Error::source(&other);
                while let Some(cause) = source {
                    text = format!("{text}: {cause}");
                    source = cause.source();
                }
                text
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn the_servers_words_about_a_write_are_not_repeated() {
        let status = Status::failure("invalid: {\"data\": \"canary\"}", "BadRequest").with_code(400);
        let failure = ApiFailure::from(kube::Error::Api(Box::new(status)));
        assert_eq!(failure.to_string(), "the API server answered 400 BadRequest");
        let unreadable = serde_json::from_str::<u8>("\"canary\"").unwrap_err();
        assert!(!format!("{:?}", ApiFailure::from(kube::Error::SerdeError(unreadable))).contains("canary"));
    }
}
