//! Where a login may go: the registry itself, the token server that is known to belong to it, and the hosts the connection
//! names. Whoever answers for a registry can write any address into a challenge, so nothing else counts. Pure.

use url::{Origin, Url};

use super::known::known;
use crate::{
    api::Reason,
    domain::host::{RegistryHost, RegistryUrl},
    net::is_this_machine,
    problem::{Problem, field},
};

/// The longest address of a token server, in bytes.
const MAX_REALM: usize = 2048;

/// Everything a test of this registry may reach.
pub(super) fn origins(registry: &RegistryUrl, token_hosts: &[RegistryHost]) -> Vec<Origin> {
    let schemes: &[&str] = if registry.is_plain_http() { &["http", "https"] } else { &["https"] };
    let known = known(registry.host()).token_server.and_then(|host| RegistryHost::parse(host).ok());
    let hosts: Vec<&RegistryHost> = token_hosts.iter().chain(&known).collect();
    let token_servers = schemes.iter().flat_map(|scheme| {
        hosts.iter().filter_map(move |host| Some(Url::parse(&format!("{scheme}://{host}")).ok()?.origin()))
    });
    [registry.origin()].into_iter().chain(token_servers).collect()
}

/// Who may have a login.
pub(super) struct Trusted {
    /// The registry and its token servers.
    pub(super) origins: Vec<Origin>,
    /// Anybody on this machine too.
    pub(super) this_machine: bool,
}

impl Trusted {
    fn contains(&self, url: &Url) -> bool {
        self.origins.contains(&url.origin()) || (self.this_machine && is_this_machine(url))
    }
}

