//! The watches: connections first, then the metadata of Secrets and ConfigMaps, and out of all the connections to look at.
//!
//! Connections are listed before the others, so that their lists can be sifted as they pass: what no connection is about
//! is dropped at once.

use std::{sync::Arc, time::Duration};

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt, channel::oneshot, future, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        utils::ResetTimerBackoff,
        watcher::{self, Event, ExponentialBackoff, InitialListStrategy, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::{
    Context,
    mapper::Wake,
    stored::{OfKind, Sent, Stored},
};
use crate::{
    api::{ClusterRegistryConnection, RegistryConnection, names::TABLE},
    domain::reference::Kind,
};

/// The longest pause between tries of a watch. Short enough that a CRD installed late is noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pause after the first failure of a watch.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// A watch that worked for this long begins with the shortest pause again.
const FORGETS_FAILURES_AFTER: Duration = Duration::from_secs(120);

/// The connections to look at, as the cluster changes. Ends only when dropped.
pub fn wakes(context: Arc<Context>) -> impl Stream<Item = Wake> + Send {
    let (namespaced, first) = connections::<RegistryConnection>(Arc::clone(&context), "registryconnections");
    let (cluster, second) =
        connections::<ClusterRegistryConnection>(Arc::clone(&context), "clusterregistryconnections");
    let links = {
        let context = Arc::clone(&context);
        stream::unfold((), move |()| {
            let context = Arc::clone(&context);
            async move { Some((stream::iter(context.index.news_of_links().await), ())) }
        })
        .flatten()
    };
    let others = async move {
        // An error means that the other streams were dropped, and this one with them.
        let _ = future::join(first, second).await;
        let secrets = {
            let context = Arc::clone(&context);
            follow::<PartialObjectMeta<Secret>>(context.client.clone(), "secrets")
                .map(move |event| stream::iter(event.map_or_else(Vec::new, |event| context.index.apply_secret(event))))
        };
        let config_maps = {
            let context = Arc::clone(&context);
            follow::<PartialObjectMeta<ConfigMap>>(context.client.clone(), "configmaps").map(move |event| {
                stream::iter(match event {
                    Some(event) => context.index.apply_config_map(event),
                    None => context.index.config_maps_unavailable(),
                })
            })
        };
        let namespaces =
            follow::<PartialObjectMeta<Namespace>>(context.client.clone(), "namespaces").map(move |event| {
                stream::iter(match event {
                    Some(event) => context.index.apply_namespace(event),
                    None => context.index.namespaces_unavailable(),
                })
            });
        stream::select(stream::select(secrets, config_maps), namespaces)
    };
    let connections = stream::select(namespaced, cluster);
    stream::select(stream::select(connections.flatten(), links), stream::once(others).flatten().flatten())
}

/// Follows what links go by, for ever: the ServiceAccounts, whose metadata alone do not say what they name, and the tables of
/// images.
pub async fn follow_what_is_linked(context: Arc<Context>) {
    let everything = watcher::Config::default();
    let tables = everything.clone().fields(&format!("metadata.name={TABLE}"));
    let accounts = whole::<ServiceAccount>(&context.client, "serviceaccounts", everything).for_each(|event| {
        match event {
            Some(event) => context.index.apply_service_account(event),
            None => context.index.service_accounts_unavailable(),
        }
        future::ready(())
    });
    let tables = whole::<ConfigMap>(&context.client, "tables of images", tables).for_each(|event| {
        match event {
            Some(event) => context.index.apply_table(event),
            None => context.index.tables_unavailable(),
        }
        future::ready(())
    });
    future::join(accounts, tables).await;
}

/// Follows whole objects of a kind. They are read in two steps: the code of a watch is large, and this one serves all such kinds.
pub fn whole<K>(
    client: &Client,
    what: &'static str,
    config: watcher::Config,
) -> impl Stream<Item = Option<Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Send,
{
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<K>(&()));
    // Every API server sends objects that can be read; another one shows nothing that could be linked.
    follow_some(api, what, config).filter_map(|event| {
        let read = |object: DynamicObject| object.try_parse().ok();
        future::ready(match event {
            None => Some(None),
            Some(Event::Init) => Some(Some(Event::Init)),
            Some(Event::InitDone) => Some(Some(Event::InitDone)),
            Some(Event::InitApply(object)) => read(object).map(|object| Some(Event::InitApply(object))),
            Some(Event::Apply(object)) => read(object).map(|object| Some(Event::Apply(object))),
            Some(Event::Delete(object)) => read(object).map(|object| Some(Event::Delete(object))),
        })
    })
}

/// Follows the connections of a kind. What is returned beside the stream completes once nobody has to wait for its list: that of
/// a cluster's may not be installed.
fn connections<K: OfKind>(
    context: Arc<Context>,
    what: &'static str,
) -> (impl Stream<Item = stream::Iter<std::vec::IntoIter<Wake>>> + Send, oneshot::Receiver<()>)
where
    Sent<K>: Send,
{
    let (listed, first_list) = oneshot::channel();
    let mut listed = Some(listed);
    let wakes = follow::<Sent<K>>(context.client.clone(), what).map(move |event| {
        let is_answered = match (&event, K::KIND) {
            (Some(Event::InitDone), _) | (None, Kind::Cluster) => true,
            (Some(Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)) | None, _) => false,
        };
        let wakes = match event {
            Some(event) => take_in(&context, K::KIND, stored(event)),
            None => context.index.connections_unavailable(K::KIND),
        };
        if let Some(listed) = listed.take_if(|_| is_answered) {
            // The other side is gone only when the whole stream is.
            let _ = listed.send(());
        }
        stream::iter(wakes)
    });
    (wakes, first_list)
}

