//! The proxy that the administrator names: https goes through it by CONNECT, plain http never does.
//!
//! The administrator vouches for the proxy's own address, whatever it is. That opens no way to it for anybody else: the
//! client of a tunnel resolves no other name, and every target is checked as without a proxy, as far as this operator can
//! know its address.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::{Error, Failure, Lookup, address::AddressRules, resolver::NotResolved};

/// A proxy, and what does not go through it. It may hold a password, so it has no Debug.
#[derive(Clone)]
pub struct Proxy {
    server: reqwest::Proxy,
    host: String,
    matcher: Arc<Matcher>,
}

/// Why a text is no URL of a proxy. The texts never quote the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// No URL.
    #[error("it is not a URL such as http://proxy.example:3128")]
    NotUrl,
    /// A URL of another scheme.
    #[error("it begins neither with http:// nor with https://")]
    Scheme,
    /// More than a proxy has.
    #[error("there is something after the host and the port")]
    Path,
}

impl Proxy {
    /// A proxy from its URL, which may hold a user name and a password, and a list of hosts to reach without it: names, which
    /// stand for their subdomains too, addresses and networks such as `10.0.0.0/8`, or `*`, separated by commas, as curl
    /// reads `NO_PROXY`.
    ///
    /// # Errors
    /// [`InvalidProxy`] if the URL is none of a proxy.
    pub fn parse(url: &SecretString, exceptions: &str) -> Result<Self, InvalidProxy> {
        let url = Url::parse(url.expose_secret().trim()).map_err(|_| InvalidProxy::NotUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidProxy::Scheme);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidProxy::Path);
        }
        // What these cannot use they would leave out without a word, and requests would go directly.
        let found =
            Matcher::builder().https(url.as_str()).build().intercept(&Uri::from_static("https://registry.example/"));
        let host = found.and_then(|proxy| proxy.uri().host().map(str::to_owned)).ok_or(InvalidProxy::NotUrl)?;
        let matcher = Matcher::builder().https(url.as_str()).no(exceptions).build();
        let server = reqwest::Proxy::https(url).map_err(|_| InvalidProxy::NotUrl)?;
        Ok(Self { server, host, matcher: Arc::new(matcher) })
    }

    /// Whether requests to this URL go through the proxy.
    fn carries(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        match Uri::builder().scheme(url.scheme()).authority(host).path_and_query("/").build() {
            Ok(target) => self.matcher.intercept(&target).is_some(),
            // It cannot be asked for either, so it is nothing to make an exception of.
            Err(_) => url.scheme() == "https",
        }
    }
}

/// The way through the proxy for one session.
pub(super) struct Tunnel {
    client: reqwest::Client,
    proxy: Proxy,
    lookup: Arc<dyn Lookup>,
    patience: Duration,
}

impl Tunnel {
    /// A way through the proxy; `patience` is how long the look at a name may take.
    ///
    /// # Errors
    /// [`Error`] if the client cannot be built.
    pub(super) fn new(
        proxy: &Proxy,
        client: reqwest::ClientBuilder,
        lookup: &Arc<dyn Lookup>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let resolver = ProxyResolver { host: proxy.host.clone(), lookup: Arc::clone(lookup) };
        let client =
            client.proxy(proxy.server.clone()).dns_resolver(Arc::new(resolver)).build().map_err(Error::Build)?;
        Ok(Self { client, proxy: proxy.clone(), lookup: Arc::clone(lookup), patience })
    }

