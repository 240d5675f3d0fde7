//! The links of a connection of the cluster.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use regcred::api::ConditionType;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use testenv::{Fault, Faults, eventually};

use super::{Wide, message, tell};
use crate::{linking::named, scenario::DEADLINE, shared::open_tables};

impl Wide {
    /// What the account `default` of each of this test's namespaces names, by the namespace's number.
    async fn named(&self) -> Result<BTreeMap<usize, Vec<String>>> {
        let all: Api<ServiceAccount> = Api::all(self.scenario.client.clone());
        let accounts = all.list(&ListParams::default().fields("metadata.name=default")).await?;
        let prefix = format!("{}-", self.scenario.namespace);
        let number = |account: &ServiceAccount| account.namespace()?.strip_prefix(&prefix)?.parse().ok();
        Ok(accounts.iter().filter_map(|account| Some((number(account)?, named(account)))).collect())
    }

    /// Waits until exactly in these of this test's namespaces the account `default` names exactly these Secrets.
    async fn until_named(&self, secrets: &[&str], numbers: &[usize]) -> Result<()> {
        eventually(format!("{secrets:?} in {numbers:?}"), DEADLINE, async || {
            let all = self.named().await?;
            let found: Vec<usize> =
                all.iter().filter(|(_, named)| *named == secrets).map(|(number, _)| *number).collect();
            if found == numbers { Ok(Some(())) } else { bail!("{all:?}") }
        })
        .await
    }

    /// The numbers of this test's namespaces that have a table, and what stands in it.
    async fn tables(&self) -> Result<BTreeMap<usize, Value>> {
        let all: Api<ConfigMap> = Api::all(self.scenario.client.clone());
        let tables = all.list(&ListParams::default().fields("metadata.name=regcred-autolink")).await?;
        let prefix = format!("{}-", self.scenario.namespace);
        let number = |table: &ConfigMap| table.namespace()?.strip_prefix(&prefix)?.parse().ok();
        Ok(tables.iter().filter_map(|table| Some((number(table)?, json!(table.data)))).collect())
    }

    async fn until_tables(&self, numbers: &[usize]) -> Result<()> {
        eventually(format!("tables in {numbers:?}"), DEADLINE, async || {
            let found: Vec<usize> = self.tables().await?.into_keys().collect();
            if found == numbers { Ok(Some(())) } else { bail!("they are in {found:?}") }
        })
        .await
    }

    /// Writes of accounts and of tables in this test's namespaces; others have left some in theirs.
    fn link_writes(&self) -> (usize, usize) {
        let prefix = format!("{}-", self.scenario.namespace);
        let count = |resource: &str| {
            self.scenario.calls.count(|call| {
                call.request.is_write()
                    && call.request.resource == resource
                    && call.request.namespace.starts_with(&prefix)
            })
        };
        (count("serviceaccounts"), count("configmaps"))
    }

    fn with_links(&self, fields: Value) -> Value {
        let mut spec = self.spec();
        json_patch::merge(&mut spec, &fields);
        spec
    }
}

