//! A server that does not take some writes.

use http::{Request, Response, Uri};
use kube::{Client, client::Body, core::Status};

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
