//! Faults between the operator and the API server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Request, Response, Uri};
use kube::{Client, client::Body, core::Status};

/// A client whose first request to such an address is never answered; all others go through.
pub fn swallowing(client: Client, is_meant: impl Fn(&Uri) -> bool + Clone + Send + Sync + 'static) -> Client {
    let swallowed = Arc::new(AtomicBool::new(false));
    let service = tower::service_fn(move |request: Request<Body>| {
        let swallow = is_meant(request.uri()) && !swallowed.swap(true, Ordering::SeqCst);
        let client = client.clone();
        async move {
            if swallow {
                std::future::pending::<()>().await;
            }
            client.send(request).await
        }
    });
    Client::new(service, "default")
}

/// A client that answers such requests itself: the object does not fit its schema. All others go through.
pub fn refusing(client: Client, is_meant: impl Fn(&Uri) -> bool + Clone + Send + Sync + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let refuse = is_meant(request.uri());
        let client = client.clone();
        async move {
            if !refuse {
                return client.send(request).await;
            }
            let status = Status::failure("spec.provider: Required value", "Invalid").with_code(422);
            let body = serde_json::to_vec(&status).map_err(kube::Error::SerdeError)?;
            let answer = Response::builder().status(422).header("Content-Type", "application/json");
            answer.body(Body::from(body)).map_err(kube::Error::HttpError)
        }
    });
    Client::new(service, "default")
}
