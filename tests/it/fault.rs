//! Faults between the operator and the API server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Request, Uri};
use kube::{Client, client::Body};

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
