//! The rights in the chart are the ones that are used: all of them are needed, and no other is.

use std::{
    collections::BTreeSet,
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Result, ensure};
use futures::{StreamExt, future::try_join_all, stream};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role},
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    client::ClientBuilder,
};
use regcred::{
    api::ClusterRegistryConnection,
    clock::Clock,
    leader::{Candidate, Installation, Leadership, State, Tenure},
};
use serde_json::json;
use testenv::{Call, Calls, Fault, Faults, eventually};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, WRONG, secure, shared};

/// A minute passes in three seconds.
const SPEED: u32 = 20;

/// One verb of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    /// With its subresource, as in a rule.
    resource: String,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.verb, self.group, self.resource)
    }
}

impl Right {
    fn new(group: &str, resource: &str, subresource: &str, verb: &str) -> Self {
        let slash = if subresource.is_empty() { "" } else { "/" };
        Self { group: group.into(), resource: format!("{resource}{slash}{subresource}"), verb: verb.into() }
    }

    /// What it took to send a request.
    fn of(call: &Call) -> Self {
        let request = &call.request;
        Self::new(&request.group, &request.resource, &request.subresource, request.verb)
    }

    /// These rules without it.
    fn taken_from(&self, rules: &[PolicyRule]) -> Vec<PolicyRule> {
        let each = rules.iter().flat_map(|rule| {
            let resources = rule.resources.iter().flatten();
            resources.map(|resource| PolicyRule { resources: Some(vec![resource.clone()]), ..rule.clone() })
        });
        each.map(|mut rule| {
            let is_it = rule.resources == Some(vec![self.resource.clone()])
                && rule.api_groups.iter().flatten().any(|group| *group == self.group);
            if is_it {
                rule.verbs.retain(|verb| *verb != self.verb);
            }
            rule
        })
        .filter(|rule| !rule.verbs.is_empty())
        .collect()
    }
}

/// The rights in these rules.
fn rights(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let all = rules.iter().flat_map(|rule| {
        rule.api_groups.iter().flatten().flat_map(move |group| {
            rule.resources.iter().flatten().flat_map(move |resource| {
                let right =
                    move |verb: &String| Right { group: group.clone(), resource: resource.clone(), verb: verb.clone() };
                rule.verbs.iter().map(right)
            })
        })
    });
    all.collect()
}

/// The rules of the chart: everywhere, and in the operator's own namespace.
async fn rules() -> Result<(Vec<PolicyRule>, Vec<PolicyRule>)> {
    let shared = shared().await?;
    let client = shared.plane.client()?;
    let everywhere = Api::<ClusterRole>::all(client.clone()).get("regcred-operator").await?;
    let own = Api::<Role>::namespaced(client, "regcred-system").get("regcred-operator").await?;
    Ok((everywhere.rules.unwrap_or_default(), own.rules.unwrap_or_default()))
}

/// Makes an account in a namespace that has these rights, everywhere, and waits until the API server knows.
async fn grant(client: &Client, namespace: &str, rules: Vec<PolicyRule>) -> Result<()> {
    let name = format!("{namespace}-limited");
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "limited"}}))?;
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &account).await?;
    let known = rights(&rules).into_iter().find(|right| right.resource == "events");
    let role: ClusterRole = serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
    Api::all(client.clone()).create(&PostParams::default(), &role).await?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "limited"}],
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &binding).await?;
    let Some(known) = known else { return Ok(()) };
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
        "user": format!("system:serviceaccount:{namespace}:limited"),
        "resourceAttributes": {
            "namespace": namespace, "group": known.group, "resource": known.resource, "verb": known.verb,
        },
    }}))?;
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    eventually("the rights to be known", DEADLINE, async || {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed).then_some(()))
    })
    .await
}

/// The rights that an operator was found to lack.
fn lacking(calls: &Calls) -> BTreeSet<Right> {
    calls.all().iter().filter(|call| call.status == Some(403)).map(Right::of).collect()
}

/// The rights that the API server saw used in a scenario. It tells of a watch when that has ended.
async fn used(namespace: &str) -> Result<BTreeSet<Right>> {
    let account = format!("system:serviceaccount:{namespace}:limited");
    let events = shared().await?.plane.audit_events(&account)?;
    let own = events.iter().filter(|event| event.user.username == account && !event.object_ref.resource.is_empty());
    let rights = own
        .map(|event| (&event.object_ref, &event.verb))
        .map(|(object, verb)| Right::new(&object.api_group, &object.resource, &object.subresource, verb));
    Ok(rights.collect())
}

