//! What it means for the user that a request got no answer, whoever was asked: a registry or a provider's API. Pure.

use std::time::Duration;

use crate::{
    api::Reason,
    net::{Failure, ForbiddenAddress, HeldCause},
};

/// The reason of the problem.
pub fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::AddressNotAllowed(_) => Reason::AddressNotAllowed,
        Failure::Tls(_) => Reason::TlsFailed,
        Failure::TooLong | Failure::OutOfScope => Reason::ProtocolError,
        Failure::NotResolved
        | Failure::TimedOut
        | Failure::ConnectionRefused
        | Failure::NotConnected
        | Failure::Proxy(_)
        | Failure::Broken => Reason::Unreachable,
        Failure::Held { cause: HeldCause::Asked, .. } => Reason::RateLimited,
        Failure::Held { cause: HeldCause::Unanswered(failure), .. } => reason(failure),
    }
}

/// How long nothing will be sent there.
pub fn pause(failure: &Failure) -> Option<Duration> {
    match failure {
        Failure::Held { pause, .. } => Some(*pause),
        Failure::AddressNotAllowed(_)
        | Failure::Tls(_)
        | Failure::TooLong
        | Failure::OutOfScope
        | Failure::NotResolved
        | Failure::TimedOut
        | Failure::ConnectionRefused
        | Failure::NotConnected
        | Failure::Proxy(_)
        | Failure::Broken => None,
    }
}

/// What to do about it, where that is something else than usual for the reason. `whose` is whom the address belongs to, as
/// in "the registry's".
pub fn advice(failure: &Failure, whose: &str) -> Option<String> {
    match failure {
        Failure::AddressNotAllowed(ForbiddenAddress::Loopback) => Some(
            "use an address that Pods can reach; for tests on one machine start the operator with --allow-loopback"
                .into(),
        ),
        Failure::AddressNotAllowed(ForbiddenAddress::Private) => Some(format!(
            "use {whose} public address, or ask whoever runs the operator to start it without --forbid-private-addresses"
        )),
        Failure::Proxy(_) => Some(
            "ask whoever runs the operator to look at the proxy that --https-proxy names; delivered Secrets stay"
                .into(),
        ),
        Failure::Held { cause: HeldCause::Unanswered(failure), .. } => advice(failure, whose),
        Failure::AddressNotAllowed(_)
        | Failure::Held { cause: HeldCause::Asked, .. }
        | Failure::Tls(_)
        | Failure::TooLong
        | Failure::OutOfScope
        | Failure::NotResolved
        | Failure::TimedOut
        | Failure::ConnectionRefused
        | Failure::NotConnected
        | Failure::Broken => None,
    }
}
