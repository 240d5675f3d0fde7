//! Looks for Secrets of which nobody knows whether they exist: one that is somebody else's is never named. IO.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams, core::PartialObjectMeta};

use super::place::{Asking, Naming, Place};
use crate::{
    controller::{
        Context,
        api_failure::ApiFailure,
        mapper,
        secret_meta::{ObjectKey, SecretMeta},
        sighting::SecretState,
    },
    domain::reference::Kind,
};

/// How many are asked for at once.
const PAGE: u32 = 500;

/// Finds out what is not known of the Secrets that are to be named in a namespace; those of a connection of the cluster are looked
/// for everywhere at once.
///
/// # Errors
/// The API server did not answer, or does not let us look; trying again may help.
pub async fn survey(context: &Context, namespace: &str, place: &Place) -> Result<(), ApiFailure> {
    for Asking { wish, .. } in place.asking.iter().filter(|asking| asking.secret == Naming::Unknown) {
        match wish.connection.reference.kind() {
            Kind::Namespaced => one(context, namespace, &wish.secret).await?,
            Kind::Cluster => {
                // Many namespaces ask the same.
                let _turn = context.linking.surveys.lock().await;
                if !context.index.is_surveyed(&wish.secret) {
                    everywhere(context, &wish.secret).await?;
                }
            }
        }
    }
    Ok(())
}

async fn one(context: &Context, namespace: &str, name: &str) -> Result<(), ApiFailure> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = secrets.get_metadata_opt(name).await?;
    let key = ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
    context.index.learn(&key, found.map_or(SecretState::Absent, state));
    Ok(())
}

async fn everywhere(context: &Context, name: &str) -> Result<(), ApiFailure> {
    let secrets: Api<Secret> = Api::all(context.client.clone());
    let mut parameters = ListParams::default().fields(&format!("metadata.name={name}")).limit(PAGE);
    loop {
        let page = secrets.list_metadata(&parameters).await?;
        for secret in page.items.into_iter().filter(|secret| secret.name_any() == name) {
            context.index.learn(&mapper::key_of(&secret.metadata), state(secret));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    context.index.surveyed(name);
    Ok(())
}

fn state(secret: PartialObjectMeta<Secret>) -> SecretState {
    SecretState::Present(SecretMeta::from_metadata(&secret.metadata).into())
}
