//! Which addresses the operator never connects to, whoever asks for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rules of one operator process.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressRules {
    /// Connections to this machine are possible: for tests and the demo.
    pub(super) allow_loopback: bool,
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
    pub(super) fn check(self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        match address {
            IpAddr::V4(address) => self.check_v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(embedded) => self.check_v4(embedded),
                None => self.check_v6(address),
            },
        }
    }

    fn check_v4(self, address: Ipv4Addr) -> Result<(), ForbiddenAddress> {
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

    fn check_v6(self, address: Ipv6Addr) -> Result<(), ForbiddenAddress> {
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

    fn check_loopback(self) -> Result<(), ForbiddenAddress> {
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

    #[test]
    fn forbids_this_machine_metadata_services_and_their_disguises() {
        let rules = AddressRules { allow_loopback: false };
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
            assert_eq!(rules.check(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn allows_loopback_and_nothing_else_when_asked() {
        let rules = AddressRules { allow_loopback: true };
        assert_eq!(rules.check("127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(rules.check("::1".parse().unwrap()), Ok(()));
        assert_eq!(rules.check("169.254.169.254".parse().unwrap()), Err(F::LinkLocal));
    }
}
