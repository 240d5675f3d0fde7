//! Requests within one scope.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::{Host, Origin, Url};

use super::{
    Body, Content, Failure, Lane,
    address::AddressRules,
    answer,
    gate::{Gate, Turn},
    proxy::Tunnel,
    thread::Thread,
};
use crate::domain::{credential::Credential, token::Token};

/// How many redirects within one origin are followed.
const MAX_REDIRECTS: usize = 3;

/// The way to the origins of one [`Scope`](super::Scope).
pub struct Session {
    pub(super) direct: reqwest::Client,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) rules: AddressRules,
    pub(super) origins: Vec<Origin>,
    pub(super) this_machine: bool,
    pub(super) lane: Option<Lane>,
    pub(super) gate: Arc<Gate>,
    pub(super) thread: Thread,
}

/// What proves the sender's identity.
#[derive(Clone, Copy)]
pub enum Authorization<'a> {
    /// Nothing.
    None,
    /// A user name and a password.
    Basic(&'a Credential),
    /// A token.
    Bearer(&'a Token),
}

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A few, within the same origin. Only for requests without [`Content`]: they are repeated as they are.
    WithinOrigin,
    /// None: a redirect is the answer.
    Never,
}

/// One request.
pub struct Request<'a> {
    /// What is to be done there.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// From whom.
    pub authorization: Authorization<'a>,
    /// Which media types are welcome; none says nothing.
    pub accept: Option<&'static str>,
    /// One more header.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// What it carries.
    pub content: Option<Content>,
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// How much of the body is read, in bytes. A longer one is a failure.
    pub body_limit: usize,
    /// How long it may take; none means [`REQUEST_TIMEOUT`](super::REQUEST_TIMEOUT).
    pub limit: Option<Duration>,
}

/// An answer of any status, complete.
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl<'a> Request<'a> {
    /// A request for what is there, for an answer of at most so many bytes. It follows redirects within the origin.
    pub fn get(url: &'a Url, authorization: Authorization<'a>, body_limit: usize) -> Self {
        Self {
            method: Method::GET,
            url,
            authorization,
            accept: None,
            header: None,
            content: None,
            redirects: Redirects::WithinOrigin,
            body_limit,
            limit: None,
        }
    }
}