    pub(super) fn carries(&self, url: &Url) -> bool {
        self.proxy.carries(url)
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Whether the proxy may be asked for the host. A name that has an address here must not have a forbidden one; a name
    /// that has none is for the proxy to resolve, and to refuse.
    ///
    /// # Errors
    /// [`Failure::AddressNotAllowed`] says which rule forbids it.
    pub(super) async fn check_name(&self, url: &Url, rules: &AddressRules) -> Result<(), Failure> {
        let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
        let Ok(Ok(addresses)) = tokio::time::timeout(self.patience, self.lookup.lookup(name)).await else {
            return Ok(());
        };
        let port = url.port_or_known_default().unwrap_or_default();
        addresses
            .into_iter()
            .try_for_each(|address| rules.check(SocketAddr::new(address.ip(), port)))
            .map_err(Failure::AddressNotAllowed)
    }
}

/// Resolves the proxy's own name and no other.
struct ProxyResolver {
    host: String,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for ProxyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = name.as_str().eq_ignore_ascii_case(&self.host).then(|| self.lookup.lookup(name.as_str()));
        Box::pin(async move {
            let none = || NotResolved(Some(io::Error::from(io::ErrorKind::NotFound)));
            let addresses = lookup.ok_or_else(none)?.await.map_err(|error| NotResolved(Some(error)))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        ForbiddenAddress, ProxyFailure, Settings,
        fixture::{
            self, Listener, Names, SENTINEL, answer, deserted, failed, get, http, secured, settings, trusting,
            tunnelling,
        },
    };

    fn proxy(url: &str, exceptions: &str) -> Option<Proxy> {
        Some(Proxy::parse(&url.to_owned().into(), exceptions).unwrap())
    }

    #[test]
    fn reads_urls_of_proxies_and_quotes_none() {
        for (url, expected) in [
            ("http://proxy.example:3128", None),
            ("http://proxy.example:3128/", None),
            (" https://proxy.example ", None),
            ("http://10.0.0.1:3128", None),
            ("http://[fd00::1]:3128", None),
            ("http://user:p%40ss%2F@proxy.example:3128", None),
            ("", Some(InvalidProxy::NotUrl)),
            ("s3ntinel", Some(InvalidProxy::NotUrl)),
            ("//s3ntinel:3128", Some(InvalidProxy::NotUrl)),
            ("http://s3ntinel:99999", Some(InvalidProxy::NotUrl)),
            ("s3ntinel:3128", Some(InvalidProxy::Scheme)),
            ("socks5://s3ntinel:1080", Some(InvalidProxy::Scheme)),
            ("http://proxy.example/s3ntinel", Some(InvalidProxy::Path)),
            ("http://proxy.example/?s3ntinel", Some(InvalidProxy::Path)),
        ] {
            let error = Proxy::parse(&url.to_owned().into(), "").err();
            assert_eq!(error, expected, "{url}");
            assert!(error.is_none_or(|error| !format!("{error} {error:?}").contains(SENTINEL)));
        }
    }

    #[test]
    fn goes_round_the_proxy_where_curl_would() {
        let list = "direct.example,.dotted.example, 10.0.0.7 ,192.168.0.0/16,fd00::/8,[bracketed";
        let proxy = proxy("http://proxy.example:3128", list).unwrap();
        for (url, carried) in [
            ("https://registry.example/", true),
            ("https://direct.example/", false),
            ("https://direct.example:5000/", false),
            ("https://DIRECT.example/", false),
            ("https://direct.example./", false),
            ("https://sub.direct.example/", false),
            ("https://notdirect.example/", true),
            ("https://dotted.example/", false),
            ("https://a.b.dotted.example/", false),
            ("https://10.0.0.7/", false),
            ("https://10.0.0.8/", true),
            ("https://192.168.3.4:5000/", false),
            ("https://[fd00::1]:5000/", false),
            ("https://[2001:db8::1]/", true),
            ("http://registry.example/", false),
        ] {
            assert_eq!(proxy.carries(&url.parse().unwrap()), carried, "{url}");
        }
        let none = super::Proxy::parse(&"http://proxy.example".to_owned().into(), "*").unwrap();
        assert!(!none.carries(&"https://registry.example/".parse().unwrap()));
    }

    #[tokio::test]
    async fn carries_https_to_hosts_that_only_the_proxy_knows_and_never_http() {
        let (authority, registry) = secured("registry.example", 4000).await;
        let tunnels = tunnelling(registry.address).await;
        let plain = Listener::saying(answer("200 OK", &[])).await;
        let http = http(Settings {
            proxy: proxy(&format!("http://user:p%40ss@proxy.example:{}", tunnels.address.port()), ""),
            lookup: Names::new(&[("proxy.example", &[&["127.0.0.1"]]), ("plain.example", &[&["127.0.0.1"]])]),
            ..trusting(&authority)
        });
        assert!(get(&http, "https://registry.example/v2/").await.is_ok());
        let asked = tunnels.requests();
        assert!(asked[0].starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{asked:?}");
        assert!(asked[0].to_lowercase().contains("proxy-authorization: basic "), "{asked:?}");
        assert!(registry.requests()[0].starts_with("GET /v2/ HTTP/1.1\r\n"));
        assert!(!registry.requests()[0].to_lowercase().contains("proxy-"), "the registry learns no password");

        assert!(get(&http, &format!("http://plain.example:{}/", plain.address.port())).await.is_ok());
        assert_eq!(tunnels.connections(), 1);
        // The certificate is checked as without a proxy.
        let failure = failed(get(&http, "https://other.example/").await);
        assert_eq!(failure, Failure::Tls("the certificate is for another host name".into()));
    }

    #[tokio::test]
    async fn nobody_blames_the_registry_for_the_proxy() {
        let status = |status: &'static str| Listener::saying(answer(status, &[]));
        for (listener, expected) in [
            (status("407 Proxy Authentication Required").await, ProxyFailure::LoginRefused),
            (status("403 Forbidden").await, ProxyFailure::NotOpened),
            (status("502 Bad Gateway").await, ProxyFailure::NotOpened),
            (Listener::saying(SENTINEL).await, ProxyFailure::NotOpened),
            (Listener::saying("").await, ProxyFailure::NotOpened),
        ] {
            let http = http(Settings { proxy: proxy(&listener.url(""), ""), ..settings() });
            let failure = failed(get(&http, "https://registry.example/").await);
            assert_eq!(failure, Failure::Proxy(expected));
        }
        let unreachable = [format!("http://{}", deserted().await), "http://nowhere.example".into()];
        for url in unreachable {
            let http = http(Settings { proxy: proxy(&url, ""), ..settings() });
            let failure = failed(get(&http, "https://registry.example/").await);
            assert_eq!(failure, Failure::Proxy(ProxyFailure::NotReached), "{url}");
        }
        let (_, stranger) = secured("127.0.0.1", 4000).await;
        let http = http(Settings { proxy: proxy(&format!("https://{}", stranger.address), ""), ..settings() });
        let text = "the certificate is not signed by an authority this system trusts".into();
        let failure = failed(get(&http, "https://registry.example/").await);
        assert_eq!(failure, Failure::Proxy(ProxyFailure::Tls(text)));
    }

    #[tokio::test]
    async fn opens_no_way_to_addresses_that_are_forbidden_without_it() {
        let listener = Listener::saying(answer("502 Bad Gateway", &[])).await;
        let lookup = Names::new(&[
            ("proxy.example", &[&["127.0.0.1"]]),
            ("rebound.example", &[&["8.8.8.8", "169.254.169.254"]]),
            ("apiserver.example", &[&["10.96.0.1"]]),
        ]);
        let http = http(Settings {
            allow_loopback: false,
            api_server: vec!["10.96.0.1:443".parse().unwrap()],
            proxy: proxy(&format!("http://proxy.example:{}", listener.address.port()), ""),
            lookup,
            ..settings()
        });
        for (url, expected) in [
            ("https://169.254.169.254/", ForbiddenAddress::LinkLocal),
            ("https://127.0.0.1/", ForbiddenAddress::Loopback),
            ("https://rebound.example/", ForbiddenAddress::LinkLocal),
            ("https://apiserver.example/", ForbiddenAddress::ApiServer),
            ("https://proxy.example/", ForbiddenAddress::Loopback),
        ] {
            assert_eq!(failed(get(&http, url).await), Failure::AddressNotAllowed(expected), "{url}");
        }
        let own = format!("http://proxy.example:{}/", listener.address.port());
        assert_eq!(failed(get(&http, &own).await), Failure::AddressNotAllowed(ForbiddenAddress::Loopback));
        assert_eq!(listener.connections(), 0);
        // The proxy itself may be anywhere, though.
        let failure = failed(get(&http, "https://registry.example/").await);
        assert_eq!(failure, Failure::Proxy(ProxyFailure::NotOpened));
        assert_eq!(listener.connections(), 1);
    }

    #[tokio::test]
    async fn the_client_of_a_tunnel_resolves_the_name_of_the_proxy_only() {
        let lookup = Names::new(&[("proxy.example", &[&["127.0.0.1"]]), ("registry.example", &[&["127.0.0.1"]])]);
        let resolver = ProxyResolver { host: "proxy.example".into(), lookup };
        assert!(resolver.resolve("proxy.example".parse().unwrap()).await.is_ok());
        let refused = resolver.resolve("registry.example".parse().unwrap()).await.err().unwrap();
        assert!(refused.is::<NotResolved>());
    }

    #[tokio::test]
    async fn a_name_that_takes_forever_here_is_left_to_the_proxy() {
        struct Never;
        impl Lookup for Never {
            fn lookup(&self, _: &str) -> futures::future::BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
                Box::pin(std::future::pending())
            }
        }
        let listener = Listener::saying(answer("502 Bad Gateway", &[])).await;
        let settings = Settings { proxy: proxy(&listener.url(""), ""), lookup: Arc::new(Never), ..settings() };
        let failure = failed(get(&fixture::hasty(settings, Duration::from_secs(2)), "https://registry.example/").await);
        assert_eq!(failure, Failure::Proxy(ProxyFailure::NotOpened));
    }
}
