//! What a case is: how its registry acts, where its listeners are, and what has to come of it. Nothing runs here.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use regcred::api::Reason;
use serde_json::{Value, json};
use testenv::{
    Reply, Seen,
    certificates::{Authority, Identity},
};

use super::reply::Me;

/// Defines the enum and its list in one place, so that none can be forgotten.
macro_rules! classes {
    ($($name:ident)*) => {
        /// What is hostile about a case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Class { $($name),* }

        impl Class {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

classes! {
    ByName ByIpv4 ByIpv6 Mapped Nat64 SixToFour Unspecified Decimal Octal Metadata OtherPort UserInfo TrailingDot LookAlike
    Suffix UpperCase Idna SchemeDowngrade RedirectAtApi RedirectAtTokenServer RedirectAtManifest DnsSecondAnswer DnsMixed
    ApiServer Huge Endless Slow Compressed Truncated NonUtf8 Garbage EndlessChallenges NoToken SkewedExpiry Forever401
    ManyHeaders WrongCertificate WrongName Expired
}

/// What a registry does instead of behaving; `None` behaves.
pub type Act = Arc<dyn Fn(&Seen, &Me) -> Option<Reply> + Send + Sync>;

/// How a listener's certificate is made.
pub type Make = fn(&Authority) -> Result<Identity>;

/// The answers of a name, in turn, from where the registry and the foreign listener are.
pub type Script = fn(SocketAddr, SocketAddr) -> Vec<Vec<SocketAddr>>;

/// What has to come of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The value of the Ready condition.
    pub ready: &'static str,
    /// Its reason, and that of an Event.
    pub reason: Reason,
    /// How many logins one test of the connection sends.
    pub logins: usize,
    /// The foreign listener is trusted now, and has to hear the login.
    pub told: bool,
    /// What is wrong although Ready is True.
    pub doubt: Option<Reason>,
    /// What the message, the hint or the field says.
    pub says: &'static str,
}

impl Outcome {
    /// Ready False, for a reason, and no login.
    pub fn fails(reason: Reason) -> Self {
        Self { ready: "False", reason, logins: 0, told: false, doubt: None, says: "" }
    }

    /// Ready True, with so many logins.
    pub fn proven(logins: usize) -> Self {
        Self { ready: "True", logins, ..Self::fails(Reason::LoginProven) }
    }

    /// The reason that `lastError` and an Event name, if there is one.
    pub fn error(&self) -> Option<Reason> {
        if self.ready == "True" { self.doubt } else { Some(self.reason) }
    }
}

/// Which listener of a case the operator takes for the API server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ApiServer {
    Registry,
    Foreign,
}

/// One case, see the module.
pub struct Case {
    pub class: Class,
    pub name: &'static str,
    pub first: Outcome,
    /// What changes in the spec after that, and what then comes of it.
    pub then: Option<(Value, Outcome)>,
    pub url: &'static str,
    pub(super) act: Act,
    pub(super) spec: Value,
    pub(super) foreign_at: &'static str,
    /// The foreign listener may be connected to, because it proves itself by its certificate or fails to.
    pub is_visited: bool,
    /// Nor may the registry be connected to while Ready is False.
    pub is_out_of_reach: bool,
    pub api_server: Option<ApiServer>,
    pub(super) leads: Vec<&'static str>,
    pub(super) script: Option<(&'static str, Script)>,
    pub(super) tls: (Option<Make>, Option<Make>),
    pub(super) raw: Option<fn() -> Reply>,
}

impl Case {
    /// A connection that cannot work, for a reason, without one login.
    pub fn new(
        class: Class,
        name: &'static str,
        reason: Reason,
        act: impl Fn(&Seen, &Me) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self {
            class,
            name,
            first: Outcome::fails(reason),
            then: None,
            url: "http://{name}.example.com",
            act: Arc::new(act),
            spec: json!({}),
            foreign_at: "127.0.0.1:0",
            is_visited: false,
            is_out_of_reach: false,
            api_server: None,
            leads: vec![],
            script: None,
            tls: (None, None),
            raw: None,
        }
    }

    /// The login is proven after all, with so many logins.
    pub fn proven(mut self, logins: usize) -> Self {
        self.first = Outcome { ready: "True", logins, ..self.first };
        self
    }

    /// Another reason.
    pub fn reason(mut self, reason: Reason) -> Self {
        self.first.reason = reason;
        self
    }

    /// One test sends so many logins, all to the registry itself.
    pub fn logins(mut self, logins: usize) -> Self {
        self.first.logins = logins;
        self
    }

    /// The message, the hint or the field says this.
    pub fn says(mut self, text: &'static str) -> Self {
        self.first.says = text;
        self
    }

    /// The registry's address.
    pub fn url(mut self, template: &'static str) -> Self {
        self.url = template;
        self
    }

    /// Where the foreign listener is.
    pub fn foreign_at(mut self, address: &'static str) -> Self {
        self.foreign_at = address;
        self
    }

    /// A name that leads to the foreign listener.
    pub fn leads(mut self, template: &'static str) -> Self {
        self.leads.push(template);
        self
    }

    /// What a name answers in turn.
    pub fn script(mut self, template: &'static str, script: Script) -> Self {
        self.script = Some((template, script));
        self
    }

    /// More of the spec.
    pub fn spec(mut self, spec: Value) -> Self {
        json_patch::merge(&mut self.spec, &spec);
        self
    }

    /// The test may take so many seconds.
    pub fn seconds(self, seconds: u32) -> Self {
        self.spec(json!({"test": {"timeoutSeconds": seconds}}))
    }

    /// The test includes a repository.
    pub fn repository(self) -> Self {
        self.spec(json!({"test": {"repositories": [{"name": "team/web", "reference": "v1"}]}}))
    }

    /// The foreign host is trusted from the beginning.
    pub fn trusting(self, host: &str) -> Self {
        self.spec(json!({"provider": {"generic": {"trustedTokenHosts": [host]}}}))
    }

    /// The registry has this certificate and the foreign listener that one.
    pub fn tls(mut self, registry: Option<Make>, foreign: Option<Make>) -> Self {
        self.tls = (registry, foreign);
        self.spec(json!({"provider": {"generic": {"caRef": {"kind": "ConfigMap", "name": "authority"}}}}))
    }

    /// The registry answers every connection with this, whatever is sent.
    pub fn raw(mut self, reply: fn() -> Reply) -> Self {
        self.raw = Some(reply);
        self
    }

    /// The foreign listener may be connected to, but hears nothing.
    pub fn visited(mut self) -> Self {
        self.is_visited = true;
        self
    }

    /// Not even the registry may be connected to.
    pub fn out_of_reach(mut self) -> Self {
        self.is_out_of_reach = true;
        self
    }

    /// The operator takes one of the listeners for the API server.
    pub fn api_server(mut self, which: ApiServer) -> Self {
        self.api_server = Some(which);
        self
    }

    /// The foreign listener hears the login, because it is trusted.
    pub fn told(mut self) -> Self {
        self.first.told = true;
        self
    }

    /// Then its host is added to the trusted ones under this name, and hears one login.
    pub fn then_told(self, host: &'static str) -> Self {
        self.then(trust(host), Outcome { told: true, ..Outcome::proven(1) })
    }

    /// Then its host is added to the trusted ones under this name, which is of no use, for a reason.
    pub fn then_fails(self, host: &'static str, reason: Reason) -> Self {
        self.then(trust(host), Outcome::fails(reason))
    }

    /// Then something else happens.
    pub fn then(mut self, patch: Value, outcome: Outcome) -> Self {
        self.then = Some((patch, outcome));
        self
    }

    /// What has come of it in the end.
    pub fn last(&self) -> &Outcome {
        self.then.as_ref().map_or(&self.first, |(_, outcome)| outcome)
    }

    /// Nothing hostile happens in it.
    pub fn is_control(&self) -> bool {
        self.name.starts_with("control")
    }
}

fn trust(host: &str) -> Value {
    json!({"spec": {"provider": {"generic": {"trustedTokenHosts": [host]}}}})
}
