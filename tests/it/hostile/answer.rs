//! Answers that do not end, do not begin, are cut off, or are more than anybody needs. None costs the operator more than
//! the time and the bytes it allows, and none tells it anything about the login.

use std::time::Duration;

use anyhow::Result;
use regcred::api::Reason::{
    self, InvalidCredentials, LoginProven, NotARegistry, ProtocolError, TokenServerNotTrusted, Unreachable,
};
use testenv::Reply;

use super::{
    MARKER, TOKEN,
    case::{Case, Class},
    court::Court,
    reply::{Me, at_login, behaved, first, grant, is_stranger, remote},
};
use crate::scenario::Scenario;

/// The most that is read of a token server's answer, and of any other. In bytes; the reference page names both.
const MOST: (usize, usize) = (64 << 10, 1 << 20);

/// A change of a good answer.
type Change = fn(Reply) -> Reply;

/// The answer to the first request is changed.
fn opening(class: Class, name: &'static str, reason: Reason, change: Change) -> Case {
    Case::new(class, name, reason, move |seen, me| first(seen, || change(behaved(seen, me)))).says("reach: ")
}

/// The answer to the login is changed.
fn login(class: Class, name: &'static str, reason: Reason, change: Change) -> Case {
    Case::new(class, name, reason, move |seen, me| at_login(seen, me, || change(behaved(seen, me))))
        .logins(1)
        .says("login: ")
}

/// Whatever is asked, this comes.
fn raw(class: Class, name: &'static str, reason: Reason, reply: fn() -> Reply) -> Case {
    Case::new(class, name, reason, |_, _| None).raw(reply).says("reach: ")
}

fn headers(reply: Reply, count: usize) -> Reply {
    (0..count).fold(reply, |reply, number| reply.header(&format!("X-Remote-{number}"), MARKER))
}

fn padded(length: usize) -> Vec<u8> {
    let mut grant = format!("{{\"token\":\"{TOKEN}\",\"detail\":\"{MARKER}\"}}").into_bytes();
    grant.resize(length, b' ');
    grant
}

/// One header with more challenges than are looked at, all for the foreign host.
fn many(me: &Me, count: usize) -> String {
    vec![format!("Bearer realm=\"{}\"", me.foreign()); count].join(", ")
}

fn challenges() -> Vec<Case> {
    let case = |name, reason, act: fn(&testenv::Seen, &Me) -> Option<Reply>| {
        Case::new(Class::EndlessChallenges, name, reason, act)
    };
    vec![
        case("challenges-in-many-headers", TokenServerNotTrusted, |seen, me| {
            first(seen, || (0..90).fold(remote(401), |reply, _| reply.header("WWW-Authenticate", &many(me, 1))))
        }),
        // What stands behind so many of them is not seen, not even the registry's own login.
        case("challenges-in-one-header", TokenServerNotTrusted, |seen, me| {
            first(seen, || remote(401).header("WWW-Authenticate", &format!("{}, Basic realm=\"x\"", many(me, 500))))
        }),
        case("challenge-beside-basic", InvalidCredentials, |_, me| {
            Some(remote(401).header("WWW-Authenticate", &format!("{}, Basic realm=\"x\"", many(me, 1))))
        })
        .logins(1),
        case("challenge-for-the-login", InvalidCredentials, |seen, me| {
            at_login(seen, me, || remote(401).header("WWW-Authenticate", &many(me, 1)))
        })
        .logins(1),
        case("challenge-for-the-token", ProtocolError, |seen, me| {
            seen.bearer().map(|_| remote(401).header("WWW-Authenticate", &many(me, 1)))
        })
        .logins(2),
        // The scope that is offered is none to pull with, so it is not asked for.
        case("challenge-for-a-scope", ProtocolError, |seen, me| {
            let scope = format!("{}, Bearer realm=\"http://{{registry}}/{MARKER}\",scope=\"{MARKER}\"", many(me, 1));
            let scope = me.fill(&scope, Some(seen));
            let again = at_login(seen, me, || remote(400).header("WWW-Authenticate", &many(me, 1)));
            again.or_else(|| is_stranger(seen, me).then(|| remote(401).header("WWW-Authenticate", &scope)))
        })
        .logins(1),
    ]
}

