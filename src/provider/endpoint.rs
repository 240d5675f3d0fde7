//! Where a connection's registry is and whom to trust there, from the provider's part of the spec. Pure.

use std::collections::BTreeSet;

use crate::{
    api::{
        Reason,
        provider::{Generic, GivenBy},
    },
    domain::host::{InvalidRegistryUrl, RegistryHost, RegistryUrl},
    problem::{Problem, field},
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where the operator reaches the registry.
    pub registry: RegistryUrl,
    /// The host as it stands in image names.
    pub image_host: RegistryHost,
    /// Other hosts that may have the login, in an order of their own: those of the spec say the same in any.
    pub token_hosts: Vec<RegistryHost>,
    /// Anybody on this machine may have the login: of a registry on this machine that no spec names a token server for.
    pub this_machine: bool,
    /// Addresses of private networks may be reached: somebody who may decide that named the registry, in the spec or in the API
    /// of a provider, and no API of a user's choice.
    pub private: bool,
}

impl Endpoint {
    /// The endpoint a provider names.
    ///
    /// # Errors
    /// A [`Problem`] of reason `InvalidSpec` that names the field.
    pub fn of(provider: GivenBy<'_>, allow_loopback: bool) -> Result<Self, Problem> {
        match provider {
            GivenBy::Generic(generic) => Self::generic(generic, allow_loopback),
            GivenBy::Dockerhub(_) => {
                let registry = RegistryUrl::docker_hub().map_err(|error| invalid(field::REGISTRY_URL, error))?;
                Ok(Self {
                    registry,
                    image_host: RegistryHost::docker_hub(),
                    token_hosts: vec![],
                    this_machine: false,
                    private: true,
                })
            }
        }
    }

    /// The endpoint of the registry that an issued credential is for. The hosts of the API that issued it belong to the same
    /// company, and one of them may be the registry's token server. Where an operator connects to loopback addresses at all,
    /// for tests, the token server of a registry there may be anywhere on that machine.
    ///
    /// # Errors
    /// None for a host that was read as one before.
    pub fn issued(
        registry: &RegistryHost,
        plain_http: bool,
        api_hosts: Vec<RegistryHost>,
        private: bool,
    ) -> Result<Self, InvalidRegistryUrl> {
        let scheme = if plain_http { "http" } else { "https" };
        let registry = RegistryUrl::parse_as(registry.as_str(), scheme)?;
        let this_machine = registry.is_loopback();
        Ok(Self { image_host: registry.host().clone(), registry, token_hosts: api_hosts, this_machine, private })
    }

    /// The host to show: Docker Hub's API has a name that nobody writes.
    pub fn shown_host(&self) -> &RegistryHost {
        if self.image_host.is_docker_hub() { &self.image_host } else { self.registry.host() }
    }

    fn generic(generic: &Generic, allow_loopback: bool) -> Result<Self, Problem> {
        let is_insecure = generic.insecure.unwrap_or(false);
        let scheme = if is_insecure { "http" } else { "https" };
        let registry = RegistryUrl::parse_as(&generic.registry_url, scheme)
            .map_err(|error| invalid(field::REGISTRY_URL, error))?;
        if registry.host().is_docker_hub() {
            return Err(Problem::new(
                Reason::InvalidSpec,
                "registryUrl is Docker Hub, which has a provider of its own",
            )
            .at(field::REGISTRY_URL)
            .hint("use spec.provider.dockerhub with the same secretRef instead of spec.provider.generic"));
        }
        if is_insecure && !registry.is_plain_http() {
            return Err(Problem::new(Reason::InvalidSpec, "insecure means plain http, but registryUrl says https")
                .at(field::INSECURE)
                .hint("remove one of the two; for a certificate of your own authority use caRef"));
        }
        if registry.is_loopback() && !allow_loopback {
            return Err(Problem::new(Reason::InvalidSpec, "the operator does not connect to loopback addresses")
                .at(field::REGISTRY_URL)
                .hint(
                    "use an address that Pods can reach; for tests on one machine start the operator, and \
                     regcred check, with --allow-loopback",
                ));
        }
        if registry.is_plain_http() && !registry.is_loopback() && !is_insecure {
            return Err(Problem::new(
                Reason::InvalidSpec,
                "registryUrl says plain http, which would send the login unencrypted",
            )
            .at(field::REGISTRY_URL)
            .hint(format!("use https, or set {} to true if that is meant", field::INSECURE)));
        }
        let image_host = match &generic.image_host {
            None => registry.host().clone(),
            Some(text) => RegistryHost::parse(text).map_err(|error| invalid(field::IMAGE_HOST, error))?,
        };
        if image_host.is_docker_hub() {
            return Err(Problem::new(Reason::InvalidSpec, "imageHost is Docker Hub, which this registry is not")
                .at(field::IMAGE_HOST)
                .hint("use spec.provider.dockerhub for Docker Hub"));
        }
        let token_hosts = generic.trusted_token_hosts.iter().flatten();
        let token_hosts = token_hosts
            .map(|text| RegistryHost::parse(text).map_err(|error| invalid(field::TRUSTED_TOKEN_HOSTS, error)))
            .collect::<Result<BTreeSet<_>, _>>()?;
        let token_hosts = token_hosts.into_iter().collect();
        Ok(Self { registry, image_host, token_hosts, this_machine: false, private: true })
    }
}