fn stored<K>(event: Event<Sent<K>>) -> Event<Stored> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(sent) => Event::InitApply(sent.stored),
        Event::InitDone => Event::InitDone,
        Event::Apply(sent) => Event::Apply(sent.stored),
        Event::Delete(sent) => Event::Delete(sent.stored),
    }
}

/// Takes in an event of a watch on connections; returns who should be looked at. Nothing is kept of those that are gone.
fn take_in(context: &Context, kind: Kind, event: Event<Stored>) -> Vec<Wake> {
    // Whom the event, or a list without them, may say to be gone.
    let doubtful = match &event {
        Event::Delete(gone) => vec![Arc::new(gone.clone())],
        Event::InitDone => context.index.store().state(),
        Event::Init | Event::InitApply(_) | Event::Apply(_) => vec![],
    };
    let wakes = context.index.apply_connection(kind, event);
    doubtful.iter().for_each(|connection| context.forget_if_gone(connection));
    wakes
}

/// Follows all objects of a kind for ever; none stands for a failure. Failures are logged when they begin and when they
/// end, not in between.
fn follow<K>(client: Client, what: &'static str) -> impl Stream<Item = Option<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    follow_some(Api::all(client), what, watcher::Config::default())
}

/// The same for those objects that a configuration chooses.
fn follow_some<K>(
    api: Api<K>,
    what: &'static str,
    config: watcher::Config,
) -> impl Stream<Item = Option<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut failing: Option<String> = None;
    listing(api, config, InitialListStrategy::StreamingList).map(move |result| match result {
        Ok(event) => {
            // Init only says that a try began.
            if !matches!(event, Event::Init) && failing.take().is_some() {
                tracing::info!(what, "the watch works again");
            }
            Some(event)
        }
        Err(error) => {
            let kind = summary(&error);
            if failing.as_ref() != Some(&kind) {
                tracing::warn!(what, error = kind, "the watch failed; it is tried again until it works");
                failing = Some(kind);
            }
            None
        }
    })
}

/// A watch that begins with a streamed list, or, where the server cannot do that, with a plain one.
fn listing<K>(
    api: Api<K>,
    config: watcher::Config,
    strategy: InitialListStrategy,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let begin = move |api: Api<K>, config: &watcher::Config, strategy| {
        let config = watcher::Config { initial_list_strategy: strategy, ..config.clone() };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let pauses = ResetTimerBackoff::new(ExponentialBackoff::from(pauses), FORGETS_FAILURES_AFTER);
        watcher(api, config).backoff(pauses).boxed()
    };
    let stream = begin(api.clone(), &config, strategy.clone());
    stream::unfold((stream, strategy), move |(mut stream, mut strategy)| {
        let (api, config) = (api.clone(), config.clone());
        async move {
            let result = stream.next().await?;
            if strategy == InitialListStrategy::StreamingList && matches!(&result, Err(error) if is_unsupported(error))
            {
                tracing::info!("the API server does not stream lists; plain lists are used");
                strategy = InitialListStrategy::ListWatch;
                stream = begin(api, &config, strategy.clone());
            }
            Some((result, (stream, strategy)))
        }
    })
}

/// The answer of a server without streamed lists: the request is invalid.
fn is_unsupported(error: &watcher::Error) -> bool {
    status_of(error).is_some_and(|status| status.is_invalid())
}

fn status_of(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// One line for the log, the same for the same cause.
fn summary(error: &watcher::Error) -> String {
    match status_of(error) {
        // A kind that is not served is a 404 in plain text, without the reason NotFound.
        Some(status) if status.code == 404 => {
            "the kind is not installed; apply the CustomResourceDefinitions of regcred (404)".to_owned()
        }
        Some(status) => format!("{} ({})", status.message, status.code),
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::{delivered, nowhere};

    fn stored(name: &str) -> Stored {
        Stored::from(delivered(|object| {
            object["metadata"]["name"] = name.into();
            object["metadata"]["uid"] = name.into();
        }))
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_connection_that_was_deleted_or_that_a_list_lacks() {
        let context = nowhere();
        let list = |names: &[&str]| {
            let objects = names.iter().map(|name| Event::InitApply(stored(name)));
            for event in [Event::Init].into_iter().chain(objects).chain([Event::InitDone]) {
                take_in(&context, Kind::Namespaced, event);
            }
        };
        list(&["stays", "deleted", "lost"]);
        let work_on = |name: &str| {
            context.memories.update(name, |memory| memory.cut_short = 3);
        };
        ["stays", "deleted", "lost"].into_iter().for_each(work_on);
        take_in(&context, Kind::Namespaced, Event::Delete(stored("deleted")));
        list(&["stays"]);
        // A pass over it was still under way.
        work_on("deleted");
        context.forget_if_gone(&stored("deleted"));
        for (name, kept) in [("stays", true), ("deleted", false), ("lost", false)] {
            assert_eq!(context.memories.recall(name).cut_short == 3, kept, "{name}");
        }
    }
}