/// Those that have to be waited for: a second each.
fn slow() -> Vec<Case> {
    use Class as C;
    const DRIP: Duration = Duration::from_millis(100);
    let cases = [
        opening(C::Slow, "silence", Unreachable, |_| Reply::hang()),
        opening(C::Slow, "drops", Unreachable, |reply| reply.dripping(DRIP)),
        login(C::Slow, "silence-after-the-login", Unreachable, |_| Reply::hang()),
        login(C::Slow, "token-in-drops", Unreachable, |reply| reply.dripping(DRIP)),
        Case::new(C::Slow, "manifest-in-silence", Unreachable, |seen, _| {
            (seen.path() == "/v2/team/web/manifests/v1").then(Reply::hang)
        })
        .repository()
        .logins(2),
        // Interim answers, of which any number may come before the answer (RFC 9110, 15.2). At full speed hyper reads them
        // for seconds without a pause, in which nothing else gets its turn.
        opening(C::Endless, "endless-interim-answers", Unreachable, |_| {
            Reply::endless("HTTP/1.1 100 Continue\r\n\r\n").dripping(Duration::from_millis(1))
        }),
    ];
    cases.into_iter().map(|case| case.seconds(1).says("1 s that the whole test may take")).collect()
}

fn quick() -> Vec<Case> {
    use Class as C;
    vec![
        opening(C::Huge, "huge-401", ProtocolError, |reply| reply.body(vec![b'x'; MOST.1 + 1])).says("longer"),
        opening(C::Huge, "huge-header", ProtocolError, |reply| reply.header("X-Long", &MARKER.repeat(1 << 15)))
            .says("longer"),
        login(C::Huge, "huge-token", ProtocolError, |reply| reply.body(padded(MOST.0 + 1))).says("longer"),
        Case::new(C::Huge, "huge-realm", ProtocolError, |seen, me| {
            first(seen, || me.challenge(seen, &format!("http://{{registry}}/{}", MARKER.repeat(200))))
        })
        .says("longer than 2048"),
        opening(C::Endless, "endless-401", ProtocolError, Reply::endless_body).says("longer"),
        opening(C::Endless, "endless-headers", ProtocolError, Reply::endless_headers).says("longer"),
        login(C::Endless, "endless-token", ProtocolError, Reply::endless_body).says("longer"),
        login(C::Endless, "endless-headers-of-a-token", ProtocolError, Reply::endless_headers).says("longer"),
        opening(C::Endless, "endless-noise", Unreachable, |_| Reply::endless(MARKER)),
        opening(C::Truncated, "cut-401", Unreachable, |reply| reply.truncated(1000)),
        opening(C::Truncated, "cut-head", Unreachable, |_| {
            Reply::raw(format!("HTTP/1.1 401 Unauthorized\r\nX: {MARKER}"))
        }),
        opening(C::Truncated, "cut-at-once", Unreachable, |_| Reply::close()),
        login(C::Truncated, "cut-token", Unreachable, |reply| reply.truncated(1000)),
        login(C::Truncated, "cut-chunk", Unreachable, |_| {
            Reply::raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{{\"token\":\"{TOKEN}\"}}"))
        }),
        opening(C::ManyHeaders, "hundreds-of-headers", ProtocolError, |reply| headers(reply, 300)).says("longer"),
        login(C::ManyHeaders, "hundreds-of-headers-of-a-token", ProtocolError, |reply| headers(reply, 300))
            .says("longer"),
        raw(C::Garbage, "another-protocol", Unreachable, || Reply::raw(format!("SSH-2.0-{MARKER}\r\n"))),
        opening(C::Garbage, "no-status", Unreachable, |_| Reply::raw(format!("HTTP/1.1 {MARKER}\r\n\r\n"))),
        opening(C::Garbage, "no-length", Unreachable, |_| {
            Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{MARKER}"))
        }),
        opening(C::Garbage, "two-lengths", Unreachable, |_| {
            Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 18\r\n\r\n{MARKER}"))
        }),
        opening(C::Garbage, "status-999", ProtocolError, |_| remote(999)),
        opening(C::Garbage, "web-page", NotARegistry, |_| remote(200).header("Content-Type", "text/html")),
        login(C::Garbage, "garbage-for-a-token", Unreachable, |_| Reply::raw(MARKER)),
        opening(C::Huge, "control-large-401", LoginProven, |reply| reply.body(vec![b'x'; MOST.1])).says("").proven(1),
        login(C::Huge, "control-large-token", LoginProven, |reply| reply.body(padded(MOST.0))).says("").proven(1),
        opening(C::ManyHeaders, "control-headers", LoginProven, |reply| headers(reply, 90)).says("").proven(1),
        login(C::Slow, "control-delay", LoginProven, |reply| reply.delayed(Duration::from_millis(200)))
            .says("")
            .proven(1),
        login(C::Garbage, "control-grant", LoginProven, |_| grant(&TOKEN.into())).says("").proven(1),
    ]
}

pub fn cases() -> Vec<Case> {
    quick().into_iter().chain(slow()).chain(challenges()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_end_or_is_cut_off_or_too_long_says_nothing_of_a_login() -> Result<()> {
    let scenario = Scenario::start("hostile-answer").await?;
    let mut court = Court::open(&scenario, cases()).await?;
    court.judge_first(&scenario).await?;
    court.close(scenario).await
}