/// The address of a token server that may have the login.
///
/// # Errors
/// A [`Problem`] that says why it may not.
pub(super) fn token_server(realm: Option<&str>, registry: &RegistryUrl, trusted: &Trusted) -> Result<Url, Problem> {
    let unusable = |what: &str| {
        Err(Problem::new(Reason::ProtocolError, format!("challenge: the registry's 401 asks for a token, but {what}"))
            .at(field::REGISTRY_URL)
            .hint(Reason::ProtocolError.fix()))
    };
    let Some(realm) = realm.filter(|realm| !realm.is_empty()) else {
        return unusable("names no token server (realm)");
    };
    if realm.len() > MAX_REALM {
        return unusable("the address of the token server (realm) is longer than 2048 bytes");
    }
    let Ok(mut url) = Url::parse(realm) else {
        return unusable("the address of the token server (realm) is not a URL");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return unusable("the address of the token server (realm) contains a user name or password");
    }
    if !matches!(url.scheme(), "https" | "http") {
        return unusable("the address of the token server (realm) is neither https nor http");
    }
    let Some(host) = RegistryHost::of(&url) else {
        return unusable("the address of the token server (realm) has no host that could be a name");
    };
    url.set_fragment(None);
    let not_trusted = |message: String, hint: String| {
        Err(Problem::new(Reason::TokenServerNotTrusted, message).at(field::TRUSTED_TOKEN_HOSTS).hint(hint))
    };
    if url.scheme() == "http" && !registry.is_plain_http() {
        return not_trusted(
            format!(
                "challenge: the registry {} asks for the login to be sent to {host} over plain http; nothing was sent",
                registry.host()
            ),
            "let the registry name an https address as its token server (realm)".to_owned(),
        );
    }
    if trusted.contains(&url) {
        return Ok(url);
    }
    if host.as_str().ends_with('.') || host.as_str().contains(".:") {
        return not_trusted(
            format!(
                "challenge: the registry {} asks for the login to be sent to a token server at {host}; nothing was sent, \
                 because names with a dot at the end are never trusted",
                registry.host()
            ),
            "let the registry name its token server (realm) without the dot at the end".to_owned(),
        );
    }
    not_trusted(
        format!(
            "challenge: the registry {} asks for the login to be sent to a token server at {host}, which this connection \
             does not trust; nothing was sent",
            registry.host()
        ),
        format!("if {host} belongs to the registry, add it to {}", field::TRUSTED_TOKEN_HOSTS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(registry: &str, token_hosts: &[&str]) -> (RegistryUrl, Trusted) {
        let registry = RegistryUrl::parse(registry).unwrap();
        let token_hosts: Vec<_> = token_hosts.iter().map(|host| RegistryHost::parse(host).unwrap()).collect();
        let trusted = Trusted { origins: origins(&registry, &token_hosts), this_machine: false };
        (registry, trusted)
    }

    fn judge(realm: &str, registry: &str, token_hosts: &[&str]) -> Result<String, Reason> {
        let (registry, trusted) = trusted(registry, token_hosts);
        token_server(Some(realm), &registry, &trusted).map(|url| url.to_string()).map_err(|problem| {
            assert!(problem.hint.is_some(), "{realm}");
            problem.reason
        })
    }

    #[test]
    fn trusts_everybody_on_this_machine_only_where_that_is_said() {
        let registry = RegistryUrl::parse("http://127.0.0.1:5000").unwrap();
        let origins = origins(&registry, &[]);
        let judge = |realm: &str, this_machine: bool| {
            let trusted = Trusted { origins: origins.clone(), this_machine };
            token_server(Some(realm), &registry, &trusted).is_ok()
        };
        for realm in ["http://127.0.0.1:5001/token", "http://localhost:5001/token", "http://[::1]:5001/token"] {
            assert!(judge(realm, true), "{realm}");
            assert!(!judge(realm, false), "{realm}");
        }
        for realm in ["http://192.0.2.1:5001/token", "http://localhost.example/token", "http://127.0.0.1.example/token"]
        {
            assert!(!judge(realm, true), "{realm}");
        }
    }

    #[test]
    fn trusts_the_registry_itself_and_its_known_partner_and_who_is_named() {
        for (realm, registry, token_hosts) in [
            ("https://r.example/token", "https://r.example", &[][..]),
            ("https://R.EXAMPLE/token", "https://r.example", &[]),
            ("https://r.example:443/token", "https://r.example", &[]),
            ("https://r.example:5000/token", "https://r.example:5000", &[]),
            ("https://r.example/token?account=x#y", "https://r.example", &[]),
            ("http://r.example/token", "http://r.example", &[]),
            ("https://auth.docker.io/token", "https://registry-1.docker.io", &[]),
            ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com", &[]),
            ("https://auth.example/token", "https://r.example", &["auth.example"]),
            ("https://auth.example:5001/token", "https://r.example", &["other", "auth.example:5001"]),
            ("https://bücher.example/token", "https://xn--bcher-kva.example", &[]),
            ("https://auth.example/token", "http://r.example", &["auth.example"]),
        ] {
            assert!(judge(realm, registry, token_hosts).is_ok(), "{realm}");
        }
    }

    #[test]
    fn trusts_nobody_else_whatever_the_spelling() {
        use Reason::{ProtocolError, TokenServerNotTrusted as NotTrusted};
        for (realm, reason) in [
            ("https://evil.example/token", NotTrusted),
            ("https://r.example.evil.example/token", NotTrusted),
            ("https://evilr.example/token", NotTrusted),
            ("https://r.example./token", NotTrusted),
            ("https://r.example:8443/token", NotTrusted),
            ("https://r.example@evil.example/token", ProtocolError),
            ("https://user:pass@r.example/token", ProtocolError),
            ("https://evil.example\\@r.example/token", NotTrusted),
            ("https://r.example%2eevil.example/token", NotTrusted),
            ("https://r．example/token", ProtocolError),
            ("https://ｒ.example/../token", ProtocolError),
            ("https://127.0.0.1/token", NotTrusted),
            ("https://2130706433/token", NotTrusted),
            ("https://0177.0.0.1/token", NotTrusted),
            ("https://[::ffff:127.0.0.1]/token", NotTrusted),
            ("http://r.example/token", NotTrusted),
            ("ftp://r.example/token", ProtocolError),
            ("//r.example/token", ProtocolError),
            ("/token", ProtocolError),
            ("https:///token", ProtocolError),
            ("", ProtocolError),
            ("javascript:alert(1)", ProtocolError),
            ("https://a\"b,c.example/token", ProtocolError),
            ("https://*.example/token", ProtocolError),
        ] {
            let found = judge(realm, "https://r.example", &[]);
            // Full-width letters are the same name after IDNA, and so the registry itself.
            if realm.is_ascii() {
                // `https:///token` is read as a host by URL parsers of browsers; either way it is refused.
                assert!(
                    found == Err(reason) || (realm.starts_with("https:///") && found.is_err()),
                    "{realm}: {found:?}"
                );
            } else if let Ok(url) = found {
                assert!(url.starts_with("https://r.example/"), "{realm}: {url}");
            }
        }
        assert_eq!(judge("http://auth.example/token", "https://r.example", &["auth.example"]), Err(NotTrusted));
        assert_eq!(judge("https://auth.docker.io/token", "https://r.example", &[]), Err(NotTrusted));
    }
}
