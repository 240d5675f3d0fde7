//! Connections that use the same login at the same place share its tests, and no account is locked because there are many.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use regcred::api::{Reason, RegistryConnection, status::LastTest};
use serde_json::{Value, json};
use testenv::{Listener, Reply, certificates::Authority, eventually};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, Secure, WRONG, is_ready, secure, tell_all};

/// How many connections share a login.
const MANY: usize = 10;

fn name(number: usize) -> String {
    format!("images-{number}")
}

/// Creates many connections that differ by their name only.
async fn connect_many(scenario: &Scenario, spec: &Value) -> Result<()> {
    for number in 0..MANY {
        scenario.connect(&name(number), spec.clone()).await?;
    }
    Ok(())
}

async fn all_ready(scenario: &Scenario, status: &str, reason: &str) -> Result<Vec<RegistryConnection>> {
    let mut connections = vec![];
    for number in 0..MANY {
        connections.push(scenario.ready(&name(number), status, reason).await?);
    }
    Ok(connections)
}

fn last_test(connection: &RegistryConnection) -> Option<LastTest> {
    connection.status.as_ref()?.last_test.clone()
}

/// The times of the tests that the connections name.
fn test_times(connections: &[RegistryConnection]) -> BTreeSet<Timestamp> {
    connections.iter().filter_map(|connection| Some(last_test(connection)?.time.0)).collect()
}