/// Whether an address is on this machine, by its own words.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl Session {
    /// Sends a request and reads the whole answer. Redirects are followed within the same origin at most; any other one is
    /// returned as the answer it is.
    ///
    /// If many requests are under way to the origin, or in this lane to it, this one waits for its turn; the time limits begin after that.
    ///
    /// # Errors
    /// [`Failure`] says what went wrong before there was an answer; every status code is an answer. [`Failure::Held`] means
    /// that no request may be sent to the origin now.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut followed = 0;
        loop {
            let answer = self.send_once(&request, &url).await?;
            let limit = match request.redirects {
                Redirects::WithinOrigin => MAX_REDIRECTS,
                Redirects::Never => 0,
            };
            match answer.redirected(&url).filter(|next| next.origin() == url.origin()) {
                Some(next) if followed < limit => (url, followed) = (next, followed + 1),
                Some(_) | None => return Ok(answer),
            }
        }
    }

    async fn send_once(&self, request: &Request<'_>, url: &Url) -> Result<Answer, Failure> {
        let is_in_scope = self.origins.contains(&url.origin()) || (self.this_machine && is_this_machine(url));
        if !is_in_scope {
            return Err(Failure::OutOfScope);
        }
        self.rules.check_literal(url).map_err(Failure::AddressNotAllowed)?;
        let turn = self.gate.enter(url.origin(), self.lane).await?;
        let result = self.exchange(request, url, &turn).await;
        turn.over(&result);
        result
    }

    async fn exchange(&self, request: &Request<'_>, url: &Url, turn: &Turn<'_>) -> Result<Answer, Failure> {
        let tunnel = self.tunnel.as_ref().filter(|tunnel| tunnel.carries(url));
        if let Some(tunnel) = tunnel {
            tunnel.check_name(url, &self.rules).await?;
        }
        let client = tunnel.map_or(&self.direct, Tunnel::client);
        let mut builder = client.request(request.method.clone(), url.clone());
        if let Some(accept) = request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if let Some((name, value)) = &request.header {
            builder = builder.header(name, value);
        }
        if let Some(content) = &request.content {
            builder = builder.header(header::CONTENT_TYPE, content.media_type()).body(content.expose().to_owned());
        }
        // reqwest marks these headers as sensitive, so no layer below prints them.
        builder = match request.authorization {
            Authorization::None => builder,
            Authorization::Basic(login) => builder.basic_auth(login.username(), Some(login.password())),
            Authorization::Bearer(token) => builder.bearer_auth(token.expose()),
        };
        if let Some(limit) = request.limit {
            builder = builder.timeout(limit);
        }
        turn.sends();
        let (is_tunnelled, body_limit) = (tunnel.is_some(), request.body_limit);
        let answer = self.thread.run(async move {
            let response = builder.send().await.map_err(|error| Failure::of(&error, is_tunnelled))?;
            answer::read(response, body_limit).await
        });
        let answer = answer.await?;
        turn.heard(answer.status, &answer.headers);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::net::{
        ForbiddenAddress, HeldCause, Scope, Settings,
        fixture::{self, Listener, Names, answer, failed, get, get_by, http, settings},
    };

    #[tokio::test]
    async fn sends_nothing_beyond_its_scope() {
        let (inside, outside) = (Listener::saying(answer("200 OK", &[])).await, Listener::silent().await);
        let http = http(Settings { lookup: Names::new(&[("registry.example", &[&["127.0.0.1"]])]), ..settings() });
        let session = fixture::session(&http, &inside.url("/"));
        for url in [
            outside.url("/"),
            format!("https://{}/", inside.address),
            format!("http://registry.example:{}/", inside.address.port()),
            format!("http://registry.example:{}/", outside.address.port()),
            "data:text/plain,1".into(),
        ] {
            assert_eq!(failed(get_by(&session, &url).await), Failure::OutOfScope, "{url}");
        }
        assert_eq!((inside.connections(), outside.connections()), (0, 0));
        assert!(get_by(&session, &inside.url("/v2/")).await.is_ok());
    }

    #[tokio::test]
    async fn follows_redirects_within_the_origin_only() {
        let other = Listener::silent().await;
        for location in [
            other.url("/"),
            format!("https://{}/", other.address),
            "http://user:s3ntinel@127.0.0.1/".into(),
            "//user@127.0.0.1/".into(),
            "http://[".into(),
            "http:// /".into(),
            "\u{e9}".into(),
            "file:///etc/passwd".into(),
        ] {
            let listener =
                Listener::saying(answer("307 Temporary Redirect", &[&format!("Location: {location}")])).await;
            let answered = get(&http(settings()), &listener.url("/v2/")).await.unwrap();
            assert_eq!((answered.status.as_u16(), listener.connections()), (307, 1), "{location}");
        }
        assert_eq!(other.connections(), 0);

        // With a login in the address, though it is the same place.
        let listener = Listener::new(|mut stream, asked| async move {
            let host = format!("user@{}", stream.local_addr().unwrap());
            let head = fixture::head(&mut stream).await;
            asked.lock().unwrap().push(head);
            let text = answer("302 Found", &[&format!("Location: http://{host}/")]);
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await;
        });
        let listener = listener.await;
        assert_eq!(get(&http(settings()), &listener.url("/")).await.unwrap().status.as_u16(), 302);
        assert_eq!(listener.requests().len(), 1);
    }

    #[tokio::test]
    async fn leaves_a_redirect_loop_after_three_rounds() {
        let listener = Listener::saying(answer("302 Found", &["Location: ../again"])).await;
        let answered = get(&http(settings()), &listener.url("/v2/")).await.unwrap();
        assert_eq!(answered.status.as_u16(), 302);
        let paths: Vec<String> = listener.requests().iter().map(|head| head[..10].to_owned()).collect();
        assert_eq!(paths, ["GET /v2/ H", "GET /again", "GET /again", "GET /again"]);
    }

    #[tokio::test]
    async fn checks_a_name_each_time_it_connects() {
        let listener = Listener::saying(answer("200 OK", &[])).await;
        let names = Names::new(&[("registry.example", &[&["127.0.0.1"], &["169.254.169.254"]])]);
        let http = http(Settings { lookup: names, ..settings() });
        let url = format!("http://registry.example:{}/", listener.address.port());
        let session = fixture::session(&http, &url);
        assert!(get_by(&session, &url).await.is_ok());
        let expected = Failure::AddressNotAllowed(ForbiddenAddress::LinkLocal);
        assert_eq!(failed(get_by(&session, &url).await), expected);
        assert_eq!(listener.connections(), 1);
    }

    #[tokio::test]
    async fn refuses_a_name_with_one_forbidden_address_whole() {
        let listener = Listener::saying(answer("200 OK", &[])).await;
        for (private, addresses, expected) in [
            (true, &["127.0.0.1", "169.254.169.254"], ForbiddenAddress::LinkLocal),
            (true, &["127.0.0.1", "0.0.0.0"], ForbiddenAddress::Unspecified),
            (false, &["127.0.0.1", "10.0.0.1"], ForbiddenAddress::Private),
        ] {
            let http = http(Settings { lookup: Names::new(&[("registry.example", &[addresses])]), ..settings() });
            let url: Url = format!("http://registry.example:{}/", listener.address.port()).parse().unwrap();
            let scope =
                Scope { origins: vec![url.origin()], this_machine: false, authorities: None, private, lane: None };
            let session = http.session(scope).unwrap();
            let failure = failed(get_by(&session, url.as_str()).await);
            assert_eq!(failure, Failure::AddressNotAllowed(expected), "{addresses:?}");
        }
        assert_eq!(listener.connections(), 0);
    }

    #[tokio::test]
    async fn does_not_reach_the_api_server_under_any_name() {
        let (api_server, beside) = (Listener::silent().await, Listener::saying(answer("200 OK", &[])).await);
        let lookup = Names::new(&[("registry.example", &[&["127.0.0.1"]])]);
        let http = http(Settings { lookup, api_server: vec![api_server.address], ..settings() });
        for host in ["registry.example", "127.0.0.1", "[::ffff:127.0.0.1]"] {
            let failure = failed(get(&http, &format!("http://{host}:{}/", api_server.address.port())).await);
            assert_eq!(failure, Failure::AddressNotAllowed(ForbiddenAddress::ApiServer), "{host}");
            assert!(get(&http, &format!("http://{host}:{}/", beside.address.port())).await.is_ok(), "{host}");
        }
        assert_eq!(api_server.connections(), 0);
    }

    #[tokio::test]
    async fn sends_what_a_request_carries_and_says_what_it_is() {
        let json = || Content::json(&serde_json::json!({"name": "a\"b"})).unwrap();
        for (content, media_type, body) in [
            (
                Content::form(&[("token", "a b&c=d+\u{e9}")]),
                "application/x-www-form-urlencoded",
                "token=a+b%26c%3Dd%2B%C3%A9",
            ),
            (json(), "application/json", r#"{"name":"a\"b"}"#),
        ] {
            let listener = Listener::scripted(vec![("POST /tokens", answer("201 Created", &[]))]).await;
            let url = listener.url("/tokens").parse().unwrap();
            let header = Some((HeaderName::from_static("x-contract-number"), HeaderValue::from(7)));
            let request = Request {
                method: Method::POST,
                content: Some(content),
                header,
                redirects: Redirects::Never,
                ..Request::get(&url, Authorization::None, 1 << 16)
            };
            let http = http(settings());
            let answered = fixture::session(&http, url.as_str()).send(request).await;
            assert_eq!(answered.ok().map(|answer| answer.status), Some(StatusCode::CREATED));
            let sent = listener.requests().remove(0);
            assert!(sent.contains(&format!("content-type: {media_type}\r\n")), "{sent}");
            assert!(sent.contains("x-contract-number: 7\r\n") && sent.ends_with(&format!("\r\n\r\n{body}")), "{sent}");
        }
    }

    #[tokio::test]
    async fn follows_no_redirect_at_all_if_told_so() {
        let listener = Listener::saying(answer("307 Temporary Redirect", &["Location: /next"])).await;
        let (http, url) = (http(settings()), listener.url("/").parse().unwrap());
        let request = Request { redirects: Redirects::Never, ..Request::get(&url, Authorization::None, 1 << 16) };
        let answered = fixture::session(&http, url.as_str()).send(request).await;
        assert_eq!(answered.ok().map(|answer| answer.status), Some(StatusCode::TEMPORARY_REDIRECT));
        assert_eq!(listener.connections(), 1);
    }

    #[tokio::test]
    async fn who_is_told_to_wait_waits_alone_in_its_lane() {
        let reset = Clock::system().now().as_second() + 600;
        let spent = answer("200 OK", &["ratelimit-remaining: 0", &format!("ratelimit-reset: {reset}")]);
        let listener = Listener::saying(spent).await;
        let (http, url) = (http(settings()), listener.url("/"));
        let tokens = ["first", "other"].map(|text| Token::new(text.into()).unwrap());
        let [first, other] = tokens.each_ref().map(|token| Some(http.lane(Authorization::Bearer(token))));
        assert!(
            first != other && first == Some(http.lane(Authorization::Bearer(&Token::new("first".into()).unwrap())))
        );
        let session = |lane| {
            let origins = vec![url.parse::<Url>().unwrap().origin()];
            http.session(Scope { origins, this_machine: false, authorities: None, private: true, lane }).unwrap()
        };
        for (name, lane, is_sent) in [
            ("the last one that was allowed", first, true),
            ("one more of the same token", first, false),
            ("another token", other, true),
            ("a registry's test, which nobody counts by token", None, true),
            ("and one more of those", None, true),
        ] {
            let result = get_by(&session(lane), &url).await;
            match result {
                Ok(_) => assert!(is_sent, "{name}"),
                Err(failure) => {
                    assert!(matches!(failure, Failure::Held { cause: HeldCause::Asked, .. }), "{name}: {failure:?}");
                    assert!(!is_sent, "{name}");
                }
            }
        }
        assert_eq!(listener.connections(), 4);
    }
}
