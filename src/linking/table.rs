//! The table of a namespace: which Secrets go with which images, as the admission policy reads it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use super::{
    claims::{Claims, Holders},
    leaving::{Claim, Released, claims_of},
    place::{Content, Table},
    wanted::Row,
};
use crate::{
    api::names::{FIELD_MANAGER, LINKS_ANNOTATION, MANAGED_BY_LABEL, NAMESPACE_ANNOTATION, TABLE, TABLE_EXCLUDED},
    domain::{image_pattern::ImagePattern, reference::ConnectionReference},
};

/// The most that a table holds, in bytes; the API server takes twice as much.
const MAX_TABLE: usize = 512 * 1024;

/// What is to become of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// It is as it should be.
    Nothing,
    /// It is to be made.
    Create(Box<ConfigMap>),
    /// It is to be changed, if it still is as it was when this was planned; to hold this.
    Patch(Patch, BTreeMap<String, String>),
    /// It is to go, if it still is as it was: nothing stands in it, or it can never be as it should.
    Delete,
    /// It is somebody else's.
    Foreign,
    /// What would stand in it is too much. One that there is goes: it would let Pods be linked that are not to be.
    TooLarge,
}

impl Plan {
    /// What stands in the table then; none if there is none.
    pub fn data(&self) -> Option<BTreeMap<String, String>> {
        match self {
            Self::Create(table) => table.data.clone(),
            Self::Patch(_, data) => Some(data.clone()),
            Self::Nothing | Self::Delete | Self::Foreign | Self::TooLarge => None,
        }
    }
}

/// Whether a table leaves out all these ServiceAccounts, or links no Pod at all.
pub fn leaves_out(table: Option<&Table>, restricted: &BTreeSet<Arc<str>>) -> bool {
    let Some(table) = table.filter(|table| table.content.is_ours) else { return true };
    let listed = table.content.data.get(TABLE_EXCLUDED).map(String::as_str).unwrap_or_default();
    let listed: BTreeSet<&str> = listed.split('\n').collect();
    restricted.iter().all(|account| listed.contains(account.as_ref()))
}

/// What is to become of the table of a namespace. `restricted` are the ServiceAccounts whose Pods get nothing by their images.
pub fn plan(
    namespace: &str,
    table: Option<&Table>,
    wanted: &BTreeMap<String, Row>,
    restricted: &BTreeSet<Arc<str>>,
    released: &BTreeMap<String, Released>,
) -> Plan {
    let nothing = Content::default();
    let content = table.map_or(&nothing, |table| table.content.as_ref());
    let rows = rows(content, wanted, released);
    if table.is_some() && !content.is_ours {
        return if rows.is_empty() { Plan::Nothing } else { Plan::Foreign };
    }
    let claims = Claims(rows.iter().map(|(secret, row)| (secret.clone(), row.holders.clone())).collect());
    let data = data(rows, restricted);
    if !claims.fit() || data.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_TABLE {
        return Plan::TooLarge;
    }
    match table {
        None if data.is_empty() => Plan::Nothing,
        None => Plan::Create(Box::new(object(namespace, data, &claims))),
        Some(_) if data.is_empty() || content.is_immutable => Plan::Delete,
        Some(_) if content.data == data && content.claims == claims => Plan::Nothing,
        Some(table) => Plan::Patch(patch(table, &data, &claims), data),
    }
}

