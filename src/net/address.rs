//! Which addresses the operator never connects to, whoever asks for it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use url::{Host, Url};

/// The rules of one operator process.
#[derive(Clone, Debug)]
pub(super) struct AddressRules {
    /// Connections to this machine are possible: for tests and the demo.
    pub(super) allow_loopback: bool,
    /// Where the API server listens.
    pub(super) api_server: Arc<[SocketAddr]>,
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
    /// 0.0.0.0 and ::, which some systems take for this machine.
    #[error("it is the unspecified address")]
    Unspecified,
    /// Multicast and broadcast.
    #[error("it is a multicast or broadcast address")]
    Multicast,
    /// The API server of this cluster, at its own port.
    #[error("it is the API server of this cluster")]
    ApiServer,
}

/// Cloud services outside the link-local range: Alibaba Cloud's metadata, Azure's host agent, Oracle Cloud's metadata.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// The IPv6 metadata addresses of Amazon's and Google's clouds.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

impl AddressRules {
    /// Whether the operator may connect to the address.
    ///
    /// # Errors
    /// [`ForbiddenAddress`] says which rule forbids it.
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), ForbiddenAddress> {
        let ip = match address.ip() {
            IpAddr::V6(ip) => embedded_v4(ip).map_or(IpAddr::V6(ip), IpAddr::V4),
            ip @ IpAddr::V4(_) => ip,
        };
        if self.api_server.contains(&SocketAddr::new(ip, address.port())) {
            return Err(ForbiddenAddress::ApiServer);
        }
        match ip {
            IpAddr::V4(ip) => self.check_v4(ip),
            IpAddr::V6(ip) => self.check_v6(ip),
        }
    }

    /// The same for the host of a URL if it is written as an address, which no resolver sees.
    ///
    /// # Errors
    /// [`ForbiddenAddress`] says which rule forbids it.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), ForbiddenAddress> {
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.check(SocketAddr::new(ip, url.port_or_known_default().unwrap_or_default()))
    }

    fn check_v4(&self, address: Ipv4Addr) -> Result<(), ForbiddenAddress> {
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
        } else {
            Ok(())
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), ForbiddenAddress> {
        if address.is_loopback() {
            self.check_loopback()
        } else if address.is_unspecified() {
            Err(ForbiddenAddress::Unspecified)
        } else if address.is_unicast_link_local() {
            Err(ForbiddenAddress::LinkLocal)
        } else if METADATA_V6.contains(&address) {
            Err(ForbiddenAddress::Metadata)
        } else if address.is_multicast() {
            Err(ForbiddenAddress::Multicast)
        } else {
            Ok(())
        }
    }

    fn check_loopback(&self) -> Result<(), ForbiddenAddress> {
        if self.allow_loopback { Ok(()) } else { Err(ForbiddenAddress::Loopback) }
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), NAT64
/// (`64:ff9b::/96`, RFC 6052) or 6to4 (`2002::/16`, RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let tail = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(tail),
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(tail),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ForbiddenAddress as F;

    fn rules(allow_loopback: bool) -> AddressRules {
        AddressRules { allow_loopback, api_server: Arc::new(["10.96.0.1:443".parse().unwrap()]) }
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
