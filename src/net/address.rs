//! Which addresses the operator never connects to, whoever asks for it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use url::{Host, Url};

/// The rules of one session.
#[derive(Clone, Debug)]
pub(super) struct AddressRules {
    allow_loopback: bool,
    private: bool,
    api_server: Arc<[SocketAddr]>,
}

/// An address that is never connected to, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForbiddenAddress {
    /// This machine.
    #[error("it is a loopback address")]
    Loopback,
    /// 169.254.0.0/16 and fe80::/10: neighbours on the link, among them metadata services.
    #[error("it is a link-local address, where metadata services live")]
    LinkLocal,
    /// The metadata and host services of cloud providers outside the link-local range.
    #[error("it is the address of a cloud provider's metadata or host service")]
    Metadata,
    /// 0.0.0.0/8 and ::, which some systems take for this machine.
    #[error("it is the unspecified address")]
    Unspecified,
    /// Multicast and broadcast.
    #[error("it is a multicast or broadcast address")]
    Multicast,
    /// 240.0.0.0/4 (RFC 1112) and 192.0.0.0/24 (RFC 6890): no host that a registry runs on.
    #[error("it is reserved, not the address of a host")]
    Reserved,
    /// A private network, see [`PRIVATE_V4`] and [`PRIVATE_V6`].
    #[error("it is a private address, which the operator was told not to connect to")]
    Private,
    /// The API server of this cluster, at its own port.
    #[error("it is the API server of this cluster")]
    ApiServer,
}

/// Cloud services outside the link-local range: Alibaba Cloud's metadata, Azure's host agent, Oracle Cloud's metadata.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// The same with IPv6, as prefixes: all local services of Amazon's cloud (metadata, and the credentials of EKS Pods), the
/// metadata of Google's and of Scaleway's.
const METADATA_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
];

/// Reserved by the IETF: for protocols, and the former class E.
const RESERVED_V4: [(Ipv4Addr, u32); 2] = [(Ipv4Addr::new(192, 0, 0, 0), 24), (Ipv4Addr::new(240, 0, 0, 0), 4)];

/// Private networks: RFC 1918, the carriers' shared range (RFC 6598), and the benchmark range (RFC 2544), which clusters
/// use like the others.
const PRIVATE_V4: [(Ipv4Addr, u32); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];

/// Private networks: unique local addresses (RFC 4193) and what site-local ones were before them (RFC 3879).
const PRIVATE_V6: [(Ipv6Addr, u32); 2] =
    [(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7), (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10)];

impl AddressRules {
    /// Rules that keep to what is public and private but for the API server's own addresses.
    ///
    /// With `allow_loopback` connections to this machine are possible: for tests and the demo.
    pub(super) fn new(allow_loopback: bool, api_server: &[SocketAddr]) -> Self {
        // One spelling for one address: mapped forms and interface scopes would hide it.
        let api_server = api_server.iter().map(|at| SocketAddr::new(at.ip().to_canonical(), at.port())).collect();
        Self { allow_loopback, private: true, api_server }
    }

    /// The same rules, with or without private networks.
    pub(super) fn with_private(&self, private: bool) -> Self {
        Self { private, ..self.clone() }
    }