/// The rows of the table as it should be: those that are wanted, and those of connections that have not let go of theirs.
fn rows(
    content: &Content,
    wanted: &BTreeMap<String, Row>,
    released: &BTreeMap<String, Released>,
) -> BTreeMap<String, Row> {
    let mut rows = wanted.clone();
    for secret in content.claims.0.keys() {
        let is_wanted =
            |reference: &ConnectionReference| wanted.get(secret).is_some_and(|row| row.holders.contains_key(reference));
        let is_released = |claim: &Claim| released.get(secret).is_some_and(|released| released.contains(claim));
        let kept = claims_of(&content.claims, secret);
        let kept: Holders = kept
            .filter(|claim| !is_wanted(&claim.reference) && !is_released(claim))
            .map(|claim| (claim.reference, claim.created))
            .collect();
        if kept.is_empty() {
            continue;
        }
        let lines = content.data.get(secret).map(String::as_str).unwrap_or_default().split('\n');
        // Somebody may have written into it what is no pattern.
        let lines: Vec<String> = lines.filter(|line| ImagePattern::parse(line).is_ok()).map(str::to_owned).collect();
        if !lines.is_empty() {
            let row = rows.entry(secret.clone()).or_default();
            row.holders.extend(kept);
            row.patterns.extend(lines);
        }
    }
    rows
}

fn data(rows: BTreeMap<String, Row>, restricted: &BTreeSet<Arc<str>>) -> BTreeMap<String, String> {
    let lines = |all: Vec<&str>| all.join("\n");
    let mut data: BTreeMap<String, String> = rows
        .into_iter()
        .map(|(secret, row)| (secret, lines(row.patterns.iter().map(String::as_str).collect())))
        .collect();
    if !data.is_empty() && !restricted.is_empty() {
        data.insert(TABLE_EXCLUDED.to_owned(), lines(restricted.iter().map(AsRef::as_ref).collect()));
    }
    data
}

