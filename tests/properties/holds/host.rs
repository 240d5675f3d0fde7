//! An address has one normal form, which is a host and a port and nothing else; errors name rules and never the input.

use regcred::domain::host::{InvalidRegistryUrl, RegistryHost, RegistryUrl, host_of_docker_config_key};
use url::Url;

/// Every text that an error has; there is no place in them for an input.
const RULES: [InvalidRegistryUrl; 7] = [
    InvalidRegistryUrl::NotAUrl,
    InvalidRegistryUrl::Scheme,
    InvalidRegistryUrl::NoHost,
    InvalidRegistryUrl::UserInfo,
    InvalidRegistryUrl::Query,
    InvalidRegistryUrl::NotAHost,
    InvalidRegistryUrl::Path,
];

/// What holds for any bytes.
pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for scheme in ["https", "http"] {
        match RegistryUrl::parse_as(text, scheme) {
            Ok(url) => url_holds(text, &url),
            Err(error) => assert!(RULES.contains(&error)),
        }
    }
    assert_eq!(RegistryUrl::parse(text), RegistryUrl::parse_as(text, "https"));
    match RegistryHost::parse(text) {
        Ok(host) => {
            is_normal(&host);
            assert!(!text.contains('/') && !text.contains('@'));
            assert_eq!(RegistryHost::parse(host.as_str()).as_ref(), Ok(&host), "its own form is read otherwise");
            assert_eq!(RegistryUrl::parse(text).as_ref().map(RegistryUrl::host), Ok(&host));
        }
        Err(error) => assert!(RULES.contains(&error)),
    }
    if let Some(host) = host_of_docker_config_key(text) {
        is_normal(&host);
        assert!(!host.is_docker_hub() || host == RegistryHost::docker_hub());
        let read = RegistryUrl::parse(text).expect("the key of a host is an address");
        assert!(*read.host() == host || read.host().is_docker_hub());
    }
}

/// What holds for the address that was read from a text.
fn url_holds(text: &str, url: &RegistryUrl) {
    let host = url.host();
    is_normal(host);
    assert!(!text.contains('@'), "there was a user name");
    let scheme = if url.is_plain_http() { "http" } else { "https" };
    let written = format!("{scheme}://{host}");
    assert_eq!(RegistryUrl::parse(&written).as_ref(), Ok(url), "{written} is another registry");
    assert_eq!(RegistryUrl::parse_as(host.as_str(), scheme).as_ref(), Ok(url), "{host} is another registry");
    // Reached is what is shown, and nothing of the text but host and port is left.
    assert_eq!(url.api().as_str(), format!("{written}/v2/"));
    assert_eq!(url.origin().ascii_serialization(), written);
    assert_eq!(Url::parse(&written).map(|url| url.origin()), Ok(url.origin()));
}

/// Lower case letters, digits, dots, dashes and underscores, or an IPv6 address in brackets, and a port: what can stand in
/// an image name, in a key that the kubelet reads as a plain name, and in a message.
fn is_normal(host: &RegistryHost) {
    let host = host.as_str();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => assert!(address.parse::<std::net::Ipv6Addr>().is_ok(), "{host:?}"),
        None => assert!(!name.is_empty() && name.bytes().all(is_name) && !name.ends_with('.'), "{host:?}"),
    }
    if let Some(port) = port {
        assert!(port.parse::<u16>().is_ok_and(|number| number.to_string() == port), "{host:?}");
    }
}
