//! Every row of the verdict table, produced on the real API server and read back from status and event.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use regcred::api::Reason;
use serde_json::json;
use testenv::{Listener, Reply, eventually, listener::Seen};

use crate::scenario::{DEADLINE, PASSWORD, Scenario, tell_all};

/// Stands in everything that a registry of this page sends besides what the protocol wants.
const MARKER: &str = "remote-marker-7f3a";

/// What a registry answers: without a login, and with one.
struct Row {
    name: &'static str,
    first: fn() -> Reply,
    login: fn() -> Reply,
    reason: Reason,
    /// The rung that the message names.
    rung: &'static str,
    logins: usize,
}

fn challenge() -> Reply {
    Reply::status(401).header("WWW-Authenticate", &format!("Basic realm=\"{MARKER}\"")).body(MARKER)
}

fn said(status: u16, code: &str) -> Reply {
    Reply::status(status).json(&json!({"errors": [{"code": code, "message": MARKER, "detail": MARKER}]}))
}

fn page(status: u16) -> Reply {
    Reply::status(status).header("Content-Type", "text/html; charset=utf-8").body(format!("<title>{MARKER}</title>"))
}

fn never() -> Reply {
    Reply::status(418)
}

fn rows() -> Vec<Row> {
    use Reason as R;
    let row = |name, first, login, reason, rung, logins| Row { name, first, login, reason, rung, logins };
    vec![
        row("refused", challenge, || said(401, "UNAUTHORIZED"), R::InvalidCredentials, "login", 1),
        row("refused-silently", challenge, || Reply::status(401), R::InvalidCredentials, "login", 1),
        row("denied", challenge, || said(403, "DENIED"), R::InvalidCredentials, "login", 1),
        row("denied-with-400", challenge, || said(400, "DENIED"), R::InvalidCredentials, "login", 1),
        row("firewall", || page(403), never, R::AccessBlocked, "reach", 0),
        row("blocked-login", challenge, || Reply::status(403).body(MARKER), R::AccessBlocked, "login", 1),
        row("too-many-failures", challenge, || said(401, "TOOMANYREQUESTS"), R::RateLimited, "login", 1),
        row("out-of-order", || said(503, "UNAVAILABLE"), never, R::UpstreamError, "reach", 0),
        row("out-of-order-for-logins", challenge, || Reply::status(500).body(MARKER), R::UpstreamError, "login", 1),
        row("website", || page(200), never, R::NotARegistry, "reach", 0),
        row("nothing-there", || page(404), never, R::NotARegistry, "reach", 0),
        row("login-page", challenge, || page(200), R::NotARegistry, "login", 1),
        row(
            "portal",
            || Reply::status(302).header("Location", &format!("http://portal.example/{MARKER}")),
            never,
            R::NotARegistry,
            "reach",
            0,
        ),
        row("teapot", challenge, || Reply::status(418).body(MARKER), R::ProtocolError, "login", 1),
        row("no-challenge", || Reply::status(401).body(MARKER), never, R::ProtocolError, "challenge", 0),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_a_registry_has_its_reason_in_status_and_event() -> Result<()> {
    let scenario = Scenario::start("verdicts").await?;
    scenario.write_login("login", PASSWORD).await?;
    let mut listeners = vec![];
    for row in rows() {
        let listener = Listener::plain(move |seen: &Seen| match seen.basic() {
            None => (row.first)(),
            Some(_) => (row.login)(),
        })?;
        scenario.connect(row.name, scenario.spec_at(&listener.url())).await?;
        listeners.push(listener);
    }
    for (Row { name, reason, rung, logins, .. }, listener) in rows().into_iter().zip(&listeners) {
        let connection = scenario.ready(name, "False", reason.as_str()).await?;
        let valid = &tell_all(&connection)[1];
        let expected = if reason == Reason::InvalidCredentials { "False/" } else { "Unknown/" };
        assert!(valid.starts_with(expected), "{name}: {valid}");
        let error = connection.status.as_ref().and_then(|status| status.last_error.clone());
        let message = error.map(|error| error.message).unwrap_or_default();
        assert!(message.starts_with(&format!("{rung}: ")), "{name}: {message}");
        assert!(scenario.secrets().get_opt(name).await?.is_none(), "{name} is not delivered");
        let sent = listener.requests().iter().filter(|seen| seen.basic().is_some()).count();
        // A fault of the registry's own is tried again soon.
        let is_tried_again = reason == Reason::UpstreamError || reason == Reason::NotARegistry;
        assert!(sent == logins || (is_tried_again && sent > logins && logins > 0), "{name}: {sent}");
        assert!(!serde_json::to_string(&connection.status)?.contains(MARKER), "{name}: {:?}", connection.status);
        let event = scenario.event(name, reason).await?;
        assert!(!event.contains(MARKER) && event.contains(&message), "{name}: {event}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_obeyed_in_every_dialect_while_an_outage_is_asked_after_again() -> Result<()> {
    let scenario = Scenario::start("pauses").await?;
    scenario.write_login("login", PASSWORD).await?;
    let date = |seconds: i64| {
        let time = jiff::Timestamp::from_second(now() + seconds).unwrap_or_default();
        time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let epoch = (now() + 600).to_string();
    type Form = (&'static str, u16, Vec<(&'static str, String)>);
    let forms: [Form; 7] = [
        ("seconds", 429, vec![("Retry-After", "600".into())]),
        ("date", 429, vec![("Retry-After", date(600))]),
        ("docker-hub", 429, vec![("X-Retry-After", epoch.clone())]),
        ("github", 403, vec![("X-RateLimit-Remaining", "0".into()), ("X-RateLimit-Reset", epoch.clone())]),
        ("digitalocean", 429, vec![("ratelimit-remaining", "0".into()), ("ratelimit-reset", epoch.clone())]),
        ("gitlab", 429, vec![("RateLimit-Reset", epoch)]),
        ("cloudsmith", 429, vec![("X-RateLimit-Interval", "600".into())]),
    ];
    let mut listeners = vec![];
    for (name, status, headers) in forms {
        let listener = Listener::plain(move |_: &Seen| {
            headers.iter().fold(Reply::status(status), |reply, (name, value)| reply.header(name, value))
        })?;
        scenario.connect(name, scenario.spec_at(&listener.url())).await?;
        scenario.ready(name, "False", "RateLimited").await?;
        listeners.push((name, listener));
    }
    let outage = Listener::plain(|_: &Seen| Reply::status(503))?;
    scenario.connect("outage", scenario.spec_at(&outage.url())).await?;
    eventually("the registry without a pause to be asked again", DEADLINE, async || {
        Ok((outage.requests().len() >= 4).then_some(()))
    })
    .await?;
    for (name, listener) in &listeners {
        assert_eq!(listener.requests().len(), 1, "{name}");
    }
    scenario.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_all_connections_to_the_host_and_then_ends() -> Result<()> {
    // Two minutes pass in two seconds.
    let scenario = Scenario::start_fast("pause", 60).await?;
    scenario.write_login("login", PASSWORD).await?;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let registry = Listener::plain(move |seen: &Seen| {
        match (asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst), seen.basic()) {
            (0, _) => Reply::status(429).header("Retry-After", "120"),
            (_, None) => challenge(),
            (_, Some(_)) => Reply::status(200),
        }
    })?;
    scenario.connect("first", scenario.spec_at(&registry.url())).await?;
    scenario.ready("first", "False", "RateLimited").await?;
    let mut spec = scenario.spec_at(&registry.url());
    spec["secret"] = json!({"name": "other"});
    scenario.connect("second", spec).await?;
    scenario.ready("second", "False", "RateLimited").await?;
    assert_eq!(registry.requests().len(), 1, "the second was told to wait without asking");
    scenario.ready("first", "True", "LoginProven").await?;
    scenario.ready("second", "True", "LoginProven").await?;
    scenario.finish().await
}

#[expect(clippy::disallowed_methods, reason = "registries know the time")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Scenario {
    /// Waits for the event with this reason about a connection; returns its text.
    pub async fn event(&self, connection: &str, reason: Reason) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(format!("an event {reason} about {connection}"), DEADLINE, async || {
            let is_it = |event: &Event| {
                event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(connection)
                    && event.reason.as_deref() == Some(reason.as_str())
            };
            let found = events.list(&Default::default()).await?.items.into_iter().find(is_it);
            Ok(found.and_then(|event| event.note))
        })
        .await
    }
}
