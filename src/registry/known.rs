//! What is known of public registries beforehand. Each entry says less than a test would, and saves one.

use crate::domain::host::RegistryHost;

/// What is known of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Another host of the same operator that its challenges name as token server.
    pub(super) token_server: Option<&'static str>,
    /// It checks every login, although it gives tokens to those without one too.
    pub(super) checks_logins: bool,
}

/// The registries with a token server on another host.
const PAIRS: [(&str, &str); 3] = [
    // https://docs.docker.com/reference/api/registry/auth/
    ("registry-1.docker.io", "auth.docker.io"),
    // https://docs.gitlab.com/user/packages/container_registry/
    ("registry.gitlab.com", "gitlab.com"),
    // As the registry's challenge names it.
    ("registry.digitalocean.com", "api.digitalocean.com"),
];

/// Registries that refuse every wrong login. Some also lock out who sends several, so none is ever sent on purpose.
const CHECK_LOGINS: [&str; 8] = [
    "registry-1.docker.io",
    "registry.gitlab.com",
    "registry.digitalocean.com",
    "ghcr.io",
    "quay.io",
    "public.ecr.aws",
    "ecr-public.aws.com",
    "gcr.io",
];

/// The ends of the names of such registries.
const CHECK_LOGINS_SUFFIXES: [&str; 5] = [".azurecr.io", ".azurecr.cn", ".azurecr.us", ".pkg.dev", ".gcr.io"];

/// Amazon's registries by their names, as in `123456789012.dkr.ecr.eu-west-1.amazonaws.com`. Other names below that domain
/// are anybody's.
fn is_ecr(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    matches!(labels.as_slice(), [_, "dkr", "ecr" | "ecr-fips", _, "amazonaws", "com"])
        || matches!(labels.as_slice(), [_, "dkr", "ecr", _, "amazonaws", "com", "cn"])
}

/// What is known of a registry by its host.
pub(super) fn known(host: &RegistryHost) -> Known {
    let host = host.as_str();
    Known {
        token_server: PAIRS.iter().find(|(registry, _)| *registry == host).map(|(_, token_server)| *token_server),
        checks_logins: CHECK_LOGINS.contains(&host)
            || is_ecr(host)
            || CHECK_LOGINS_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)),
    }
}
