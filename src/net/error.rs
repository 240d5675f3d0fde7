//! What can go wrong before there is an answer, told from the error chains of the HTTP stack.

use std::{error::Error as StdError, time::Duration};

pub use super::address::ForbiddenAddress;
use super::resolver::{NotResolved, ResolvedToForbidden};

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS settings were refused.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// There is no thread to read answers on.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
    /// The HTTP client was refused.
    #[error("failed to set up the HTTP client")]
    Build(#[source] reqwest::Error),
}

/// Why a request got no answer. The texts hold nothing that the other side sent, and stay the same from try to try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The host is or resolves to an address that is never connected to.
    #[error("the address is not allowed: {0}")]
    AddressNotAllowed(#[source] ForbiddenAddress),
    /// The host's name has no address.
    #[error("the host name could not be resolved")]
    NotResolved,
    /// No connection within the time limit, or no answer within it.
    #[error("there was no answer in time")]
    TimedOut,
    /// Nobody listens there.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// No way leads there.
    #[error("no connection could be made")]
    NotConnected,
    /// A connection, but no trusted TLS on it.
    #[error("no trusted TLS connection could be made: {0}")]
    Tls(String),
    /// The proxy of `--https-proxy` is the reason, not the host.
    #[error("{0}")]
    Proxy(#[source] ProxyFailure),
    /// The answer, or what comes before its body, was longer than it may be.
    #[error("the answer is longer than an answer to this request may be")]
    TooLong,
    /// The address is none that the session was made for; nothing was sent.
    #[error("the address is not one that this connection may reach")]
    OutOfScope,
    /// Requests to this origin are held back, those of all connections; nothing was sent.
    #[error("{cause}")]
    Held {
        /// Why.
        cause: HeldCause,
        /// How long it will be until another request is sent, by the operator's [`Clock`](crate::clock::Clock).
        pause: Duration,
    },
    /// The connection broke, or what came back was not HTTP.
    #[error("the connection broke off before the end of an answer that follows HTTP")]
    Broken,
}

/// What the proxy did not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFailure {
    /// No connection to it.
    #[error("the proxy of this operator could not be reached")]
    NotReached,
    /// A connection to it, but no trusted TLS on it.
    #[error("no trusted TLS connection to the proxy of this operator could be made: {0}")]
    Tls(String),
    /// It answered 407.
    #[error("the proxy of this operator asks for a user name and a password that it accepts")]
    LoginRefused,
    /// Any other answer than a connection to the host.
    #[error("the proxy of this operator opened no connection to the host")]
    NotOpened,
}

/// Why an origin is held. The sentence is about the last request that was sent, so that a status says the same whether a
/// try was held or sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeldCause {
    /// The last answer was that requests come too often.
    #[error("the host asked to be called less often")]
    Asked,
    /// Too many requests in a row got no answer; this is what the last one met with.
    #[error("{0}")]
    Unanswered(#[source] Box<Failure>),
}

impl Failure {
    /// Classifies an error of the HTTP stack by what stands in its chain of sources. `tunnelled` says that the request went
    /// through the proxy.
    pub(super) fn of(error: &reqwest::Error, tunnelled: bool) -> Self {
        if let Some(failure) = tunnelled.then(|| proxy_failure(error)).flatten() {
            return Self::Proxy(failure);
        }
        let otherwise = if error.is_timeout() { Self::TimedOut } else { Self::Broken };
        chain(error).find_map(Self::of_one).unwrap_or(otherwise)
    }