/// A door that asks for Basic authentication, and `reply` for who brings a login.
fn door(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Result<Listener> {
    Listener::plain(move |seen| match seen.basic() {
        None => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some((_, password)) => reply(&password),
    })
}

fn logins(registry: &Listener) -> usize {
    registry.requests().iter().filter(|seen| seen.basic().is_some()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_password_in_many_connections_is_one_failed_login_and_the_right_one_is_one_good_login() -> Result<()>
{
    let scenario = Scenario::start("many").await?;
    scenario.write_login("login", WRONG).await?;
    connect_many(&scenario, &scenario.spec()).await?;
    let refused = all_ready(&scenario, "False", "InvalidCredentials").await?;
    assert_eq!((scenario.good_logins()?, scenario.failed_logins()?), (0, 1));
    assert_eq!(test_times(&refused).len(), 1, "all of them name the one test there was");
    for connection in &refused {
        let test = last_test(connection).context("no test")?;
        assert_eq!(test.refused_since.as_ref(), Some(&test.time));
    }

    scenario.write_login("login", PASSWORD).await?;
    let healed = all_ready(&scenario, "True", "LoginProven").await?;
    assert_eq!((scenario.good_logins()?, scenario.failed_logins()?), (1, 1));
    assert_eq!(test_times(&healed).len(), 1);
    for connection in &healed {
        let (test, status) = (last_test(connection).context("no test")?, connection.status.clone().unwrap_or_default());
        assert_eq!(test.refused_since, None);
        assert!(status.last_refresh_at.as_ref() >= Some(&test.time), "refreshed with it, not before");
        assert!(status.next_refresh_at > status.last_refresh_at);
    }
    let next: BTreeSet<_> = healed.iter().map(|one| one.status.as_ref().map(|s| &s.next_refresh_at)).collect();
    assert!(next.len() > 1, "each at a time of its own");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_password_in_many_connections_locks_no_account_at_a_token_server() -> Result<()> {
    let scenario = Scenario::start("unlocked").await?;
    let secure = secure().await?;
    let spec = scenario.account_at(secure).await?;
    scenario.write_login("login", WRONG).await?;
    connect_many(&scenario, &spec).await?;
    all_ready(&scenario, "False", "InvalidCredentials").await?;
    let user = &scenario.namespace;
    assert_eq!((secure.tokens.logins(user), secure.tokens.failed_logins(user)), (0, 1));
    assert!(!secure.tokens.is_locked(user));

    scenario.write_login("login", PASSWORD).await?;
    all_ready(&scenario, "True", "LoginProven").await?;
    assert_eq!((secure.tokens.logins(user), secure.tokens.failed_logins(user)), (1, 1));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_cost_one_login_per_interval_and_each_is_refreshed_at_its_own_time() -> Result<()> {
    // Five minutes pass in five seconds.
    let mut scenario = Scenario::start_fast("per-interval", 60).await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut spec = scenario.spec();
    spec["refreshIntervalMinutes"] = 5.into();
    connect_many(&scenario, &spec).await?;
    all_ready(&scenario, "True", "LoginProven").await?;
    let refreshes = |name: &str| {
        let seen = scenario.seen.of(name);
        seen.iter().filter_map(|seen| seen.status.clone()?.last_refresh_at).collect::<BTreeSet<_>>().len()
    };
    eventually("four refreshes of each", DEADLINE, async || {
        Ok((0..MANY).all(|number| refreshes(&name(number)) >= 4).then_some(()))
    })
    .await?;
    scenario.stop_operator().await?;

    let all: Vec<RegistryConnection> = (0..MANY).flat_map(|number| scenario.seen.of(&name(number))).collect();
    let tests = test_times(&all);
    assert_eq!(scenario.good_logins()?, tests.len(), "every status names a login there was");
    let passed = tests.last().zip(tests.first()).map(|(last, first)| last.duration_since(*first).as_mins());
    let intervals = passed.unwrap_or_default() / 5;
    // Twice as many is what a first interval that is cut in half, and a late pass, can make of it; apart they would be ten
    // times as many.
    assert!(i64::try_from(tests.len())? <= 2 * intervals + 2, "{} logins in {intervals} intervals", tests.len());
    for number in 0..MANY {
        let statuses = scenario.seen.of(&name(number)).into_iter().filter_map(|seen| seen.status);
        let statuses: Vec<_> = statuses.filter(|status| status.last_test.is_some()).collect();
        for (before, after) in statuses.iter().zip(statuses.iter().skip(1)) {
            let is_refreshed = before.last_refresh_at != after.last_refresh_at;
            assert!(!is_refreshed || after.last_refresh_at >= before.next_refresh_at, "not before the promised time");
            assert!(after.last_refresh_at.as_ref() >= after.last_test.as_ref().map(|test| &test.time));
            assert!(after.next_refresh_at > after.last_refresh_at);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_in_many_connections_is_tried_by_one_every_half_hour() -> Result<()> {
    // Half an hour passes in three seconds.
    let mut scenario = Scenario::start_fast("half-hour", 600).await?;
    scenario.write_login("login", WRONG).await?;
    connect_many(&scenario, &scenario.spec()).await?;
    all_ready(&scenario, "False", "InvalidCredentials").await?;
    let times = |name: &str| test_times(&scenario.seen.of(name));
    eventually("three tests in each status", DEADLINE, async || {
        Ok((0..MANY).all(|number| times(&name(number)).len() >= 3).then_some(()))
    })
    .await?;
    scenario.stop_operator().await?;
    let all: Vec<RegistryConnection> = (0..MANY).flat_map(|number| scenario.seen.of(&name(number))).collect();
    let tests = test_times(&all);
    assert_eq!(scenario.failed_logins()?, tests.len());
    let apart = tests.iter().zip(tests.iter().skip(1)).map(|(one, next)| next.duration_since(*one).as_mins());
    assert!(apart.min() >= Some(30));
    let since: BTreeSet<_> = all.iter().filter_map(|one| last_test(one)?.refused_since).collect();
    assert_eq!(
        since.iter().map(|since| since.0).collect::<Vec<_>>(),
        tests.iter().take(1).copied().collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_repositories_share_a_refusal_but_not_a_proof() -> Result<()> {
    let scenario = Scenario::start("questions").await?;
    let repository = format!("{}/app", scenario.namespace);
    scenario.shared.registry.crane().push(&scenario.image(), &scenario.namespace, PASSWORD).await?;
    let pushed = scenario.good_logins()?;
    let mut other = scenario.spec();
    other["test"] = json!({"repositories": [{"name": repository, "reference": "v1"}]});
    other["secret"] = json!({"name": "other"});
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", scenario.spec()).await?;
    scenario.connect("other", other).await?;
    for name in ["images", "other"] {
        scenario.ready(name, "False", "InvalidCredentials").await?;
    }
    assert_eq!(scenario.failed_logins()?, 1);
    scenario.write_login("login", PASSWORD).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    scenario.ready("other", "True", "RepositoriesProven").await?;
    assert_eq!(scenario.good_logins()? - pushed, 2, "the one asked what the other did not");
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_for_one_repository_is_asked_about_for_another() -> Result<()> {
    let scenario = Scenario::start("scoped").await?;
    // It gives no token for nothing, and answers who may not have one as if the login were wrong.
    let registry = Listener::plain(|seen| match (seen.path(), seen.query("scope").first().map(String::as_str)) {
        ("/token", None) => Reply::status(400),
        ("/token", Some("repository:ours:pull")) if seen.basic().is_some() => {
            Reply::status(200).json(&json!({"token": "x"}))
        }
        ("/token", Some(_)) => Reply::status(401),
        ("/v2/" | "/v2/ours/tags/list", _) if seen.bearer().is_some() => Reply::status(200),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap_or_default());
            Reply::status(401).header("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"x\""))
        }
    })?;
    scenario.write_login("login", PASSWORD).await?;
    for (name, repository, status, reason) in [
        ("theirs", "theirs", "False", "InvalidCredentials"),
        ("ours", "ours", "True", "RepositoriesProven"),
        ("theirs-too", "theirs", "False", "InvalidCredentials"),
    ] {
        let before = logins(&registry);
        let mut spec = scenario.spec_at(&registry.url());
        spec["test"] = json!({"repositories": [{"name": repository}]});
        scenario.connect(name, spec).await?;
        scenario.ready(name, status, reason).await?;
        assert_eq!(logins(&registry) > before, name != "theirs-too", "{name}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_password_elsewhere_or_by_another_authority_is_another_login() -> Result<()> {
    let scenario = Scenario::start("places").await?;
    let secure = Secure::start().await?;
    let spec = scenario.account_at(&secure).await?;
    scenario.connect("images", spec.clone()).await?;
    scenario.ready("images", "True", "LoginProven").await?;
    let more = [secure.authority.certificate(), Authority::new()?.certificate()].concat();
    scenario.write_authority("more", &more).await?;
    let mut other = spec.clone();
    other["provider"]["generic"]["caRef"]["name"] = "more".into();
    scenario.connect("authority", other).await?;
    let mut other = spec;
    other["provider"]["generic"]["trustedTokenHosts"] = json!([secure.token_host(), "auth.example.test"]);
    scenario.connect("hosts", other).await?;
    scenario.connect("registry", scenario.spec()).await?;
    for name in ["authority", "hosts", "registry"] {
        scenario.ready(name, "True", "LoginProven").await?;
    }
    assert_eq!((secure.tokens.logins(&scenario.namespace), scenario.good_logins()?), (3, 1));
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_comes_to_no_end_keeps_nobody_from_theirs() -> Result<()> {
    for (kind, first) in [("cut-short", Reply::hang()), ("broken-off", Reply::close())] {
        let mut scenario = Scenario::prepare(kind).await?;
        // The hanging one is dropped by the end of its pass, and no other is, however slow the machine.
        scenario.pass_limit = Duration::from_secs(15);
        scenario.start_operator().await?;
        let count = AtomicUsize::new(0);
        let registry = door(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => first.clone(),
            _ => Reply::status(200),
        })?;
        scenario.write_login("login", PASSWORD).await?;
        connect_many(&scenario, &scenario.spec_at(&registry.url())).await?;
        all_ready(&scenario, "True", "LoginProven").await?;
        assert_eq!(logins(&registry), 2, "{kind}: one that came to nothing, and one for all");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_deleted_while_it_tests_leaves_what_it_finds_to_the_others() -> Result<()> {
    let scenario = Scenario::start("deleted").await?;
    let registry = door(|_| Reply::status(200).delayed(Duration::from_secs(2)))?;
    scenario.write_login("login", PASSWORD).await?;
    let spec = scenario.spec_at(&registry.url());
    scenario.connect("first", spec.clone()).await?;
    eventually("the login", DEADLINE, async || Ok((logins(&registry) == 1).then_some(()))).await?;
    scenario.connections().delete("first", &Default::default()).await?;
    connect_many(&scenario, &spec).await?;
    all_ready(&scenario, "True", "LoginProven").await?;
    assert_eq!(logins(&registry), 1);
    assert!(scenario.secrets().get_opt("first").await?.is_none());
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_have_counted_as_failed_rests_in_all_connections() -> Result<()> {
    let scenario = Scenario::start("rests-for-all").await?;
    let registry = door(|_| Reply::status(403))?;
    scenario.write_login("login", PASSWORD).await?;
    connect_many(&scenario, &scenario.spec_at(&registry.url())).await?;
    all_ready(&scenario, "False", "AccessBlocked").await?;
    assert_eq!(logins(&registry), 1);
    scenario.edit_secret("login", json!({"metadata": {"annotations": {"touched": "yes"}}})).await?;
    let mut other = scenario.spec_at(&registry.url());
    other["test"] = json!({"repositories": [{"name": "team/web"}]});
    scenario.connect("later", other).await?;
    scenario.ready("later", "False", "AccessBlocked").await?;
    assert_eq!(logins(&registry), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_keeps_failed_logins_waiting_gets_no_more_of_them_than_are_safe() -> Result<()> {
    let scenario = Scenario::start("tarpit").await?;
    let registry = door(|_| Reply::hang())?;
    scenario.write_login("login", WRONG).await?;
    let mut spec = scenario.spec_at(&registry.url());
    spec["test"] = json!({"timeoutSeconds": 1});
    connect_many(&scenario, &spec).await?;
    all_ready(&scenario, "False", "Unreachable").await?;
    assert_eq!(logins(&registry), 3, "then it rests, for all of them");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_many_connections_with_a_refused_password_no_login_and_a_touch_after_it_one() -> Result<()> {
    let mut scenario = Scenario::start("restarted").await?;
    scenario.write_login("login", WRONG).await?;
    connect_many(&scenario, &scenario.spec()).await?;
    all_ready(&scenario, "False", "InvalidCredentials").await?;
    scenario.stop_operator().await?;
    scenario.start_operator().await?;
    scenario.until_all_looked_at().await?;
    assert_eq!(scenario.failed_logins()?, 1);

    // A fresh process cannot know that the touched Secret holds what was refused.
    scenario.tried_again = 1;
    let touched = scenario.edit_secret("login", json!({"metadata": {"annotations": {"touched": "yes"}}})).await?;
    for number in 0..MANY {
        scenario
            .until(&name(number), |now| {
                let inputs = now.status.clone().unwrap_or_default().observed_inputs;
                inputs.iter().any(|input| Some(&input.resource_version) == touched.metadata.resource_version.as_ref())
            })
            .await?;
    }
    assert_eq!(scenario.failed_logins()?, 2);
    scenario.finish().await
}

/// What a status says while logins of the account rest.
fn says_it_rests(connection: &RegistryConnection) -> bool {
    let error = connection.status.as_ref().and_then(|status| status.last_error.clone());
    error.is_some_and(|error| error.code == Reason::RateLimited && error.message.contains("lock the account"))
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_again_for_two_wrong_passwords_locks_no_account_and_the_right_one_works_after_a_pause() -> Result<()> {
    // Ten minutes pass in thirty seconds.
    let mut scenario = Scenario::start_fast("two-wrong", 20).await?;
    let secure = secure().await?;
    let (user, tokens) = (scenario.namespace.clone(), &secure.tokens);
    let spec = scenario.account_at(secure).await?;
    scenario.write_login("login", WRONG).await?;
    scenario.connect("images", spec).await?;
    scenario.ready("images", "False", "InvalidCredentials").await?;
    let ask = async |value: &str| {
        let annotation = json!({"metadata": {"annotations": {"regcred.dev/test-requested-at": value}}});
        scenario.edit("images", annotation).await?;
        let handled = |now: &RegistryConnection| {
            now.status.as_ref().is_some_and(|status| status.last_handled_test_at.as_deref() == Some(value))
        };
        scenario.until("images", |now| handled(now) && is_ready(now, "False", "InvalidCredentials")).await
    };
    ask("first").await?;
    ask("second").await?;
    assert_eq!(tokens.failed_logins(&user), 3);

    let first = last_test(&scenario.connections().get("images").await?).context("no test")?.time;
    scenario.write_login("login", "another-wrong-one").await?;
    scenario
        .until("images", |now| last_test(now).is_some_and(|test| test.refused_since.is_some_and(|since| since > first)))
        .await?;
    assert_eq!(tokens.failed_logins(&user), 4, "what the user puts right is tried");
    ask("third").await?;
    assert_eq!(tokens.failed_logins(&user), 4, "one more could lock the account");
    assert!(!tokens.is_locked(&user));

    scenario.write_login("login", PASSWORD).await?;
    let waits = scenario.until("images", says_it_rests).await?;
    assert_eq!(tell_all(&waits)[..2], ["False/RateLimited", "Unknown/RateLimited"]);
    assert_eq!(tokens.logins(&user), 0);
    scenario.ready("images", "True", "LoginProven").await?;
    assert_eq!((tokens.logins(&user), tokens.failed_logins(&user)), (1, 4));
    assert!(!tokens.is_locked(&user));
    scenario.stop_operator().await?;
    scenario.judge().await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_differ_in_the_way_only_lock_no_account() -> Result<()> {
    let mut scenario = Scenario::start("ways").await?;
    let secure = Secure::start().await?;
    let (user, tokens) = (scenario.namespace.clone(), &secure.tokens);
    let spec = scenario.account_at(&secure).await?;
    scenario.write_login("login", WRONG).await?;
    let (own, one, two) = (secure.token_host(), "a.example.test", "z.example.test");
    for (number, hosts) in
        [[&own, one, two], [one, &own, two], [two, one, &own], [&own, two, one], [one, two, &own]].iter().enumerate()
    {
        let mut spec = spec.clone();
        spec["provider"]["generic"]["trustedTokenHosts"] = json!(hosts);
        scenario.connect(&format!("order-{number}"), spec).await?;
    }
    for number in 0..5 {
        scenario.ready(&format!("order-{number}"), "False", "InvalidCredentials").await?;
    }
    assert_eq!(tokens.failed_logins(&user), 1, "the order of the hosts says nothing");

    let mut names: Vec<String> = (0..5).map(|number| format!("order-{number}")).collect();
    for number in 0..5 {
        let name = format!("authority-{number}");
        let more = [secure.authority.certificate(), Authority::new()?.certificate()].concat();
        scenario.write_authority(&name, &more).await?;
        let mut spec = spec.clone();
        spec["provider"]["generic"]["caRef"]["name"] = name.as_str().into();
        scenario.connect(&name, spec).await?;
        names.push(name);
    }
    let mut resting = 0;
    for name in &names {
        let is_told = |now: &RegistryConnection| says_it_rests(now) || is_ready(now, "False", "InvalidCredentials");
        resting += usize::from(says_it_rests(&scenario.until(name, is_told).await?));
    }
    assert_eq!((tokens.failed_logins(&user), resting), (3, 3), "each of them says what is known");
    assert!(!tokens.is_locked(&user));

    scenario.write_login("login", PASSWORD).await?;
    for name in &names {
        scenario.ready(name, "True", "LoginProven").await?;
    }
    assert_eq!((tokens.logins(&user), tokens.failed_logins(&user)), (6, 3), "what is put right is tried at once");
    scenario.tried_again = 2;
    scenario.finish().await
}