/// The input is not shown: it may hold a password.
fn invalid(field: &'static str, error: InvalidRegistryUrl) -> Problem {
    let name = match field {
        field::TRUSTED_TOKEN_HOSTS => "an entry of trustedTokenHosts",
        field => field.rsplit('.').next().unwrap_or(field),
    };
    Problem::new(Reason::InvalidSpec, format!("{name} cannot be used: {error}")).at(field).hint(remedy(error))
}

fn remedy(error: InvalidRegistryUrl) -> &'static str {
    match error {
        InvalidRegistryUrl::UserInfo => {
            "put user name and password into the Secret that secretRef names; if others have seen them here, change them"
        }
        InvalidRegistryUrl::Path => {
            "name the host only; a path belongs to the names of images, or to spec.repositoryPrefix"
        }
        InvalidRegistryUrl::NotAUrl
        | InvalidRegistryUrl::Scheme
        | InvalidRegistryUrl::NoHost
        | InvalidRegistryUrl::Query
        | InvalidRegistryUrl::NotAHost => "write a host with an optional port, such as registry.example.com:5000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::provider::DockerHub;
    use serde_json::{Value, json};

    fn provider(generic: &Value) -> Generic {
        let mut provider = json!({"registryUrl": "https://r.example", "secretRef": {"name": "login"}});
        for (key, value) in generic.as_object().unwrap() {
            provider[key] = value.clone();
        }
        serde_json::from_value(provider).unwrap()
    }

    fn endpoint(generic: Value, allow_loopback: bool) -> Result<Endpoint, Problem> {
        Endpoint::of(GivenBy::Generic(&provider(&generic)), allow_loopback)
    }

    #[test]
    fn fills_in_what_the_user_left_out() {
        for (generic, registry, image_host) in [
            (json!({}), "https://r.example/v2/", "r.example"),
            (json!({"imageHost": "I.example:5000"}), "https://r.example/v2/", "i.example:5000"),
            (json!({"registryUrl": "r.example:5000", "insecure": true}), "http://r.example:5000/v2/", "r.example:5000"),
            (json!({"registryUrl": "http://r.example", "insecure": true}), "http://r.example/v2/", "r.example"),
        ] {
            let found = endpoint(generic.clone(), false).unwrap();
            assert_eq!((found.registry.api().as_str(), found.image_host.as_str()), (registry, image_host), "{generic}");
        }
        let docker_hub: DockerHub = serde_json::from_value(json!({"secretRef": {"name": "x"}})).unwrap();
        let found = Endpoint::of(GivenBy::Dockerhub(&docker_hub), false).unwrap();
        assert_eq!(found.registry.api().as_str(), "https://registry-1.docker.io/v2/");
        assert_eq!(found.shown_host().as_str(), "docker.io");
    }

    #[test]
    fn names_the_field_of_every_value_it_cannot_use() {
        for (generic, field) in [
            (json!({"registryUrl": "https://u:canary@r.example"}), field::REGISTRY_URL),
            (json!({"registryUrl": "https://r.example/team"}), field::REGISTRY_URL),
            (json!({"registryUrl": "http://r.example"}), field::REGISTRY_URL),
            (json!({"registryUrl": "http://127.0.0.1:5000", "insecure": true}), field::REGISTRY_URL),
            (json!({"registryUrl": "https://index.docker.io/v1/"}), field::REGISTRY_URL),
            (json!({"insecure": true}), field::INSECURE),
            (json!({"imageHost": "https://canary"}), field::IMAGE_HOST),
            (json!({"imageHost": "docker.io"}), field::IMAGE_HOST),
            (json!({"trustedTokenHosts": ["auth.example", "canary/x"]}), field::TRUSTED_TOKEN_HOSTS),
        ] {
            let problem = endpoint(generic.clone(), false).unwrap_err();
            assert_eq!((problem.reason, problem.field), (Reason::InvalidSpec, Some(field)), "{generic}");
            assert!(!format!("{problem:?}").contains("canary"), "{generic}");
        }
    }

    #[test]
    fn allows_plain_http_on_loopback_when_the_operator_was_told_to() {
        assert!(endpoint(json!({"registryUrl": "http://127.0.0.1:5000"}), true).is_ok());
    }
}
