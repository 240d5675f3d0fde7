//! Second step: a spec that later steps can trust, or what is wrong with it. Pure.
//!
//! The API server checks most of it with the rules in the schema; they are repeated here because an object may have
//! been stored under an older schema.

mod issuer;
mod links;
mod selection;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{mapper, schedule::Grid};
use crate::{
    api::{
        Declared, Reason,
        connection::{
            DEFAULT_REFRESH_INTERVAL_MINUTES, DEFAULT_TEST_TIMEOUT_SECONDS, DeletionPolicy,
            MAX_REFRESH_INTERVAL_MINUTES, MAX_TEST_REPOSITORIES, MAX_TEST_TIMEOUT_SECONDS,
            MIN_REFRESH_INTERVAL_MINUTES, MIN_TEST_TIMEOUT_SECONDS, OnRejected, RenewalPolicy, Test, TestMode,
            TestRepository,
        },
        keys::{
            DATA_KEY_IN_WORDS, LABEL_VALUE_IN_WORDS, MAX_ANNOTATIONS, QUALIFIED_NAME_IN_WORDS, are_too_large,
            is_annotation_key, is_data_key, is_label_key, is_label_value,
        },
        names::{GROUP, MANAGED_BY_LABEL, OBJECT_NAME_IN_WORDS, is_object_name},
        provider::{CaKind, Provider, Way},
    },
    domain::{
        docker_config::ConfigKey,
        host::RegistryHost,
        image::{REFERENCE_IN_WORDS, REPOSITORY_IN_WORDS, Reference, RepositoryName},
        reference::ConnectionReference,
    },
    net::Http,
    problem::{Problem, field},
    provider::{
        endpoint::Endpoint,
        issuing::{self, Api},
        secret_ref_field,
    },
    registry::{self, Repository},
};

/// A connection whose spec makes sense.
#[derive(Clone)]
pub struct Connection {
    /// Kind, namespace and name.
    pub reference: ConnectionReference,
    /// The registry, and which of its images the login serves. None until a provider that issues credentials has told.
    pub site: Option<Site>,
    /// How the login is tested; none delivers it as it is given.
    pub test: Option<TestPlan>,
    /// Where the provider's API is, if it has one.
    pub api: Option<Api>,
    /// Only repositories below this path are served.
    pub prefix: Option<RepositoryName>,
    /// How the credential is obtained.
    pub provider: Provider,
    /// What is written.
    pub target: Target,
    /// When it is refreshed.
    pub grid: Grid,
    /// When a credential that a provider issues is renewed.
    pub renewal_policy: RenewalPolicy,
    /// When it was created.
    pub created: Timestamp,
    /// What a definite refusal does to the target.
    pub on_rejected: OnRejected,
    /// What the end of the connection does to the target.
    pub deletion_policy: DeletionPolicy,
}

impl Connection {
    /// The registry that the credential which is delivered is for, as a status tells; none if a provider's API does not say.
    pub fn site_told_by(&self, object: &Declared) -> Option<Site> {
        let endpoint = issued_before(object, self.api.as_ref()?)?;
        Some(Site::new(endpoint, self.prefix.as_ref()))
    }
}

/// A registry, and which of its images the login serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the registry is, and whom to trust there.
    pub endpoint: Endpoint,
    /// Which images the login serves, as the entry of the docker config says it.
    pub config_key: ConfigKey,
}

impl Site {
    /// Whether too many wait already for one of its servers.
    pub fn is_crowded(&self, http: &Http) -> bool {
        registry::is_crowded(http, &self.endpoint.registry, &self.endpoint.token_hosts)
    }

    /// The site of a registry.
    pub fn new(endpoint: Endpoint, prefix: Option<&RepositoryName>) -> Self {
        Self { config_key: ConfigKey::new(&endpoint.image_host, prefix), endpoint }
    }
}

/// How a login is tested.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TestPlan {
    /// The repositories it must be able to pull from.
    pub repositories: Vec<Repository>,
    /// How long the test may take.
    pub timeout: Duration,
}