    /// What one error of a chain says for itself.
    fn of_one(error: &(dyn StdError + 'static)) -> Option<Self> {
        use std::io::ErrorKind as K;
        if let Some(ResolvedToForbidden(rule)) = error.downcast_ref() {
            return Some(Self::AddressNotAllowed(*rule));
        }
        if error.is::<NotResolved>() {
            return Some(Self::NotResolved);
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(Self::Tls(tls_text(tls)));
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return Some(Self::TooLong);
        }
        match error.downcast_ref::<std::io::Error>()?.kind() {
            K::ConnectionRefused => Some(Self::ConnectionRefused),
            K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable | K::PermissionDenied => {
                Some(Self::NotConnected)
            }
            _ => None,
        }
    }
}

/// An error and its sources.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&current| cause(current))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // An io::Error hides its inner error from `source` when it was made from that error alone.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// What went wrong with the proxy, if the chain says that the way through it was not opened. Its type is not public, so its
/// fixed texts have to tell (`TunnelError` in hyper-util 0.1.21); the tests notice when they change.
fn proxy_failure(error: &(dyn StdError + 'static)) -> Option<ProxyFailure> {
    let mut rest = chain(error).skip_while(|error| !error.to_string().starts_with("tunnel error: "));
    match rest.next()?.to_string().as_str() {
        "tunnel error: proxy authorization required" => Some(ProxyFailure::LoginRefused),
        "tunnel error: failed to create underlying connection" => Some(match rest.find_map(Failure::of_one) {
            Some(Failure::Tls(text)) => ProxyFailure::Tls(text),
            Some(_) | None => ProxyFailure::NotReached,
        }),
        _ => Some(ProxyFailure::NotOpened),
    }
}

/// A short text for the user. Only certificate errors are told in detail; none of their texts comes from the peer.
fn tls_text(error: &rustls::Error) -> String {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            "the certificate is not signed by an authority this system trusts".into()
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "the certificate has expired".into()
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "the certificate is for another host name".into()
        }
        rustls::Error::InvalidCertificate(_) => "the certificate is not valid".into(),
        rustls::Error::InvalidMessage(_) => "the other side does not speak TLS".into(),
        rustls::Error::AlertReceived(_) => "the other side refused the TLS handshake".into(),
        _ => "the TLS handshake failed".into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::net::fixture::{
        Listener, SENTINEL, answer, deserted, failed, get, hasty, head, http, secured, settings, trusting,
    };

    async fn failure_of(listener: &Listener) -> Failure {
        failed(get(&http(settings()), &listener.url("/v2/")).await)
    }

    #[tokio::test]
    async fn tells_where_nobody_listens() {
        let url = format!("http://{}/", deserted().await);
        assert_eq!(failed(get(&http(settings()), &url).await), Failure::ConnectionRefused);
        let unknown = "https://registry.example/";
        assert_eq!(failed(get(&http(settings()), unknown).await), Failure::NotResolved);
    }

    #[test]
    fn tells_that_no_way_leads_there() {
        use std::io::{Error, ErrorKind as K};
        for (kind, expected) in [
            (K::NetworkUnreachable, Some(Failure::NotConnected)),
            (K::HostUnreachable, Some(Failure::NotConnected)),
            (K::ConnectionRefused, Some(Failure::ConnectionRefused)),
            (K::ConnectionReset, None),
            (K::UnexpectedEof, None),
        ] {
            assert_eq!(chain(&Error::other(Error::from(kind))).find_map(Failure::of_one), expected, "{kind}");
        }
    }

    #[tokio::test]
    async fn gives_up_on_a_host_that_is_silent_or_slow() {
        let half = |text: String| {
            Listener::new(move |mut stream, _| {
                let text = text.clone();
                async move {
                    head(&mut stream).await;
                    let _ = stream.write_all(text.as_bytes()).await;
                    std::future::pending().await
                }
            })
        };
        let accepting = Listener::new(|stream, _| async move {
            let _open = stream;
            std::future::pending().await
        });
        for listener in [
            accepting.await,
            Listener::silent().await,
            half(format!("HTTP/1.1 200 OK\r\nx-{SENTINEL}: ")).await,
            half(format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{SENTINEL}")).await,
            half(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{SENTINEL}")).await,
        ] {
            assert_eq!(
                failed(get(&hasty(settings(), Duration::from_millis(200)), &listener.url("/")).await),
                Failure::TimedOut
            );
        }
    }

    #[tokio::test]
    async fn tells_what_is_no_answer() {
        for text in [
            String::new(),
            SENTINEL.to_owned(),
            format!("SSH-2.0-{SENTINEL}\r\n"),
            format!("HTTP/1.1 {SENTINEL} OK\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nx-{SENTINEL}: half"),
            format!("HTTP/1.1 200 OK\r\n{SENTINEL}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\ncontent-length: {SENTINEL}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{SENTINEL}"),
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{SENTINEL}"),
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{SENTINEL}\r\n"),
        ] {
            assert_eq!(failure_of(&Listener::saying(text.clone()).await).await, Failure::Broken, "{text:?}");
        }
        let closing = Listener::new(|stream, _| async move { drop(stream) }).await;
        assert_eq!(failure_of(&closing).await, Failure::Broken);
    }

    #[tokio::test]
    async fn reads_no_more_than_an_answer_may_have() {
        let many: String = (0..300).map(|n| format!("x-{SENTINEL}-{n}: 1\r\n")).collect();
        let long = SENTINEL.repeat(1 << 17);
        let body = &long[..1 << 16];
        for text in [
            format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}+", body.len() + 1),
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}+"),
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}+\r\n", body.len() + 1),
        ] {
            let name = text[..60].to_owned();
            assert_eq!(failure_of(&Listener::saying(text).await).await, Failure::TooLong, "{name:?}");
        }
        let endless = Listener::new(|mut stream: TcpStream, _| async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while stream.write_all(b"8\r\ns3ntinel\r\n").await.is_ok() {}
        });
        assert_eq!(failure_of(&endless.await).await, Failure::TooLong);

