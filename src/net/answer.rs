//! Reading an answer: all of it, within a limit.

use http::header;
use secrecy::{ExposeSecret, SecretSlice};
use url::Url;

use super::{Answer, Failure};

/// The body of an answer. It may hold a token, so it has no Debug and is wiped when dropped; and none of it may ever be
/// shown to anybody, because it may hold anything.
pub struct Body(SecretSlice<u8>);

impl Body {
    /// A body of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretSlice::from(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl Answer {
    /// Where the answer sends the client instead; none if it does not, or to no address.
    pub fn redirected(&self, from: &Url) -> Option<Url> {
        if !matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let next = from.join(self.headers.get(header::LOCATION)?.to_str().ok()?).ok()?;
        // reqwest would make a login of user information in an address.
        (next.username().is_empty() && next.password().is_none()).then_some(next)
    }
}

/// Reads the answer to its end.
pub(super) async fn read(mut response: reqwest::Response, limit: usize) -> Result<Answer, Failure> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(&error, false))? {
        if bytes.len() + chunk.len() > limit {
            return Err(Failure::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body: Body::new(bytes) })
}