/// Lets an operator do everything that it can do, under these rights.
async fn tour(scenario: &mut Scenario, is_streaming: bool) -> Result<()> {
    let faults = Faults::new();
    scenario.faults =
        Some((faults.clone(), |request| request.verb == "patch" && request.resource == "serviceaccounts"));
    // Somebody else was faster, which only a look at the account can tell.
    faults.arm(1, Fault::Answer(409));
    scenario.refused = (!is_streaming).then_some(|uri| uri.query().is_some_and(|query| query.contains("sendInitial")));
    scenario.arguments.namespace.clone_from(&scenario.namespace);
    scenario.set_speed(SPEED);
    scenario.act_as("limited").await?;

    let spec = scenario.account_at(secure().await?).await?;
    let with = |fields: serde_json::Value| {
        let mut spec = spec.clone();
        json_patch::merge(&mut spec, &fields);
        spec
    };
    let linked = json!({"isDefault": true, "autoLinkPattern": "r.example/*"});
    scenario.connect("images", with(linked)).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.until_linked("images", "True/Linked").await?;
    scenario.connect("more", with(json!({"autoLinkPattern": "r.example/more/*"}))).await?;
    scenario.until_linked("more", "True/Linked").await?;

    // What it wrote changes, by itself and by others.
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"a": "b"}}}})).await?;
    scenario.until_secret("images", |secret| has_label(secret, "a")).await?;
    scenario.edit_secret("images", json!({"metadata": {"labels": null}})).await?;
    scenario.until_secret("images", |secret| has_label(secret, "a")).await?;
    // What others put beside it stays, so it is not written as a whole.
    scenario
        .edit_secret("images", json!({"metadata": {"labels": {"theirs": "x"}}, "stringData": {"theirs": "x"}}))
        .await?;
    scenario.edit("images", json!({"spec": {"secret": {"labels": {"b": "c"}}}})).await?;
    scenario.until_secret("images", |secret| has_label(secret, "b")).await?;

    // The same is told twice.
    for password in [WRONG, PASSWORD, WRONG, PASSWORD] {
        scenario.write_login("login", password).await?;
        let (status, reason) =
            if password == WRONG { ("False", "InvalidCredentials") } else { ("True", "LoginProven") };
        scenario.ready("images", status, reason).await?;
    }

    // A connection of the cluster comes and goes.
    let kind = ApiResource::erase::<ClusterRegistryConnection>(&());
    let wide: Api<DynamicObject> = Api::all_with(scenario.client.clone(), &kind);
    let name = scenario.namespace.as_str();
    let host = scenario.shared.registry.host();
    let source = json!({"metadata": {"labels": {"regcred.dev/source": "true"},
        "annotations": {"regcred.dev/registry-host": host}}});
    scenario.write_login("wide", PASSWORD).await?;
    scenario.edit_secret("wide", source).await?;
    let connection = serde_json::from_value(json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "ClusterRegistryConnection", "metadata": {"name": name},
        "spec": {
            "provider": {"generic": {"registryUrl": format!("http://{host}"), "secretRef": {"name": "wide"}}},
            "visibility": "Selected", "namespaces": [name], "secret": {"name": "of-the-cluster"},
        },
    }))?;
    wide.create(&PostParams::default(), &connection).await?;
    scenario.until_secret("of-the-cluster", |_| true).await?;
    eventually("its status", DEADLINE, async || {
        Ok(wide.get(name).await?.data["status"]["lastSuccessAt"].is_string().then_some(()))
    })
    .await?;
    wide.delete(name, &Default::default()).await?;
    scenario.until_gone("of-the-cluster").await?;

    for name in ["images", "more"] {
        scenario.disconnect(name).await?;
    }
    for name in ["images", "more"] {
        scenario.until_gone(name).await?;
    }
    eventually("the table to go", DEADLINE, async || {
        Ok(scenario.config_maps().get_opt("regcred-autolink").await?.is_none().then_some(()))
    })
    .await
}

fn has_label(secret: &k8s_openapi::api::core::v1::Secret, name: &str) -> bool {
    secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(name))
}