/// The Secrets to write, without their credential.
#[derive(Clone)]
pub struct Target {
    /// The name of all of them.
    pub name: String,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// The user's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Checks a connection and fills in what the user left out.
///
/// # Errors
/// A [`Problem`] of reason `InvalidSpec` that names the field.
pub fn validate(object: &Declared, allow_loopback: bool) -> Result<Connection, Problem> {
    let spec = &object.spec;
    let (endpoint, api) = match spec.provider.way() {
        Way::Given(provider) => (Some(Endpoint::of(provider, allow_loopback)?), None),
        Way::Issued(provider) => {
            let api = issuing::api(provider, allow_loopback)?;
            (issued_before(object, &api), Some(api))
        }
    };
    let prefix = match &spec.repository_prefix {
        None => None,
        Some(text) => Some(RepositoryName::parse(text).ok_or_else(|| {
            invalid(field::REPOSITORY_PREFIX, "repositoryPrefix is not a path of repositories, such as team".into())
                .hint(REPOSITORY_IN_WORDS)
        })?),
    };
    let test = test_plan(spec.test.clone().unwrap_or_default(), &spec.provider)?;

    let minutes = spec.refresh_interval_minutes.unwrap_or(DEFAULT_REFRESH_INTERVAL_MINUTES);
    if !(MIN_REFRESH_INTERVAL_MINUTES..=MAX_REFRESH_INTERVAL_MINUTES).contains(&minutes) {
        let range = format!("{MIN_REFRESH_INTERVAL_MINUTES} to {MAX_REFRESH_INTERVAL_MINUTES}");
        let message = format!("refreshIntervalMinutes is {minutes}, it may be {range}");
        return Err(invalid(field::REFRESH_INTERVAL, message).hint(format!("write a number from {range}")));
    }

    if let Way::Issued(provider) = spec.provider.way() {
        issuer::check(provider, minutes)?;
    }

    let (source, target) = (&spec.provider.source_secret().name, mapper::target_name(object));
    let authority = spec.provider.authorities();
    let names = [(secret_ref_field(&spec.provider), source.as_str()), (field::SECRET_NAME, target)].into_iter();
    for (field, name) in names.chain(authority.map(|authority| (field::CA_REF, authority.name.as_str()))) {
        if !is_object_name(name) {
            let message = format!("{name:.300?} is not the name of an object");
            return Err(invalid(field, message).hint(OBJECT_NAME_IN_WORDS));
        }
    }
    let authority = authority.filter(|authority| authority.kind == CaKind::Secret).map(|authority| &authority.name);
    // What a connection of a cluster reads is where it may find its own name taken, as anywhere.
    if object.selection.is_none() && [Some(source), authority].into_iter().flatten().any(|read| read == target) {
        return Err(invalid(field::SECRET_NAME, format!("Secret {target:?} cannot be both read and written"))
            .hint("choose another name in spec.secret.name; absent means the connection's name"));
    }
    data_keys(&spec.provider)?;
    links::check(spec)?;
    if let Some(selection) = &object.selection {
        selection::check(object.name(), selection)?;
    }
    let secret = spec.secret.clone().unwrap_or_default();
    let (labels, annotations) = (secret.labels.unwrap_or_default(), secret.annotations.unwrap_or_default());
    let reserved_label = labels.keys().find(|key| is_reserved(key) || *key == MANAGED_BY_LABEL);
    let reserved_annotation = annotations.keys().find(|key| is_reserved(key));
    for (field, reserved) in [(field::SECRET_LABELS, reserved_label), (field::SECRET_ANNOTATIONS, reserved_annotation)]
    {
        if let Some(reserved) = reserved {
            let message = format!("the key {reserved:.300?} belongs to the operator");
            return Err(invalid(field, message).hint("remove it, or choose another key"));
        }
    }
    marks(&labels, &annotations)?;

    let created = object.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    Ok(Connection {
        reference: object.reference(),
        site: endpoint.map(|endpoint| Site::new(endpoint, prefix.as_ref())),
        api,
        prefix,
        test,
        provider: spec.provider.clone(),
        target: Target { name: target.to_owned(), labels, annotations },
        grid: Grid::new(created, uid, SignedDuration::from_mins(i64::from(minutes))),
        renewal_policy: spec.renewal_policy.unwrap_or_default(),
        created,
        on_rejected: spec.on_rejected.unwrap_or_default(),
        deletion_policy: spec.deletion_policy.unwrap_or_default(),
    })
}

/// The registry that the credential which is delivered is for, as the status tells.
fn issued_before(object: &Declared, api: &Api) -> Option<Endpoint> {
    let host = object.status.as_ref()?.registry_host.as_deref()?;
    api.endpoint(&RegistryHost::parse(host).ok()?)
}

/// The keys under which the provider reads are such that an object can have them.
fn data_keys(provider: &Provider) -> Result<(), Problem> {
    let login = provider.source_secret();
    let authority = provider.authorities().and_then(|authority| authority.key.as_ref());
    let keys = [login.username_key.as_ref(), login.password_key.as_ref(), login.token_key.as_ref()]
        .map(|key| (secret_ref_field(provider), key));
    for (field, key) in keys.into_iter().chain([(field::CA_REF, authority)]) {
        if let Some(key) = key.filter(|key| !is_data_key(key)) {
            return Err(
                invalid(field, format!("{key:.300?} cannot be a key in an object's data")).hint(DATA_KEY_IN_WORDS)
            );
        }
    }
    Ok(())
}

/// The API server would take a Secret with these labels and annotations.
fn marks(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Result<(), Problem> {
    let label = labels.keys().find(|key| !is_label_key(key));
    let annotation = annotations.keys().find(|key| !is_annotation_key(key));
    for (field, what, key) in
        [(field::SECRET_LABELS, "a label", label), (field::SECRET_ANNOTATIONS, "an annotation", annotation)]
    {
        if let Some(key) = key {
            return Err(
                invalid(field, format!("{key:.300?} cannot be the key of {what}")).hint(QUALIFIED_NAME_IN_WORDS)
            );
        }
    }
    if let Some((key, _)) = labels.iter().find(|(_, value)| !is_label_value(value)) {
        let message = format!("the value of {key:.300?} cannot be that of a label");
        return Err(invalid(field::SECRET_LABELS, message).hint(LABEL_VALUE_IN_WORDS));
    }
    if are_too_large(annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
        let message = format!("the annotations together are larger than {} KiB", MAX_ANNOTATIONS / 1024);
        return Err(invalid(field::SECRET_ANNOTATIONS, message).hint("make them smaller, or fewer"));
    }
    Ok(())
}

fn test_plan(test: Test, provider: &Provider) -> Result<Option<TestPlan>, Problem> {
    let seconds = test.timeout_seconds.unwrap_or(DEFAULT_TEST_TIMEOUT_SECONDS);
    if !(MIN_TEST_TIMEOUT_SECONDS..=MAX_TEST_TIMEOUT_SECONDS).contains(&seconds) {
        let range = format!("{MIN_TEST_TIMEOUT_SECONDS} to {MAX_TEST_TIMEOUT_SECONDS}");
        let message = format!("timeoutSeconds is {seconds}, it may be {range}");
        return Err(invalid(field::TEST_TIMEOUT, message).hint(format!("write a number from {range}")));
    }
    let listed = test.repositories.unwrap_or_default();
    if listed.len() > MAX_TEST_REPOSITORIES {
        let message = format!("repositories has {} entries, it may have {MAX_TEST_REPOSITORIES}", listed.len());
        let hint = format!("keep at most {MAX_TEST_REPOSITORIES}");
        return Err(invalid(field::TEST_REPOSITORIES, message).hint(hint));
    }
    let repositories = listed.into_iter().map(|listed| repository(listed, provider)).collect::<Result<_, _>>()?;
    let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Ok(match test.mode.unwrap_or(TestMode::Required) {
        TestMode::Required => Some(TestPlan { repositories, timeout }),
        TestMode::Off => None,
    })
}

fn repository(listed: TestRepository, provider: &Provider) -> Result<Repository, Problem> {
    let TestRepository { name, reference } = listed;
    let unusable = |what: &str| invalid(field::TEST_REPOSITORIES, format!("{what} under test.repositories"));
    // Docker Hub's own images are written without their namespace.
    let name = if matches!(provider, Provider::Dockerhub(_)) && !name.contains('/') {
        format!("library/{name}")
    } else {
        name
    };
    let name = RepositoryName::parse(&name)
        .ok_or_else(|| unusable(&format!("{name:.300?} is not a repository's name")).hint(REPOSITORY_IN_WORDS))?;
    let reference = match reference {
        None => None,
        Some(text) => Some(Reference::parse(&text).ok_or_else(|| {
            unusable(&format!("{text:.300?} is neither a tag nor a digest")).hint(REFERENCE_IN_WORDS)
        })?),
    };
    Ok(Repository { name, reference })
}

fn invalid(field: &'static str, message: String) -> Problem {
    Problem::new(Reason::InvalidSpec, message).at(field)
}

fn is_reserved(key: &str) -> bool {
    key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RegistryConnection;
    use serde_json::{Value, json};

    fn connection(change: impl FnOnce(&mut Value)) -> Declared {
        let mut object = json!({
            "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection",
            "metadata": {"name": "images", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"provider": {"generic": {"registryUrl": "https://r.example", "secretRef": {"name": "login"}}}},
        });
        change(&mut object);
        serde_json::from_value::<RegistryConnection>(object).unwrap().into()
    }

    #[test]
    fn fills_in_what_the_user_left_out() {
        let connection = validate(&connection(|_| {}), false).unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(connection.target.name, "images");
        assert_eq!(connection.reference.to_string(), "RegistryConnection/shop/images");
    }

    #[test]
    fn names_the_field_of_every_value_it_cannot_use() {
        type Change = fn(&mut Value);
        let cases: [(&str, &str, Change); 18] = [
            ("user info", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "https://u:canary@r.example".into();
            }),
            ("path", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "https://r.example/team".into();
            }),
            ("plain http", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "http://r.example".into();
            }),
            ("loopback", field::REGISTRY_URL, |o| {
                o["spec"]["provider"]["generic"]["registryUrl"] = "http://127.0.0.1:5000".into();
            }),
            ("interval", field::REFRESH_INTERVAL, |o| o["spec"]["refreshIntervalMinutes"] = 4.into()),
            ("path as name of the source", field::SECRET_REF, |o| {
                o["spec"]["provider"]["generic"]["secretRef"]["name"] = "../../victim/secrets/login".into();
            }),
            ("no name of the target", field::SECRET_NAME, |o| o["spec"]["secret"] = json!({"name": "a..b"})),
            ("target is source", field::SECRET_NAME, |o| o["spec"]["secret"] = json!({"name": "login"})),
            ("reserved label", field::SECRET_LABELS, |o| {
                o["spec"]["secret"] = json!({"labels": {"regcred.dev/x": "1"}})
            }),
            ("reserved annotation", field::SECRET_ANNOTATIONS, |o| {
                o["spec"]["secret"] = json!({"annotations": {"regcred.dev/x": "1"}});
            }),
            ("key of the user name", field::SECRET_REF, |o| {
                o["spec"]["provider"]["generic"]["secretRef"]["usernameKey"] = "a b".into();
            }),
            ("key of the password", field::SECRET_REF, |o| {
                o["spec"]["provider"]["generic"]["secretRef"]["passwordKey"] = "a/b".into();
            }),
            ("key of the login at Docker Hub", field::DOCKERHUB_SECRET_REF, |o| {
                o["spec"]["provider"] = json!({"dockerhub": {"secretRef": {"name": "login", "passwordKey": ".."}}});
            }),
            ("key of the authority", field::CA_REF, |o| {
                o["spec"]["provider"]["generic"]["caRef"] = json!({"kind": "Secret", "name": "x", "key": "a b"});
            }),
            ("key of a label", field::SECRET_LABELS, |o| {
                o["spec"]["secret"] = json!({"labels": {"bad key!": "1"}});
            }),
            ("value of a label", field::SECRET_LABELS, |o| {
                o["spec"]["secret"] = json!({"labels": {"team": "canary!"}});
            }),
            ("key of an annotation", field::SECRET_ANNOTATIONS, |o| {
                o["spec"]["secret"] = json!({"annotations": {"a/b/c": "1"}});
            }),
            ("size of the annotations", field::SECRET_ANNOTATIONS, |o| {
                o["spec"]["secret"] = json!({"annotations": {"a": "canary".repeat(50_000)}});
            }),
        ];
        for (name, field, change) in cases {
            let problem = validate(&connection(change), false).err().unwrap_or_else(|| panic!("{name}"));
            assert_eq!((problem.reason, problem.field), (Reason::InvalidSpec, Some(field)), "{name}");
            assert!(!format!("{problem:?}").contains("canary"), "{name}");
        }
    }

    #[test]
    fn allows_plain_http_on_loopback_when_the_operator_was_told_to() {
        let object = connection(|o| {
            o["spec"]["provider"]["generic"]["registryUrl"] = "http://127.0.0.1:5000".into();
        });
        assert!(validate(&object, true).is_ok());
    }
}
