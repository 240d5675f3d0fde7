//! Whether the cluster has the policy that names Secrets by images (`deploy/autolink.yaml`), and its binding. IO.
//!
//! It is watched only while somebody asks for it. Whether the API server heeds it cannot be seen: one that has the feature switched
//! off serves the kind all the same.

use std::{pin::pin, sync::Arc, time::Duration};

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt, stream};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, ExponentialBackoff, watcher},
    },
};

use super::standing::Support;
use crate::{
    api::names::{AUTOLINK_POLICY, TABLE},
    controller::Context,
};

/// The first pause where the kind cannot be watched.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest one. A cluster of an earlier version does not have it until it is upgraded.
const LONGEST: Duration = Duration::from_secs(300);

/// What is known of an object that is watched.
#[derive(Clone, Copy)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// It is there, and as it should be; or not.
    Is(bool),
    /// The operator may not look.
    Hidden,
}

/// Watches for ever, once somebody asks for it.
pub async fn run(context: Arc<Context>) {
    context.index.patterns_are_asked_for().await;
    let policy = follow(&context, "MutatingAdmissionPolicy", |_| true).map(|known| (true, known));
    let binding = follow(&context, "MutatingAdmissionPolicyBinding", binds).map(|known| (false, known));
    let mut news = pin!(stream::select(policy, binding));
    let (mut policy, mut binding) = (Known::Nothing, Known::Nothing);
    while let Some((is_policy, known)) = news.next().await {
        *(if is_policy { &mut policy } else { &mut binding }) = known;
        context.index.support(match (policy, binding) {
            (Known::Is(false), _) | (_, Known::Is(false)) => Support::Missing,
            (Known::Nothing, _) | (_, Known::Nothing) => Support::Unknown,
            (Known::Hidden, _) | (_, Known::Hidden) => Support::Hidden,
            (Known::Is(true), Known::Is(true)) => Support::There,
        });
    }
}

/// Whether a binding lets the policy read the tables.
fn binds(binding: &DynamicObject) -> bool {
    let spec = &binding.data["spec"];
    spec["policyName"] == AUTOLINK_POLICY && spec["paramRef"]["name"] == TABLE
}

/// Whether the object of a kind that is called as the policy is there, and as it should be; as often as that may have changed.
fn follow(context: &Context, kind: &str, is_good: fn(&DynamicObject) -> bool) -> impl Stream<Item = Known> + Send {
    let plural =
        if kind.ends_with("Binding") { "mutatingadmissionpolicybindings" } else { "mutatingadmissionpolicies" };
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &resource);
    let config = watcher::Config::default().fields(&format!("metadata.name={AUTOLINK_POLICY}"));
    let pauses = ExponentialBuilder::default()
        .with_min_delay(SHORTEST)
        .with_max_delay(LONGEST)
        .with_jitter()
        .without_max_times();
    let mut shown = false;
    watcher(api, config).backoff(ExponentialBackoff::from(pauses)).filter_map(move |event| {
        let known = match event {
            Ok(Event::Init) => {
                shown = false;
                None
            }
            Ok(Event::InitApply(object)) => {
                shown = is_good(&object);
                None
            }
            Ok(Event::InitDone) => Some(Known::Is(shown)),
            Ok(Event::Apply(object)) => Some(Known::Is(is_good(&object))),
            Ok(Event::Delete(_)) => Some(Known::Is(false)),
            Err(error) => verdict(&error),
        };
        futures::future::ready(known)
    })
}

/// What an error says about an object: that its kind is not served, or that nobody lets us look.
fn verdict(error: &watcher::Error) -> Option<Known> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return None,
    };
    match status.code {
        404 => Some(Known::Is(false)),
        403 => Some(Known::Hidden),
        _ => None,
    }
}
