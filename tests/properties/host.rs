//! Addresses of which the host is known.

use proptest::{prelude::*, sample::select};
use regcred::domain::host::{InvalidRegistryUrl, RegistryHost, RegistryUrl, host_of_docker_config_key};

use crate::{config, holds::host::holds};

/// A host name in its normal form. The last label has a letter, else it might be a number of an IPv4 address.
pub(crate) fn name() -> impl Strategy<Value = String> {
    let label = || "[a-z0-9]([a-z0-9_-]{0,6}[a-z0-9])?".prop_filter("not of IDNA", |label| !label.starts_with("xn--"));
    (proptest::collection::vec(label(), 0..4), "[a-z]{2,6}").prop_map(|(mut labels, last)| {
        labels.push(last);
        labels.join(".")
    })
}

/// A host with or without a port that is not the one of https.
pub(crate) fn host() -> impl Strategy<Value = String> {
    let hub = select(vec!["docker.io".to_owned(), "index.docker.io".to_owned()]);
    let address = any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string());
    let any = prop_oneof![8 => name(), 1 => address];
    let port = (1..=u16::MAX).prop_filter("a port of a scheme", |port| ![80, 443].contains(port));
    prop_oneof![
        12 => (any, proptest::option::of(port))
            .prop_map(|(name, port)| port.map_or(name.clone(), |port| format!("{name}:{port}"))),
        1 => hub,
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equal_hosts_are_equal_registries_however_they_are_written(
        host in host(),
        large in any::<bool>(),
        scheme in "(https://)?",
        path in "(/|/v1|/v1/|/v2|/v2/)?",
        margin in "[ \t\n]{0,2}",
    ) {
        let plain = RegistryUrl::parse(&host).unwrap();
        prop_assert_eq!(plain.host().as_str(), &host);
        prop_assert!(!plain.is_plain_http());
        let written = format!("{margin}{scheme}{}{path}{margin}", if large { host.to_uppercase() } else { host.clone() });
        let found = RegistryUrl::parse(&written).unwrap();
        prop_assert_eq!(&found, &plain);
        prop_assert_eq!(found.origin(), plain.origin());
        prop_assert_eq!(RegistryHost::parse(&host), Ok(plain.host().clone()));
        let is_hub = plain.host().is_docker_hub();
        let expected = if is_hub { RegistryHost::docker_hub() } else { plain.host().clone() };
        prop_assert_eq!(host_of_docker_config_key(&format!("{scheme}{host}{path}")), Some(expected));
        holds(written.as_bytes());
    }

    #[test]
    fn what_is_more_than_a_host_is_refused_by_a_rule_that_quotes_nothing(
        host in host(),
        secret in "[XYZ$!~]{4,12}",
        form in 0..9_usize,
    ) {
        use InvalidRegistryUrl as E;
        let (text, expected) = match form {
            0 => (format!("https://{secret}@{host}"), E::UserInfo),
            1 => (format!("user:{secret}@{host}"), E::UserInfo),
            2 => (format!("http://user:{secret}@{host}/v2/"), E::UserInfo),
            3 => (format!("{host}/{secret}"), E::Path),
            4 => (format!("https://{host}/v2/{secret}"), E::Path),
            5 => (format!("https://{host}?{secret}"), E::Query),
            6 => (format!("{host}/v1/#{secret}"), E::Query),
            7 => (format!("ftp://{host}/{secret}"), E::Scheme),
            _ => (format!("{secret} {host}"), E::NotAUrl),
        };
        let error = RegistryUrl::parse(&text).unwrap_err();
        prop_assert_eq!(error, expected, "{}", text);
        prop_assert_eq!(host_of_docker_config_key(&text), None);
        for error in [error, RegistryHost::parse(&text).unwrap_err()] {
            let said = format!("{error} {error:?}");
            prop_assert!(!said.contains(&secret), "{said}");
        }
    }

    #[test]
    fn anything_else_has_one_normal_form_or_none(
        text in "(https://|http://|//)?([a-zA-Z0-9.-]|[*_%@:/\\\\?#\\[\\]é．\\. ]|0x7f|127|::1|443|80|xn--|%2e|\t){0,8}(/v[12]/?)?",
        any in any::<String>(),
    ) {
        holds(text.as_bytes());
        holds(any.as_bytes());
    }
}
