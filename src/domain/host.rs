//! Registry addresses: what a user may write, and the one normal form of it.

use url::{Host, Origin, Url};

/// Docker Hub as it stands in image names.
const DOCKER_HUB: &str = "docker.io";

/// Where Docker Hub's API is.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// All names by which Docker Hub goes in URLs and docker config keys. None but `docker.io` begins an image name.
const DOCKER_HUB_NAMES: [&str; 5] = [DOCKER_HUB, "index.docker.io", DOCKER_HUB_API, "hub.docker.com", "auth.docker.io"];

/// A registry's host as it stands in image names and in docker config keys: lower case, IDNA applied, with the port only
/// if it is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.to_owned())
    }

    /// Reads a host with an optional port, without scheme and path.
    ///
    /// # Errors
    /// [`InvalidRegistryUrl`] names the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidRegistryUrl> {
        if text.contains('/') {
            return Err(InvalidRegistryUrl::NotAHost);
        }
        RegistryUrl::parse(text).map(|url| url.host)
    }

    /// The host of any URL, in the same form; none if it has none that can be a name or an address. A URL's host may hold
    /// quotes, commas and asterisks too; the kubelet takes an asterisk in a docker config key for any name.
    pub fn of(url: &Url) -> Option<Self> {
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if let Some(Host::Domain(name)) = url.host()
            && !name.bytes().all(is_of_a_name)
        {
            return None;
        }
        let host = url.host_str()?;
        Some(match url.port() {
            Some(port) => Self(format!("{host}:{port}")),
            None => Self(host.to_owned()),
        })
    }

    /// The host in its normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it is Docker Hub by any of its names.
    pub fn is_docker_hub(&self) -> bool {
        DOCKER_HUB_NAMES.contains(&self.as_str())
    }
}

impl std::fmt::Display for RegistryHost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where a registry is reached: scheme, host and port, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryUrl {
    url: Url,
    host: RegistryHost,
}

/// Why a text is not a registry's address. The texts name the rule, never the input, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistryUrl {
    /// Not a URL at all.
    #[error("it is not a valid host or URL")]
    NotAUrl,
    /// A scheme other than http and https.
    #[error("its scheme must be https or http")]
    Scheme,
    /// No host in it.
    #[error("it has no host")]
    NoHost,
    /// User name or password in it.
    #[error("it contains a user name or password")]
    UserInfo,
    /// Query or fragment in it.
    #[error("it contains a query or a fragment")]
    Query,
    /// A scheme or a path where only a host belongs.
    #[error("it must be a host with an optional port, without a scheme and a path")]
    NotAHost,
    /// A path, which registries do not have.
    #[error("it has a path; a registry is a host with an optional port (only /v1 and /v2 are ignored)")]
    Path,
}

impl RegistryUrl {
    /// Docker Hub's API.
    ///
    /// # Errors
    /// None: the address is a constant, which a test reads.
    pub fn docker_hub() -> Result<Self, InvalidRegistryUrl> {
        Self::parse(DOCKER_HUB_API)
    }

