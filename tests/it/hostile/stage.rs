//! A case with its listeners and its names: all that the operator can meet in it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testenv::{Listener, Seen, certificates::Authority};

use super::{
    case::Case,
    reply::{Me, behaved, token_server},
};
use crate::{names::Names, scenario::PASSWORD};

/// What all cases of a test share.
pub struct World {
    pub names: Arc<Names>,
    pub user: String,
    pub authority: Authority,
    /// Where the API server is.
    pub api_server: SocketAddr,
    /// Those registries that behaved so far no longer do.
    pub turned: Arc<AtomicBool>,
}

/// A case that is set up.
pub struct Stage {
    pub spec: Value,
    pub registry: Listener,
    pub foreign: Listener,
    me: Me,
}

impl Case {
    /// Starts the listeners and makes up the names.
    pub fn stage(&self, world: &World) -> Result<Stage> {
        let scheme = if self.url.starts_with("https") { "https" } else { "http" };
        let (user, turned) = (world.user.clone(), Arc::clone(&world.turned));
        let me = Me { name: self.name, user, scheme, port: 0, own: 0, api_server: world.api_server.port(), turned };
        let foreign_at: SocketAddr = self.foreign_at.parse().context("an address")?;
        let token = {
            let me = me.clone();
            move |seen: &Seen| token_server(seen, &me).header("Connection", "close")
        };
        let foreign = match self.tls.1 {
            Some(make) => Listener::tls_at(foreign_at, &make(&world.authority)?, token)?,
            None => Listener::plain_at(foreign_at, token)?,
        };
        let me = Me { port: foreign.port(), ..me };
        let answer = {
            let (me, act) = (me.clone(), Arc::clone(&self.act));
            move |seen: &Seen| act(seen, &me).unwrap_or_else(|| behaved(seen, &me))
        };
        let registry = match (self.tls.0, self.raw) {
            (Some(make), _) => Listener::tls(&make(&world.authority)?, answer)?,
            (None, Some(reply)) => Listener::raw(reply())?,
            (None, None) => Listener::plain(answer)?,
        };
        let me = Me { own: registry.port(), ..me };
        let mut spec = json!({"provider": {"generic": {
            "registryUrl": self.url, "secretRef": {"name": "login"}, "insecure": scheme == "http",
            "imageHost": "{name}.images.example.com",
        }}});
        json_patch::merge(&mut spec, &self.spec);
        let stage = Stage { spec: me.filled(&spec), registry, foreign, me };
        self.name_listeners(world, &stage);
        Ok(stage)
    }

    /// Makes up the names, from their first answers on.
    pub fn name_listeners(&self, world: &World, stage: &Stage) {
        let (registry, foreign) = (stage.registry.address(), stage.foreign.address());
        world.names.set(&stage.me.fill("{name}.example.com", None), registry);
        for name in &self.leads {
            world.names.set(&stage.me.fill(name, None), foreign);
        }
        if let Some((name, script)) = self.script {
            let answers = script(registry, foreign);
            let answers: Vec<&[SocketAddr]> = answers.iter().map(Vec::as_slice).collect();
            world.names.script(&stage.me.fill(name, None), &answers);
        }
    }
}

impl Stage {
    /// A request with the user's login.
    pub fn is_login(&self, seen: &Seen) -> bool {
        self.me.knows(seen)
    }

    /// User and password as a Basic login holds them.
    pub fn pair(&self) -> String {
        format!("{}:{PASSWORD}", self.me.user)
    }

    /// A part of a spec, with what its texts leave open.
    pub fn filled(&self, value: &Value) -> Value {
        self.me.filled(value)
    }
}