/// The same for who leads.
async fn election(scenario: &Scenario, client: Client, calls: &Calls) -> Result<()> {
    let leadership = Leadership::following();
    let installation = Installation { namespace: scenario.namespace.clone(), name: "regcred".into() };
    let candidate = Candidate { installation, identity: "limited".into() };
    let tenure = Tenure::new(client, candidate, Clock::system(), leadership.clone());
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(scenario.client.clone(), &scenario.namespace);
    let story = async {
        leadership.begins().await;
        // Somebody touches the lease, so that the next renewal comes too late.
        let touch = Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}}));
        leases.patch("regcred", &PatchParams::default(), &touch).await?;
        let renewals = || calls.count(|call| call.is("update", "leases", "") && call.status == Some(200));
        let so_far = renewals();
        eventually("another renewal", DEADLINE, async || Ok((renewals() > so_far).then_some(()))).await?;
        ensure!(matches!(leadership.state(), State::Leading { .. }));
        Ok(())
    };
    tokio::select! {
        result = story => result,
        lost = tenure.run() => Err(lost.into()),
    }
}

/// A tour and an election under these rights; where, and what they were found to lack. They end once that is `awaited`.
async fn lacks(
    name: &str,
    rules: Vec<PolicyRule>,
    awaited: Option<&Right>,
    is_streaming: bool,
) -> Result<(String, BTreeSet<Right>)> {
    let mut scenario = Scenario::prepare(name).await?;
    grant(&scenario.client, &scenario.namespace, rules).await?;
    scenario.open_tables().await?;
    let calls = scenario.calls.clone();
    let found = async || {
        let Some(awaited) = awaited else { return std::future::pending().await };
        eventually("a request that was refused", Duration::MAX, async || {
            Ok(lacking(&calls).contains(awaited).then_some(()))
        })
        .await
    };
    if awaited.is_none_or(|right| right.resource == "leases") {
        let config = scenario.shared.plane.service_account_config(&scenario.namespace, "limited").await?;
        let builder = ClientBuilder::try_from(config)?;
        let confined = testenv::Confine::to(&scenario.namespace, &["leases"]);
        let mut client = builder.with_layer(&confined).with_layer(&calls).build();
        if !is_streaming {
            let is_streamed = |uri: &http::Uri| uri.query().is_some_and(|query| query.contains("sendInitial"));
            client = crate::refusing::refusing(client, is_streamed);
        }
        tokio::select! {
            result = election(&scenario, client, &calls) => result?,
            result = found() => result?,
        }
    }
    if awaited.is_none_or(|right| right.resource != "leases") {
        tokio::select! {
            result = tour(&mut scenario, is_streaming) => result?,
            result = found() => result?,
        }
    }
    scenario.kill_operator().await;
    Ok((scenario.namespace.clone(), lacking(&calls)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_of_all_it_does_shows_the_rights_of_the_chart_and_nothing_refused() -> Result<()> {
    let (everywhere, own) = rules().await?;
    let rules = [everywhere, own].concat();
    // Lists come as streams, or page by page where the API server does not stream them.
    let tours = try_join_all(
        [("rights", true), ("rights-in-pages", false)].map(|(name, streams)| lacks(name, rules.clone(), None, streams)),
    );
    let tours = tours.await?;
    ensure!(tours.iter().all(|(_, lacking)| lacking.is_empty()), "{tours:?}");
    let granted = rights(&rules);
    eventually("the audit log to tell all", DEADLINE, async || {
        let mut seen = BTreeSet::new();
        for (namespace, _) in &tours {
            seen.extend(used(namespace).await?);
        }
        let (unused, besides): (Vec<_>, Vec<_>) =
            (granted.difference(&seen).collect(), seen.difference(&granted).collect());
        ensure!(unused.is_empty() && besides.is_empty(), "granted and not used: {unused:?}; used besides: {besides:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_single_verb_of_the_chart_is_needed_and_none_is_a_wildcard() -> Result<()> {
    let (everywhere, own) = rules().await?;
    let rules = [everywhere, own].concat();
    let all = rights(&rules);
    ensure!(all.iter().all(|right| ![&right.group, &right.resource, &right.verb].into_iter().any(|part| part == "*")));
    let done = AtomicUsize::new(0);
    let wrong: Vec<String> = stream::iter(&all)
        .map(async |right| {
            let name = format!("without-{}", done.fetch_add(1, Ordering::Relaxed));
            match lacks(&name, right.taken_from(&rules), Some(right), right.verb != "list").await {
                Ok((_, lacking)) if lacking.contains(right) => None,
                Ok(_) => Some(format!("{right} is never used")),
                Err(error) => Some(format!("{right} was not missed, but: {error:#}")),
            }
        })
        .buffer_unordered(6)
        .filter_map(std::future::ready)
        .collect()
        .await;
    println!("{} rights, each taken away once", all.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