fn object(namespace: &str, data: BTreeMap<String, String>, claims: &Claims) -> ConfigMap {
    let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(TABLE.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(MANAGED_BY_LABEL, FIELD_MANAGER)].map(own).into()),
            annotations: Some(
                [(NAMESPACE_ANNOTATION, namespace), (LINKS_ANNOTATION, &claims.text().unwrap_or_default())]
                    .map(own)
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// With another resourceVersion the API server answers 409.
fn patch(table: &Table, data: &BTreeMap<String, String>, claims: &Claims) -> Patch {
    let pointer = |path: &[&str]| PointerBuf::from_tokens(path.iter().copied());
    let add = |path: &[&str], value| PatchOperation::Add(AddOperation { path: pointer(path), value });
    Patch(vec![
        PatchOperation::Replace(ReplaceOperation {
            path: pointer(&["metadata", "resourceVersion"]),
            value: table.resource_version.as_ref().into(),
        }),
        add(&["data"], json!(data)),
        // It has annotations, or it would not be ours.
        add(&["metadata", "annotations", LINKS_ANNOTATION], claims.text().unwrap_or_default().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linking::fixture::holders;

    fn wanted(rows: &[(&str, &[&str])]) -> BTreeMap<String, Row> {
        let row = |secret: &str, patterns: &[&str]| Row {
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            holders: holders(secret),
        };
        rows.iter().map(|(secret, patterns)| ((*secret).to_owned(), row(secret, patterns))).collect()
    }

    fn released(secret: &str) -> BTreeMap<String, Released> {
        let claims = holders(secret).into_iter().map(|(reference, created)| Claim { reference, created });
        [(secret.to_owned(), claims.collect())].into()
    }

    /// A table as it was made for these rows.
    fn made(rows: &[(&str, &[&str])]) -> Table {
        let rows = wanted(rows);
        let claims = Claims(rows.iter().map(|(secret, row)| (secret.clone(), row.holders.clone())).collect());
        let content = Content { data: data(rows, &BTreeSet::new()), claims, is_ours: true, is_immutable: false };
        Table { uid: "u".into(), resource_version: "7".into(), content: Arc::new(content), losses: None }
    }

    fn planned(table: Option<&Table>, rows: &[(&str, &[&str])], released: &BTreeMap<String, Released>) -> Plan {
        plan("shop", table, &wanted(rows), &BTreeSet::new(), released)
    }

    /// The data of a table after its plan.
    fn after(table: Option<&Table>, plan: Plan) -> BTreeMap<String, String> {
        match plan {
            Plan::Create(made) => made.data.unwrap(),
            Plan::Patch(patch, _) => {
                let content = &table.unwrap().content;
                let mut object = json!({
                    "metadata": {"resourceVersion": "6", "annotations": {NAMESPACE_ANNOTATION: "shop"}}, "data": content.data,
                });
                json_patch::patch(&mut object, &patch).unwrap();
                assert_eq!(object["metadata"]["resourceVersion"], "7");
                serde_json::from_value(object["data"].clone()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_table_is_made_changed_and_taken_away_with_what_stands_in_it() {
        let none = BTreeMap::new();
        assert_eq!(planned(None, &[], &none), Plan::Nothing);
        let first = after(None, planned(None, &[("a", &["r.example/b", "r.example/a"])], &none));
        assert_eq!(first["a"], "r.example/a\nr.example/b", "in order");
        let table = made(&[("a", &["r.example/a"])]);
        assert_eq!(planned(Some(&table), &[("a", &["r.example/a"])], &none), Plan::Nothing);
        let changed = after(Some(&table), planned(Some(&table), &[("a", &["r.example/c"])], &none));
        assert_eq!(changed, BTreeMap::from([("a".to_owned(), "r.example/c".to_owned())]));
        assert_eq!(planned(Some(&table), &[], &none), Plan::Nothing, "nobody let go of it");
        assert_eq!(planned(Some(&table), &[], &released("a")), Plan::Delete);
        let both = after(Some(&table), planned(Some(&table), &[("b", &["r.example/b"])], &none));
        assert_eq!(both.keys().collect::<Vec<_>>(), ["a", "b"]);
        let other = after(Some(&table), planned(Some(&table), &[("b", &["r.example/b"])], &released("a")));
        assert_eq!(other.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn what_somebody_else_wrote_into_it_is_put_right() {
        let none = BTreeMap::new();
        let mut table = made(&[("a", &["r.example/a"]), ("b", &["r.example/b"])]);
        let content = Arc::make_mut(&mut table.content);
        content.data.insert("a".into(), "^.{1000}$".into());
        content.data.insert("b".into(), "r.example/b\n^.{1000}$".into());
        content.data.insert("theirs".into(), "**".into());
        let mended = after(Some(&table), planned(Some(&table), &[("a", &["r.example/a"])], &none));
        let expected = [("a", "r.example/a"), ("b", "r.example/b")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(mended, BTreeMap::from(expected));
    }

    #[test]
    fn one_of_somebody_else_is_left_alone() {
        let mut table = made(&[("a", &["r.example/a"])]);
        table.content = Arc::default();
        assert_eq!(planned(Some(&table), &[("a", &["r.example/a"])], &BTreeMap::new()), Plan::Foreign);
        assert_eq!(planned(Some(&table), &[], &BTreeMap::new()), Plan::Nothing);
    }

    #[test]
    fn accounts_that_allow_only_their_own_secrets_are_left_out_and_too_many_of_them_end_it() {
        let rows = wanted(&[("a", &["r.example/a"])]);
        let with = |restricted: BTreeSet<Arc<str>>| plan("shop", None, &rows, &restricted, &BTreeMap::new());
        let few = after(None, with(["x".into(), "b".into()].into()));
        assert_eq!(few[TABLE_EXCLUDED], "b\nx");
        let many = (0..10_000).map(|number| Arc::from(format!("{number:060}"))).collect();
        assert_eq!(with(many), Plan::TooLarge);
    }

    #[test]
    fn one_that_cannot_be_changed_is_made_anew() {
        let mut table = made(&[("a", &["r.example/a"])]);
        Arc::make_mut(&mut table.content).is_immutable = true;
        assert_eq!(planned(Some(&table), &[("a", &["r.example/b"])], &BTreeMap::new()), Plan::Delete);
    }
}
