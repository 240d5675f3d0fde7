//! The scenario around a fake: real names over TLS by an own authority, one connection per case, and what holds for all of
//! them.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use regcred::api::{RegistryConnection, status::RepositoryVerdict};
use serde_json::{Value, json};
use testenv::{Listener, Reply, Scratch, Seen, certificates::Authority};

use super::fake::{Fake, MARKER, TAG, bare};
use crate::scenario::{Scenario, get};

/// One connection: a login, what is listed under `test.repositories`, and what has to come of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub login: (&'static str, &'static str),
    pub repositories: &'static [&'static str],
    /// Value and reason of Ready.
    pub ready: (&'static str, &'static str),
    pub found: &'static [RepositoryVerdict],
}

/// A case without repositories.
pub fn case(name: &'static str, login: (&'static str, &'static str), ready: (&'static str, &'static str)) -> Case {
    Case { name, login, repositories: &[], ready, found: &[] }
}

impl Case {
    /// The same with repositories, and what has to be found of each.
    pub fn repositories(self, repositories: &'static [&'static str], found: &'static [RepositoryVerdict]) -> Self {
        Self { repositories, found, ..self }
    }

    /// Whether the operator asks again only when something changes or time has passed.
    fn is_settled(&self) -> bool {
        !matches!(self.ready.1, "AccessBlocked" | "RateLimited" | "ProtocolError")
    }
}

/// See the module.
pub struct Layout {
    pub scenario: Scenario,
    pub fake: Arc<Fake>,
    pub hosts: Vec<(String, Listener)>,
    pub authority: Authority,
    /// The only paths at which the registry or its token server takes a login. Empty if every path does.
    pub desks: &'static [&'static str],
    _scratch: Option<Scratch>,
}