    /// Reads what a user wrote. Without a scheme https is meant.
    ///
    /// # Errors
    /// [`InvalidRegistryUrl`] names the rule that is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidRegistryUrl> {
        Self::parse_as(text, "https")
    }

    /// The same with another scheme for those who write none.
    ///
    /// # Errors
    /// [`InvalidRegistryUrl`] names the rule that is broken.
    pub fn parse_as(text: &str, scheme: &str) -> Result<Self, InvalidRegistryUrl> {
        if text.trim().chars().any(char::is_control) {
            return Err(InvalidRegistryUrl::NotAUrl);
        }
        let with_scheme =
            if text.contains("://") { text.trim().to_owned() } else { format!("{scheme}://{}", text.trim()) };
        let mut url = Url::parse(&with_scheme).map_err(|error| match error {
            url::ParseError::EmptyHost => InvalidRegistryUrl::NoHost,
            _ => InvalidRegistryUrl::NotAUrl,
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(InvalidRegistryUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() || with_scheme.contains('@') {
            return Err(InvalidRegistryUrl::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidRegistryUrl::Query);
        }
        if !matches!(url.path().trim_end_matches('/'), "" | "/v1" | "/v2") {
            return Err(InvalidRegistryUrl::Path);
        }
        url.set_path("/");
        let host = url.host_str().ok_or(InvalidRegistryUrl::NoHost)?.trim_end_matches('.').to_owned();
        if host.is_empty() {
            return Err(InvalidRegistryUrl::NoHost);
        }
        url.set_host(Some(&host)).map_err(|_| InvalidRegistryUrl::NotAUrl)?;
        let host = RegistryHost::of(&url).ok_or(InvalidRegistryUrl::NotAUrl)?;
        Ok(Self { url, host })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> Origin {
        self.url.origin()
    }

    /// The address of something below the registry's API, such as `team/web/tags/list`.
    pub fn below_api(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    /// The host for image names and docker config keys.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// The address of the registry's API, always ending in `/v2/`.
    pub fn api(&self) -> Url {
        self.below_api("")
    }

    /// True if the connection would not be encrypted.
    pub fn is_plain_http(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// True if the host is this machine by its name or address, for which container clients allow plain http.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

/// The host that a docker config key stands for, in the same normal form as [`RegistryHost`]; none if the key is scoped
/// to a path or no address at all. The forms are those that docker and the kubelet write and read.
pub fn host_of_docker_config_key(key: &str) -> Option<RegistryHost> {
    let host = RegistryUrl::parse(key).ok()?.host;
    Some(if host.is_docker_hub() { RegistryHost::docker_hub() } else { host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_what_users_write() {
        for (text, host, api) in [
            ("registry.example.com", "registry.example.com", "https://registry.example.com/v2/"),
            ("https://registry.example.com", "registry.example.com", "https://registry.example.com/v2/"),
            ("https://registry.example.com/", "registry.example.com", "https://registry.example.com/v2/"),
            ("https://Registry.Example.COM/v2/", "registry.example.com", "https://registry.example.com/v2/"),
            ("https://registry.example.com/v1", "registry.example.com", "https://registry.example.com/v2/"),
            ("registry.example.com:5000", "registry.example.com:5000", "https://registry.example.com:5000/v2/"),
            ("https://registry.example.com:443", "registry.example.com", "https://registry.example.com/v2/"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("http://0x7f.1:5000", "127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("https://bücher.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example/v2/"),
            ("https://registry.example.com.", "registry.example.com", "https://registry.example.com/v2/"),
            ("  registry.example.com ", "registry.example.com", "https://registry.example.com/v2/"),
            ("https://[::1]:5000", "[::1]:5000", "https://[::1]:5000/v2/"),
        ] {
            let url = RegistryUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.host().as_str(), url.api().as_str()), (host, api), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_registry() {
        use InvalidRegistryUrl as E;
        for (text, error) in [
            ("", E::NoHost),
            ("https://", E::NoHost),
            ("ftp://registry.example.com", E::Scheme),
            ("https://user:password@registry.example.com", E::UserInfo),
            ("https://@registry.example.com", E::UserInfo),
            ("user@registry.example.com", E::UserInfo),
            ("https://registry.example.com?x=1", E::Query),
            ("https://registry.example.com#x", E::Query),
            ("https://registry.example.com/team", E::Path),
            ("https://regis try.example.com", E::NotAUrl),
            ("https://regis\ttry.example.com", E::NotAUrl),
            ("https://registry.example.com:99999", E::NotAUrl),
            ("*.example.com", E::NotAUrl),
            ("regi\"stry,example.com", E::NotAUrl),
        ] {
            assert_eq!(RegistryUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn reads_hosts_without_scheme_and_path() {
        for (text, expected) in [
            ("Auth.Example.com", Ok("auth.example.com")),
            ("auth.example.com:443", Ok("auth.example.com")),
            ("auth.example.com:5001", Ok("auth.example.com:5001")),
            ("https://auth.example.com", Err(InvalidRegistryUrl::NotAHost)),
            ("auth.example.com/token", Err(InvalidRegistryUrl::NotAHost)),
            ("user@auth.example.com", Err(InvalidRegistryUrl::UserInfo)),
        ] {
            let host = RegistryHost::parse(text);
            assert_eq!(host.as_ref().map(RegistryHost::as_str), expected.as_ref().map(|host| *host), "{text}");
        }
    }

    #[test]
    fn docker_hub_is_one_registry_with_two_names() {
        let url = RegistryUrl::docker_hub().unwrap();
        assert_eq!(url.api().as_str(), "https://registry-1.docker.io/v2/");
        assert!(url.host().is_docker_hub() && RegistryHost::docker_hub().is_docker_hub());
    }

    #[test]
    fn knows_loopback_in_every_spelling() {
        for (text, loopback) in [
            ("http://127.0.0.1:5000", true),
            ("http://127.8.9.1", true),
            ("http://[::1]", true),
            ("http://localhost:5000", true),
            ("http://registry.localhost", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(RegistryUrl::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn reads_hosts_from_docker_config_keys() {
        for (key, host) in [
            ("registry.example.com", Some("registry.example.com")),
            ("https://registry.example.com/v1/", Some("registry.example.com")),
            ("https://registry.example.com/v2/", Some("registry.example.com")),
            ("registry.example.com:5000", Some("registry.example.com:5000")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("docker.io", Some("docker.io")),
            ("registry.example.com/team", None),
            ("", None),
        ] {
            assert_eq!(host_of_docker_config_key(key).as_ref().map(RegistryHost::as_str), host, "{key}");
        }
    }
}
