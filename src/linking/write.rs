//! Writes to ServiceAccounts and tables, and what the API server answers. IO.

use json_patch::Patch as JsonPatch;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use tokio::time::timeout;

use super::place::Table;
use crate::{
    api::names::{FIELD_MANAGER, TABLE},
    controller::{Context, apply::ANSWER, remove::is_decision, secret_meta::ObjectKey},
    metrics::{LinkedObject, WriteResult},
};

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It is done.
    Done,
    /// The object is another than was thought; what it is now is known.
    Changed,
    /// The API server decided against it.
    Denied,
    /// It gave no decision.
    Undecided,
}

/// Changes a ServiceAccount.
pub async fn account(context: &Context, key: &ObjectKey, patch: JsonPatch) -> Wrote {
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &key.namespace);
    let written = async {
        match accounts.patch(&key.name, &patch_parameters(), &Patch::<ServiceAccount>::Json(patch)).await {
            Ok(account) => {
                context.index.learn_service_account(account);
                Wrote::Done
            }
            Err(error) => match doubt(&error) {
                Doubt::Object => match accounts.get_opt(&key.name).await {
                    Ok(Some(account)) => {
                        context.index.learn_service_account(account);
                        Wrote::Changed
                    }
                    Ok(None) => {
                        context.index.service_account_went(key);
                        Wrote::Changed
                    }
                    Err(_) => Wrote::Undecided,
                },
                Doubt::Decision => Wrote::Denied,
                Doubt::None => Wrote::Undecided,
            },
        }
    };
    let wrote = timeout(ANSWER, written).await.unwrap_or(Wrote::Undecided);
    count(context, LinkedObject::ServiceAccount, wrote);
    wrote
}

/// Makes the table of a namespace.
pub async fn create_table(context: &Context, namespace: &str, table: &ConfigMap) -> Wrote {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let tables: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    settle(context, namespace, async { tables.create(&parameters, table).await.map(Some) }).await
}

/// Changes the table of a namespace.
pub async fn patch_table(context: &Context, namespace: &str, patch: JsonPatch) -> Wrote {
    let tables: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let patch = Patch::<ConfigMap>::Json(patch);
    settle(context, namespace, async { tables.patch(TABLE, &patch_parameters(), &patch).await.map(Some) }).await
}

/// Takes the table of a namespace away, if it still is what it was.
pub async fn delete_table(context: &Context, namespace: &str, table: &Table) -> Wrote {
    let tables: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let (uid, version) = (table.uid.to_string(), table.resource_version.to_string());
    let preconditions = Preconditions { uid: Some(uid), resource_version: Some(version) };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    settle(context, namespace, async { tables.delete(TABLE, &parameters).await.map(|_| None) }).await
}

/// Takes in what a write of a table came to: the table as it is then, or none.
async fn settle(
    context: &Context,
    namespace: &str,
    write: impl Future<Output = Result<Option<ConfigMap>, kube::Error>>,
) -> Wrote {
    let tables: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let written = async {
        match write.await {
            Ok(Some(table)) => {
                context.index.learn_table(table, true);
                Wrote::Done
            }
            Ok(None) => {
                context.index.table_removed(namespace);
                Wrote::Done
            }
            Err(error) => match doubt(&error) {
                Doubt::Object => match tables.get_opt(TABLE).await {
                    Ok(Some(table)) => {
                        context.index.learn_table(table, false);
                        Wrote::Changed
                    }
                    Ok(None) => {
                        context.index.table_removed(namespace);
                        Wrote::Changed
                    }
                    Err(_) => Wrote::Undecided,
                },
                Doubt::Decision => Wrote::Denied,
                Doubt::None => Wrote::Undecided,
            },
        }
    };
    let wrote = timeout(ANSWER, written).await.unwrap_or(Wrote::Undecided);
    count(context, LinkedObject::ConfigMap, wrote);
    wrote
}

fn patch_parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// What an answer other than the object says.
enum Doubt {
    /// The object is not what was thought: worth a look.
    Object,
    /// No.
    Decision,
    /// Nothing.
    None,
}

fn doubt(error: &kube::Error) -> Doubt {
    let kube::Error::Api(status) = error else { return Doubt::None };
    let status: &Status = status;
    if status.is_conflict() || status.is_already_exists() || status.is_not_found() {
        Doubt::Object
    } else if is_decision(status) {
        Doubt::Decision
    } else {
        Doubt::None
    }
}

fn count(context: &Context, object: LinkedObject, wrote: Wrote) {
    let result = match wrote {
        Wrote::Done => WriteResult::Written,
        Wrote::Changed => WriteResult::Conflict,
        Wrote::Denied => WriteResult::Denied,
        Wrote::Undecided => WriteResult::Failed,
    };
    context.metrics.link_write(object, result);
}