fn both() -> Value {
    json!({"isDefault": true, "autoLinkPattern": "r.example/team/*"})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_is_linked_with_one_write_of_each_and_a_restart_writes_nothing() -> Result<()> {
    let mut wide = Wide::start("linked").await?;
    wide.create_namespaces(0..40).await?;
    let all: Vec<usize> = (0..40).collect();
    eventually("all accounts", DEADLINE, async || Ok((wide.named().await?.len() == 40).then_some(()))).await?;
    wide.scenario.calls.clear();
    wide.connect("images", wide.with_links(both())).await?;
    wide.until_named(&["images"], &all).await?;
    wide.until_tables(&all).await?;
    let told = wide.until("images", |now| {
        let status = now.status.clone().unwrap_or_default();
        status.linked_service_accounts == Some(40) && tell(now, ConditionType::Linked) == "True/Linked"
    });
    let told = told.await?;
    ensure!(message(&told, ConditionType::Linked)?.contains("40 ServiceAccounts name Secret images"), "{told:?}");
    wide.until_delivered_to("images", &all).await?;
    wide.at_rest().await?;
    assert_eq!(wide.link_writes(), (40, 40));
    let looks = wide.scenario.calls.count(|call| call.is("list", "secrets", ""));
    assert_eq!(looks, 1, "whose Secrets there are is looked up once: {:?}", wide.scenario.calls.all());
    let status = serde_json::to_string(&told.status)?;
    ensure!(status.len() < 4096, "{status}");

    // A namespace that comes later, and its account after it.
    wide.create_namespaces(40..41).await?;
    wide.until_named(&["images"], &(0..41).collect::<Vec<_>>()).await?;
    wide.at_rest().await?;
    wide.scenario.stop_operator().await?;
    wide.scenario.calls.clear();
    wide.scenario.start_operator().await?;
    wide.at_rest().await?;
    // What earlier tests have left behind is put in order.
    while wide.scenario.calls.quiet_for(Duration::from_secs(2)).await.is_err() {}
    assert_eq!(wide.link_writes(), (0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_follow_the_selection_and_wait_for_a_word_where_the_secret_does() -> Result<()> {
    let mut wide = Wide::start("leaves").await?;
    wide.create_namespaces(0..12).await?;
    wide.connect("images", wide.with_links(both())).await?;
    let all: Vec<usize> = (0..12).collect();
    wide.until_named(&["images"], &all).await?;
    wide.until_tables(&all).await?;
    wide.until_delivered_to("images", &all).await?;

    wide.label(1, json!({"test": null})).await?;
    wide.label(2, json!({"regcred.dev/exclude": "true"})).await?;
    let fewer: Vec<usize> = [&all[..1], &all[3..]].concat();
    wide.until_named(&["images"], &fewer).await?;
    wide.until_tables(&fewer).await?;
    wide.until_delivered_to("images", &fewer).await?;

    let only = json!({"spec": {"namespaceSelector": null, "namespaces": [wide.namespace(0)]}});
    wide.edit("images", only).await?;
    let blocked = wide.ready("images", ("True", "LoginProven"), (10, 10)).await?;
    assert_eq!(tell(&blocked, ConditionType::Delivered), "False/RemovalBlocked");
    assert_eq!(tell(&blocked, ConditionType::Linked), "True/Linked");
    wide.scenario.stop_operator().await?;
    wide.scenario.start_operator().await?;
    wide.at_rest().await?;
    wide.until_named(&["images"], &fewer).await?;
    wide.until_tables(&fewer).await?;

    let allow = json!({"metadata": {"annotations": {"regcred.dev/allow-removal-of": "9"}}});
    wide.edit("images", allow).await?;
    wide.until_named(&["images"], &[0]).await?;
    wide.until_tables(&[0]).await?;
    wide.until("images", |now| now.status.as_ref().and_then(|it| it.linked_service_accounts) == Some(1)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_for_which_there_is_no_place_is_not_linked_until_there_is() -> Result<()> {
    let wide = Wide::start("places").await?;
    wide.create_namespaces(5..8).await?;
    let mut fields = both();
    fields["maxTargets"] = 3.into();
    wide.connect("images", wide.with_links(fields)).await?;
    wide.until_named(&["images"], &[5, 6, 7]).await?;
    wide.until_delivered_to("images", &[5, 6, 7]).await?;
    wide.create_namespaces(0..2).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 5)).await?;
    wide.at_rest().await?;
    wide.until_named(&["images"], &[5, 6, 7]).await?;
    wide.label(6, json!({"test": null})).await?;
    wide.until_named(&["images"], &[0, 5, 7]).await?;
    wide.edit("images", json!({"spec": {"maxTargets": null}})).await?;
    wide.until_named(&["images"], &[0, 1, 5, 7]).await?;
    wide.until_tables(&[0, 1, 5, 7]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_connection_and_table_are_told_of_where_they_are_and_keep_nobody_else_from_links() -> Result<()> {
    let wide = Wide::start("tenants").await?;
    wide.create_namespaces(0..3).await?;
    open_tables(&wide.scenario.client, &wide.namespace(1)).await?;
    let tenant: Api<ConfigMap> = Api::namespaced(wide.scenario.client.clone(), &wide.namespace(1));
    let theirs = serde_json::from_value(json!({"metadata": {"name": "regcred-autolink"}, "data": {"x": "***"}}))?;
    tenant.create(&PostParams::default(), &theirs).await?;
    wide.connect("images", wide.with_links(both())).await?;
    wide.until_named(&["images"], &[0, 1, 2]).await?;
    let told = wide.until("images", |now| tell(now, ConditionType::Linked) == "False/LinkConflict").await?;
    let words = message(&told, ConditionType::Linked)?;
    ensure!(words.contains(&format!("in namespace {} was not made by regcred", wide.namespace(1))), "{words}");
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    assert_eq!(wide.tables().await?[&0], json!({"images": "r.example/team/*"}));

    // A foreign Secret of the name is not named there.
    let foreign = serde_json::from_value(json!({"metadata": {"name": "other"}}))?;
    wide.secrets(2).create(&PostParams::default(), &foreign).await?;
    wide.edit("images", json!({"spec": {"secret": {"name": "other"}}})).await?;
    wide.until_named(&["other"], &[0, 1]).await?;
    let named = wide.named().await?;
    ensure!(!named[&2].contains(&"other".to_owned()), "{named:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_who_rewrites_an_account_troubles_nobody_else() -> Result<()> {
    let wide = Wide::start("rewrites").await?;
    wide.create_namespaces(0..3).await?;
    wide.connect("images", wide.with_links(both())).await?;
    wide.until_named(&["images"], &[0, 1, 2]).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    wide.scenario.calls.clear();
    let account: Api<ServiceAccount> = Api::namespaced(wide.scenario.client.clone(), &wide.namespace(1));
    for _ in 0..100 {
        let patch = Patch::Merge(json!({"imagePullSecrets": [{"name": "theirs"}]}));
        account.patch("default", &PatchParams::default(), &patch).await?;
    }
    wide.until_named(&["theirs", "images"], &[1]).await?;
    let (accounts, tables) = wide.link_writes();
    ensure!(accounts <= 10 && tables == 0, "{accounts} writes of accounts, {tables} of tables");
    wide.until_named(&["images"], &[0, 2]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_namespaces_cannot_be_listed_nobody_is_unlinked_and_later_everybody_is_looked_at() -> Result<()> {
    let mut wide = Wide::start("unlisted").await?;
    wide.create_namespaces(0..3).await?;
    wide.connect("images", wide.with_links(both())).await?;
    wide.until_named(&["images"], &[0, 1, 2]).await?;
    wide.until_tables(&[0, 1, 2]).await?;
    wide.ready("images", ("True", "LoginProven"), (3, 3)).await?;
    wide.scenario.stop_operator().await?;
    let nobody = serde_json::from_value::<ServiceAccount>(json!({"metadata": {"name": "later"}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(wide.scenario.client.clone(), &wide.namespace(1));
    accounts.create(&PostParams::default(), &nobody).await?;
    wide.edit("images", json!({"spec": {"serviceAccounts": ["later"]}})).await?;

    let faults = Faults::new();
    faults.arm(1, Fault::Answer(500));
    wide.scenario.faults = Some((faults.clone(), |request| request.resource == "namespaces"));
    wide.scenario.calls.clear();
    wide.scenario.start_operator().await?;
    faults.met().await;
    eventually("what is new to be linked", DEADLINE, async || {
        Ok((named(&accounts.get("later").await?) == ["images"]).then_some(()))
    })
    .await?;
    assert_eq!(wide.link_writes(), (1, 0), "{:?}", wide.scenario.calls.writes());
    wide.until_named(&["images"], &[0, 1, 2]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_comes_and_goes_is_no_fight() -> Result<()> {
    let wide = Wide::start("flaps").await?;
    wide.create_namespaces(0..2).await?;
    wide.connect("images", wide.with_links(both())).await?;
    wide.until_named(&["images"], &[0, 1]).await?;
    for _ in 0..5 {
        wide.label(1, json!({"test": null})).await?;
        wide.until_named(&["images"], &[0]).await?;
        wide.until_tables(&[0]).await?;
        wide.label(1, wide.labels()).await?;
        wide.until_named(&["images"], &[0, 1]).await?;
        wide.until_tables(&[0, 1]).await?;
    }
    wide.at_rest().await?;
    wide.until("images", |now| tell(now, ConditionType::Linked) == "True/Linked").await?;
    Ok(())
}
