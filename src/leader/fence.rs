//! Keeps a process from writing to the API server while it is not the one to write, whatever it was about to do: a layer of its
//! client, so that nothing passes by.

use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::{Method, Request};
use tower::{BoxError, Layer, Service};

use super::Leadership;

/// See the module.
#[derive(Clone, Debug)]
pub struct Fence(Leadership);

impl Fence {
    /// One that goes by this.
    pub fn new(leadership: Leadership) -> Self {
        Self(leadership)
    }
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Fenced { inner, leadership: self.0.clone() }
    }
}

/// A service behind a [`Fence`].
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    leadership: Leadership,
}

/// Another process is the one to write now.
#[derive(Debug, thiserror::Error)]
#[error("this process is not the one to write now")]
pub struct NotLeading;

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Either<Ready<Result<S::Response, BoxError>>, futures::future::ErrInto<S::Future, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if !is_read && !self.leadership.may_write() {
            return Either::Left(ready(Err(NotLeading.into())));
        }
        Either::Right(futures::TryFutureExt::err_into(self.inner.call(request)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tower::{ServiceExt, service_fn};

    use super::{
        super::{Installation, State},
        *,
    };

    async fn passes(leadership: &Leadership, method: Method) -> bool {
        let inner = service_fn(|_: Request<()>| ready(Ok::<_, BoxError>(())));
        let request = Request::builder().method(method).body(()).unwrap();
        Fence::new(leadership.clone()).layer(inner).oneshot(request).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_leads_writes_and_only_as_long_as_the_lease_is_surely_its_own() {
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let leadership = Leadership::following();
        for state in [
            State::Following,
            State::Yielding { elder: Installation { namespace: "elder".into(), name: "regcred".into() } },
            State::Leading { until: Instant::now() + Duration::from_secs(10) },
            State::Alone,
        ] {
            leadership.becomes(state.clone());
            let may = matches!(state, State::Leading { .. } | State::Alone);
            for method in writes.clone() {
                assert_eq!(passes(&leadership, method.clone()).await, may, "{state:?} {method}");
            }
            assert!(passes(&leadership, Method::GET).await, "{state:?}");
        }
        leadership.becomes(State::Leading { until: Instant::now() + Duration::from_secs(10) });
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!passes(&leadership, Method::PUT).await, "the lease was not renewed");
    }
}