        let whole = Listener::saying(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}")).await;
        let answer = get(&http(settings()), &whole.url("/")).await.unwrap();
        assert_eq!(answer.body.expose().len(), 1 << 16);
    }

    #[tokio::test]
    async fn unpacks_nothing() {
        let packed = b"\x1f\x8b\x08\0";
        let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n".to_vec();
        bytes.extend(packed);
        let listener = Listener::saying(bytes).await;
        let answer = get(&http(settings()), &listener.url("/")).await.unwrap();
        assert_eq!(answer.body.expose(), packed);
        assert!(!listener.requests()[0].to_lowercase().contains("accept-encoding"));
    }

    #[tokio::test]
    async fn tells_what_is_wrong_with_a_certificate() {
        let (authority, good) = secured("127.0.0.1", 4000).await;
        let url = format!("https://{}/", good.address);
        assert!(get(&http(trusting(&authority)), &url).await.is_ok());
        assert_eq!(good.requests().len(), 1);

        let tls = |text: &str| Failure::Tls(text.to_owned());
        let stranger = "the certificate is not signed by an authority this system trusts";
        assert_eq!(failed(get(&http(settings()), &url).await), tls(stranger));
        assert_eq!(good.requests().len(), 1, "nothing was sent to a stranger");

        let (authority, old) = secured("127.0.0.1", 2000).await;
        let url = format!("https://{}/", old.address);
        assert_eq!(failed(get(&http(trusting(&authority)), &url).await), tls("the certificate has expired"));

        let (authority, other) = secured(&format!("{SENTINEL}.example"), 4000).await;
        let url = format!("https://{}/", other.address);
        let failure = failed(get(&http(trusting(&authority)), &url).await);
        assert_eq!(failure, tls("the certificate is for another host name"));
    }

    #[tokio::test]
    async fn tells_http_and_https_apart() {
        let plain = Listener::new(|mut stream, _| async move {
            let _ = stream.read(&mut [0; 1 << 14]).await;
            let _ = stream.write_all(answer("400 Bad Request", &[]).as_bytes()).await;
        });
        let plain = plain.await;
        let url = format!("https://{}/", plain.address);
        let failure = failed(get(&http(settings()), &url).await);
        assert_eq!(failure, Failure::Tls("the other side does not speak TLS".into()));
        let (_, secured) = secured("127.0.0.1", 4000).await;
        assert_eq!(failure_of(&secured).await, Failure::Broken);
    }
}