    /// Whether the operator may connect to the address.
    ///
    /// # Errors
    /// [`ForbiddenAddress`] says which rule forbids it.
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), ForbiddenAddress> {
        if self.api_server.contains(&SocketAddr::new(address.ip(), address.port())) {
            return Err(ForbiddenAddress::ApiServer);
        }
        match address.ip() {
            IpAddr::V4(ip) => self.check_v4(ip),
            IpAddr::V6(ip) => {
                self.check_v6(ip)?;
                let embedded = |ip| self.check(SocketAddr::new(IpAddr::V4(ip), address.port()));
                embedded_v4(ip).into_iter().flatten().try_for_each(embedded)?;
                // Which of these layouts a network uses is not known. One that would lead to nobody is not it.
                local_nat64(ip).into_iter().flatten().try_for_each(|ip| match embedded(ip) {
                    Err(ForbiddenAddress::Unspecified | ForbiddenAddress::Multicast | ForbiddenAddress::Reserved) => {
                        Ok(())
                    }
                    told => told,
                })
            }
        }
    }

    /// The same for the host of a URL if it is written as an address, which no resolver sees.
    ///
    /// # Errors
    /// [`ForbiddenAddress`] says which rule forbids it.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), ForbiddenAddress> {
        let port = url.port_or_known_default().unwrap_or_default();
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check(SocketAddr::new(IpAddr::V4(ip), port)),
            Some(Host::Ipv6(ip)) => self.check(SocketAddr::new(IpAddr::V6(ip), port)),
            // A name that is as good as an address (RFC 6761, section 6.3).
            Some(Host::Domain("localhost")) => {
                self.check(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))?;
                self.check(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port))
            }
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    fn check_v4(&self, address: Ipv4Addr) -> Result<(), ForbiddenAddress> {
        let within = |(network, length)| in_v4(address, network, length);
        if address.is_loopback() {
            self.check_loopback()
        } else if address.octets()[0] == 0 {
            Err(ForbiddenAddress::Unspecified)
        } else if address.is_link_local() {
            Err(ForbiddenAddress::LinkLocal)
        } else if METADATA_V4.contains(&address) {
            Err(ForbiddenAddress::Metadata)
        } else if address.is_multicast() || address.is_broadcast() {
            Err(ForbiddenAddress::Multicast)
        } else if RESERVED_V4.into_iter().any(within) {
            Err(ForbiddenAddress::Reserved)
        } else if !self.private && PRIVATE_V4.into_iter().any(within) {
            Err(ForbiddenAddress::Private)
        } else {
            Ok(())
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), ForbiddenAddress> {
        let within = |(network, length)| in_v6(address, network, length);
        if address.is_loopback() {
            self.check_loopback()
        } else if address.is_unspecified() {
            Err(ForbiddenAddress::Unspecified)
        } else if address.is_unicast_link_local() {
            Err(ForbiddenAddress::LinkLocal)
        } else if METADATA_V6.into_iter().any(within) {
            Err(ForbiddenAddress::Metadata)
        } else if address.is_multicast() {
            Err(ForbiddenAddress::Multicast)
        } else if !self.private && PRIVATE_V6.into_iter().any(within) {
            Err(ForbiddenAddress::Private)
        } else {
            Ok(())
        }
    }

    fn check_loopback(&self) -> Result<(), ForbiddenAddress> {
        if self.allow_loopback { Ok(()) } else { Err(ForbiddenAddress::Loopback) }
    }
}

fn in_v4(address: Ipv4Addr, network: Ipv4Addr, length: u32) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= length
}

fn in_v6(address: Ipv6Addr, network: Ipv6Addr, length: u32) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= length
}

/// The IPv4 addresses that an IPv6 address stands for: mapped (`::ffff:a.b.c.d`), translated (`::ffff:0:a.b.c.d`, RFC
/// 2765), compatible (`::a.b.c.d`, deprecated by RFC 4291), NAT64 (`64:ff9b::/96`, RFC 6052), 6to4 (`2002::/16`, RFC 3056),
/// or the server and, inverted, the client of Teredo (`2001::/32`, RFC 4380).
fn embedded_v4(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => [None; 2],
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            [Some(joined(g, h)), None]
        }
        [0x2002, high, low, ..] => [Some(joined(high, low)), None],
        [0x2001, 0, high, low, ..] => [Some(joined(high, low)), Some(joined(!g, !h))],
        _ => [None; 2],
    }
}

