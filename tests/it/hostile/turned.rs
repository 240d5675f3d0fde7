//! Registries that behaved until the login was delivered, and then turn. What was delivered stays as it is.

use std::sync::atomic::Ordering;

use anyhow::Result;
use regcred::api::Reason::{
    self, AddressNotAllowed, InvalidCredentials, LoginProven, NotARegistry, ProtocolError, TokenServerNotTrusted,
    Unreachable,
};
use serde_json::json;
use testenv::{Reply, Seen};

use super::{
    MARKER,
    case::{Case, Class, Outcome},
    court::Court,
    reply::{Me, at_login, first, remote},
};
use crate::scenario::Scenario;

/// A registry that turns, and what then comes of it. Another host to trust is another question, so the operator asks again.
fn turned(class: Class, name: &'static str, act: fn(&Seen, &Me) -> Option<Reply>, then: Outcome) -> Case {
    Case::new(class, name, LoginProven, move |seen, me| if me.has_turned() { act(seen, me) } else { None })
        .proven(1)
        .leads("turned.test")
        .then(
            json!({"spec": {
                "provider": {"generic": {"trustedTokenHosts": ["elsewhere.example.com"]}}, "test": {"timeoutSeconds": 2},
            }}),
            then,
        )
}

/// Ready stays True while there is no verdict.
fn doubt(reason: Reason, logins: usize) -> Outcome {
    Outcome { doubt: Some(reason), ..Outcome::proven(logins) }
}

pub fn cases() -> Vec<Case> {
    use Class as C;
    let realm = |seen: &Seen, me: &Me| first(seen, || me.challenge(seen, "http://turned.test/remote-marker-7f3a"));
    let redirect = |seen: &Seen, _: &Me| first(seen, || remote(307).header("Location", "http://turned.test/v2/"));
    let away = |seen: &Seen, me: &Me| {
        at_login(seen, me, || remote(307).header("Location", &format!("http://turned.test/{MARKER}")))
    };
    vec![
        turned(C::ByName, "turned-realm", realm, Outcome::fails(TokenServerNotTrusted)),
        turned(C::RedirectAtApi, "turned-redirect", redirect, doubt(NotARegistry, 0)),
        turned(
            C::RedirectAtTokenServer,
            "turned-redirect-of-a-login",
            away,
            Outcome { logins: 1, ..Outcome::fails(ProtocolError) },
        ),
        turned(C::Garbage, "turned-noise", |_, _| Some(Reply::raw(MARKER)), doubt(Unreachable, 0)),
        turned(C::Slow, "turned-silent", |_, _| Some(Reply::hang()), doubt(Unreachable, 0)),
        turned(C::Endless, "turned-endless", |_, _| Some(remote(401).endless_body()), Outcome::fails(ProtocolError)),
        turned(
            C::Forever401,
            "turned-401",
            |seen, me| at_login(seen, me, || remote(401)),
            Outcome { logins: 1, ..Outcome::fails(InvalidCredentials) },
        ),
        turned(C::DnsSecondAnswer, "turned-name", |_, _| None, Outcome::fails(AddressNotAllowed))
            .script("{name}.example.com", |own, _| vec![vec![own], vec!["169.254.169.254:80".parse().unwrap()]]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_turns_hostile_hears_no_more_than_before_and_takes_nothing_away() -> Result<()> {
    let scenario = Scenario::start("hostile-turned").await?;
    let mut court = Court::open(&scenario, cases()).await?;
    court.judge_first(&scenario).await?;

    court.world.turned.store(true, Ordering::Relaxed);
    court.judge_then(&scenario).await?;
    court.close(scenario).await
}