impl Layout {
    /// A namespace without an operator; its authority stands in the ConfigMap `authority`.
    pub async fn prepare(name: &str, fake: Fake, desks: &'static [&'static str]) -> Result<Self> {
        let scenario = Scenario::prepare(name).await?;
        let authority = Authority::new()?;
        scenario.write_authority("authority", authority.certificate()).await?;
        Ok(Self { scenario, fake: Arc::new(fake), hosts: vec![], authority, desks, _scratch: None })
    }

    /// Lets the operator trust the authority by itself, for connections that name none.
    pub fn trust_by_file(&mut self) -> Result<()> {
        let scratch = Scratch::new("regcred-authority")?;
        let file = scratch.path().join("ca.crt");
        fs::write(&file, self.authority.certificate())?;
        self.scenario.arguments.ca_file = Some(file);
        self._scratch = Some(scratch);
        Ok(())
    }

    /// Serves a host by its own name, with a certificate for nothing but that name. Returns the port.
    pub fn serve(&mut self, host: &str, answer: impl Fn(&Fake, &Seen) -> Reply + Send + Sync + 'static) -> Result<u16> {
        let (fake, name) = (Arc::clone(&self.fake), host.to_owned());
        let listener = Listener::tls(&self.authority.server_named(&[host])?, move |seen| {
            let asked = seen.header("Host").unwrap_or_default();
            if asked.split(':').next() == Some(name.as_str()) { answer(&fake, seen) } else { bare(421) }
        })?;
        self.scenario.names.set(host, listener.address());
        let port = listener.port();
        self.hosts.push((host.to_owned(), listener));
        Ok(port)
    }

    /// The spec of a generic connection that trusts the authority.
    pub fn generic(&self, url: &str, token_hosts: &[&str]) -> Value {
        json!({"provider": {"generic": {
            "registryUrl": url, "secretRef": {"name": "login"},
            "caRef": {"kind": "ConfigMap", "name": "authority"}, "trustedTokenHosts": token_hosts,
        }}})
    }

    /// What reached a host.
    pub fn listener(&self, host: &str) -> &Listener {
        let found = self.hosts.iter().find(|(name, _)| name == host);
        &found.unwrap_or_else(|| panic!("{host} is not served")).1
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.hosts.iter().flat_map(|(_, listener)| listener.requests()).collect()
    }

    /// Every request with this login.
    pub fn with(&self, login: (&str, &str)) -> Vec<Seen> {
        let is_it = |seen: &Seen| seen.basic().is_some_and(|(user, password)| (&*user, &*password) == login);
        self.requests().into_iter().filter(is_it).collect()
    }

    /// Requests with a login that the operator made up.
    pub fn strangers(&self) -> usize {
        let is_it = |seen: &&Seen| seen.basic().is_some_and(|(user, _)| user.starts_with("regcred-control-"));
        self.requests().iter().filter(is_it).count()
    }

    /// Starts the operator.
    pub async fn start(&mut self) -> Result<()> {
        self.scenario.start_operator().await
    }

    /// Creates a connection per case, all before the first is waited for, with what each reads.
    pub async fn connect(&self, spec: &Value, cases: &[Case]) -> Result<()> {
        for case in cases {
            let secret = format!("{}-login", case.name);
            let (user, password) = case.login;
            self.scenario.write_secret(&secret, "Opaque", json!({"username": user, "password": password})).await?;
            let mut spec = spec.clone();
            for provider in spec["provider"].as_object_mut().into_iter().flat_map(|provider| provider.values_mut()) {
                provider["secretRef"]["name"] = secret.as_str().into();
            }
            if !case.repositories.is_empty() {
                let listed = case.repositories.iter().map(|text| match text.split_once(':') {
                    Some((name, reference)) => json!({"name": name, "reference": reference}),
                    None => json!({"name": text}),
                });
                spec["test"] = json!({"repositories": listed.collect::<Vec<_>>()});
            }
            self.scenario.connect(case.name, spec).await?;
        }
        Ok(())
    }

    /// Creates the cases' connections, waits for each, and checks what holds for every one of them.
    pub async fn judge(&self, spec: &Value, image_host: &str, cases: &[Case]) -> Result<()> {
        self.connect(spec, cases).await?;
        for case in cases {
            let connection = self.scenario.ready(case.name, case.ready.0, case.ready.1).await.context(case.name)?;
            self.judge_one(&connection, image_host, case).await.context(case.name)?;
        }
        self.touch(cases).await?;
        self.judge_all(cases)?;
        self.judge_words().await
    }

    async fn judge_one(&self, connection: &RegistryConnection, image_host: &str, case: &Case) -> Result<()> {
        let status = connection.status.clone().context("no status")?;
        if case.is_settled() {
            let found: Vec<_> = status.last_test.iter().flat_map(|test| &test.repositories).collect();
            let verdicts: Vec<_> = found.iter().map(|repository| repository.verdict).collect();
            ensure!(verdicts == case.found, "{found:?} instead of {:?}", case.found);
        }
        match &status.last_error {
            None => ensure!(case.ready.0 == "True", "no error"),
            Some(error) => ensure!(error.code.as_str() == case.ready.1 && error.hint.is_some(), "{error:?}"),
        }
        if case.ready.1 == "InvalidCredentials" {
            let message = status.last_error.map(|error| error.message).unwrap_or_default();
            ensure!(message.starts_with("login: ") && message.contains("refused the login in Secret"), "{message}");
        }
        let Some(secret) = self.scenario.secrets().get_opt(case.name).await? else {
            ensure!(case.ready.0 == "False", "nothing is delivered");
            return Ok(());
        };
        ensure!(case.ready.0 == "True", "a Secret is delivered");
        let image = format!("{image_host}/library/app:{TAG}");
        let found = self.scenario.shared.keyring.credentials(&image, &[secret])?;
        let (user, password) = case.login;
        ensure!(found == [(user.to_owned(), password.to_owned())], "the kubelet finds {} logins", found.len());
        Ok(())
    }

    /// Changes what says nothing to a registry, and waits until that has been looked at.
    async fn touch(&self, cases: &[Case]) -> Result<()> {
        let refused: Vec<_> = cases.iter().filter(|case| case.ready.1 == "InvalidCredentials").collect();
        for case in &refused {
            let label = json!({"spec": {"secret": {"labels": {"touched": "yes"}}}});
            self.scenario.edit(case.name, label).await?;
        }
        for case in &refused {
            self.scenario.ready(case.name, "False", "InvalidCredentials").await.context(case.name)?;
        }
        Ok(())
    }

    /// What reached the hosts.
    fn judge_all(&self, cases: &[Case]) -> Result<()> {
        for case in cases {
            let sent = self.with(case.login);
            let is_login = |seen: &&Seen| seen.query("scope").is_empty() && !seen.path().contains("/tags/list");
            let logins = sent.iter().filter(is_login).filter(|seen| !seen.path().contains("/manifests/")).count();
            ensure!(logins == 1, "{}: {logins} logins instead of one: {sent:?}", case.name);
            if case.ready.1 == "InvalidCredentials" {
                ensure!(sent.len() == 1, "{}: a refused login was sent {} times", case.name, sent.len());
            }
            let is_proven = matches!(case.ready.1, "LoginProven" | "RepositoriesProven" | "InsufficientScope");
            ensure!(!is_proven || self.fake.has_opened(case.login), "{}: nothing was opened", case.name);
        }
        for seen in self.requests() {
            ensure!(matches!(seen.method.as_str(), "GET" | "HEAD"), "{} {}", seen.method, seen.target);
            let is_pull = seen.method == "GET" && seen.path().contains("/manifests/");
            ensure!(!is_pull, "a manifest was asked for with GET, which counts as a pull: {}", seen.target);
            let is_at_desk = self.desks.is_empty() || self.desks.contains(&seen.path());
            ensure!(seen.basic().is_none() || is_at_desk, "a login was sent to {}", seen.path());
        }
        Ok(())
    }

    /// No word of what the provider said is repeated, nor any password.
    pub async fn judge_words(&self) -> Result<()> {
        let events: Api<Event> = Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace);
        let address = self.scenario.metrics_addr.context("no operator")?;
        let all = [
            serde_json::to_string(&self.scenario.connections().list(&Default::default()).await?.items)?,
            serde_json::to_string(&events.list(&Default::default()).await?.items)?,
            get(address, "/metrics").await?.1,
        ];
        let passwords = self.requests().into_iter().filter_map(|seen| Some(seen.basic()?.1));
        for word in passwords.chain([MARKER.to_owned()]) {
            ensure!(all.iter().all(|text| !text.contains(&word)), "{word} is told");
        }
        Ok(())
    }

    /// The end of every scenario whose connections are all settled: a restart causes no login.
    pub async fn finish(self, cases: &[Case]) -> Result<()> {
        let Self { scenario, hosts, .. } = self;
        let all = |hosts: &[(String, Listener)]| -> Vec<Seen> {
            hosts.iter().flat_map(|(_, listener)| listener.requests()).filter(|seen| seen.basic().is_some()).collect()
        };
        let before = all(&hosts);
        scenario.finish().await?;
        ensure!(cases.iter().all(Case::is_settled), "not all are settled");
        let after = all(&hosts);
        ensure!(before == after, "{} logins became {} by a restart", before.len(), after.len());
        Ok(())
    }
}