/// The IPv4 addresses that an address for local NAT64 (`64:ff9b:1::/48`, RFC 8215) may stand for: in each layout of RFC
/// 6052 that fits, for prefixes of 48, 56, 64 and 96 bits. The byte after the first 64 bits belongs to none.
fn local_nat64(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    if !in_v6(address, Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48) {
        return [None; 4];
    }
    let o = address.octets();
    [[o[6], o[7], o[9], o[10]], [o[7], o[9], o[10], o[11]], [o[9], o[10], o[11], o[12]], [o[12], o[13], o[14], o[15]]]
        .map(|octets| Some(Ipv4Addr::from(octets)))
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ForbiddenAddress as F;

    fn rules(allow_loopback: bool) -> AddressRules {
        AddressRules::new(allow_loopback, &["10.96.0.1:443".parse().unwrap()])
    }

    fn at(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    #[test]
    fn forbids_this_machine_metadata_services_and_their_disguises() {
        let rules = rules(false);
        for (address, expected) in [
            ("8.8.8.8", Ok(())),
            ("10.0.0.1", Ok(())),
            ("192.168.1.1", Ok(())),
            ("2001:db8::1", Ok(())),
            ("fd12:3456::1", Ok(())),
            ("127.0.0.1", Err(F::Loopback)),
            ("127.255.0.1", Err(F::Loopback)),
            ("::1", Err(F::Loopback)),
            ("::ffff:127.0.0.1", Err(F::Loopback)),
            ("::127.0.0.1", Err(F::Loopback)),
            ("64:ff9b::127.0.0.1", Err(F::Loopback)),
            ("2002:7f00:1::", Err(F::Loopback)),
            ("0.0.0.0", Err(F::Unspecified)),
            ("0.1.2.3", Err(F::Unspecified)),
            ("::", Err(F::Unspecified)),
            ("::ffff:0.0.0.0", Err(F::Unspecified)),
            ("169.254.169.254", Err(F::LinkLocal)),
            ("::ffff:169.254.169.254", Err(F::LinkLocal)),
            ("64:ff9b::a9fe:a9fe", Err(F::LinkLocal)),
            ("2002:a9fe:a9fe::1", Err(F::LinkLocal)),
            ("fe80::1", Err(F::LinkLocal)),
            ("100.100.100.200", Err(F::Metadata)),
            ("168.63.129.16", Err(F::Metadata)),
            ("192.0.0.192", Err(F::Metadata)),
            ("fd00:ec2::254", Err(F::Metadata)),
            ("fd20:ce::254", Err(F::Metadata)),
            ("224.0.0.1", Err(F::Multicast)),
            ("255.255.255.255", Err(F::Multicast)),
            ("ff02::1", Err(F::Multicast)),
            ("240.0.0.1", Err(F::Reserved)),
            ("255.255.255.254", Err(F::Reserved)),
            ("192.0.0.8", Err(F::Reserved)),
            ("192.0.1.8", Ok(())),
            ("198.18.0.1", Ok(())),
            ("fec0::1", Ok(())),
            ("fd00:ec2::23", Err(F::Metadata)),
            ("fd00:ec3::23", Ok(())),
            ("fd00:42::42", Err(F::Metadata)),
            // Translated, and compatible down to the last bit.
            ("::ffff:0:8.8.8.8", Ok(())),
            ("::ffff:0:127.0.0.1", Err(F::Loopback)),
            ("::ffff:0:169.254.169.254", Err(F::LinkLocal)),
            ("::0.0.1.2", Err(F::Unspecified)),
            ("::2", Err(F::Unspecified)),
            // Teredo: a server of one's choice, and a client written upside down.
            ("2001:0:808:808:0:0:f7f7:f7f7", Ok(())),
            ("2001:0:a9fe:a9fe:0:0:f7f7:f7f7", Err(F::LinkLocal)),
            ("2001:0:808:808:0:0:5601:5601", Err(F::LinkLocal)),
            ("2001:1:a9fe:a9fe:0:0:f7f7:f7f7", Ok(())),
            // Local NAT64 in each layout.
            ("64:ff9b:1::8.8.8.8", Ok(())),
            ("64:ff9b:1:fffe::8.8.8.8", Ok(())),
            ("64:ff9b:1::169.254.169.254", Err(F::LinkLocal)),
            ("64:ff9b:1:a9fe:a9:fe00::", Err(F::LinkLocal)),
            ("64:ff9b:1:a9:fe:a9fe::", Err(F::LinkLocal)),
            ("64:ff9b:1:0:a9:fea9:fe00:0", Err(F::LinkLocal)),
            ("64:ff9b:2::169.254.169.254", Ok(())),
        ] {
            assert_eq!(rules.check(at(address, 443)), expected, "{address}");
        }
    }

    #[test]
    fn allows_loopback_and_nothing_else_when_asked() {
        let rules = rules(true);
        assert_eq!(rules.check(at("127.0.0.1", 443)), Ok(()));
        assert_eq!(rules.check(at("::1", 443)), Ok(()));
        assert_eq!(rules.check(at("169.254.169.254", 443)), Err(F::LinkLocal));
    }

    #[test]
    fn forbids_private_networks_and_their_disguises_only_when_asked() {
        for (address, private) in [
            ("10.0.0.1", true),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.0.1", true),
            ("192.169.0.1", false),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.1", false),
            ("198.19.0.1", true),
            ("198.20.0.1", false),
            ("fc00::1", true),
            ("fd12:3456::1", true),
            ("fec0::1", true),
            ("2001:db8::1", false),
            ("8.8.8.8", false),
            ("::ffff:10.0.0.1", true),
            ("::10.0.0.1", true),
            ("::ffff:0:10.0.0.1", true),
            ("64:ff9b::10.0.0.1", true),
            ("64:ff9b:1::10.0.0.1", true),
            ("2002:a00:1::", true),
        ] {
            let address = at(address, 443);
            assert_eq!(rules(false).check(address), Ok(()), "{address}");
            let expected = if private { Err(F::Private) } else { Ok(()) };
            assert_eq!(rules(false).with_private(false).check(address), expected, "{address}");
        }
    }

    #[test]
    fn every_rule_holds_for_an_address_that_stands_in_the_url() {
        for (url, expected) in [
            ("https://8.8.8.8/", Ok(())),
            ("https://registry.example/", Ok(())),
            ("https://127.0.0.1/", Err(F::Loopback)),
            ("https://127.1/", Err(F::Loopback)),
            ("https://0x7f000001/", Err(F::Loopback)),
            ("https://2130706433/", Err(F::Loopback)),
            ("https://017700000001/", Err(F::Loopback)),
            ("https://[::ffff:169.254.169.254]/", Err(F::LinkLocal)),
            ("https://10.96.0.1/", Err(F::ApiServer)),
            ("https://10.96.0.1:443/", Err(F::ApiServer)),
            ("http://10.96.0.1/", Ok(())),
        ] {
            assert_eq!(rules(false).check_literal(&url.parse().unwrap()), expected, "{url}");
        }
        // An interface in the address would send it out of a link of the caller's choice.
        assert!("https://[fe80::1%25eth0]/".parse::<Url>().is_err());
    }

    #[test]
    fn knows_the_api_server_however_its_address_is_written() {
        for written in ["10.96.0.1:443", "[::ffff:10.96.0.1]:443", "[::ffff:a60:1%7]:443"] {
            let rules = AddressRules::new(false, &[written.parse().unwrap()]);
            assert_eq!(rules.check(at("10.96.0.1", 443)), Err(F::ApiServer), "{written}");
            assert_eq!(rules.check(at("::ffff:10.96.0.1", 443)), Err(F::ApiServer), "{written}");
        }
        let rules = AddressRules::new(false, &["[fd00::1%7]:6443".parse().unwrap()]);
        assert_eq!(rules.check("[fd00::1]:6443".parse().unwrap()), Err(F::ApiServer));
        assert_eq!(rules.check("[fd00::1%3]:6443".parse().unwrap()), Err(F::ApiServer));
        assert_eq!(rules.check(at("fd00::1", 443)), Ok(()));
    }

    #[test]
    fn forbids_the_api_server_at_its_own_port_only() {
        let rules = rules(false);
        for (ip, port, expected) in [
            ("10.96.0.1", 443, Err(F::ApiServer)),
            ("::ffff:10.96.0.1", 443, Err(F::ApiServer)),
            ("64:ff9b::10.96.0.1", 443, Err(F::ApiServer)),
            ("10.96.0.1", 5000, Ok(())),
            ("10.96.0.2", 443, Ok(())),
        ] {
            assert_eq!(rules.check(at(ip, port)), expected, "{ip} {port}");
        }
    }
}
