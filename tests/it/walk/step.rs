//! What other hands do.

use anyhow::Result;
use kube::api::{Patch, PatchParams};
use regcred::api::names::{DOCKER_CONFIG_JSON_KEY, DOCKER_CONFIG_JSON_TYPE, REVISION_ANNOTATION};
use serde_json::{Value, json};

use super::{
    World,
    model::{CONNECTIONS, SOURCES, Source, Wish},
};

/// One edit.
#[derive(Clone, Debug)]
pub enum Step {
    /// Of the Secret of a connection.
    Target(&'static str, Edit),
    /// Writes a source.
    Write(&'static str, Source),
    /// Changes a source without changing the login.
    Touch(&'static str),
    /// Changes a connection, or creates it.
    Wish(&'static str, Wish),
    /// Deletes a connection and creates it anew.
    Replace(&'static str),
    /// Deletes a connection for good.
    Unwish(&'static str),
    /// Lets the registry take another password.
    Password,
    /// The registry goes away, or comes back.
    Pause,
    Resume,
    /// The operator ends as it should, or in the middle of something, or there is one again.
    Stop,
    Kill,
    Start,
}

/// What is done to a Secret of ours.
#[derive(Clone, Debug)]
pub enum Edit {
    Delete,
    /// Another login in place of ours.
    Data,
    /// No login.
    NoData,
    NoLabels,
    NoAnnotations,
    Revision,
    /// A key and a label that are nobody's business.
    Extra,
    /// Another login, and no trace of who wrote it.
    NoTrace,
    /// Everything of it taken over by another manager, as it is.
    SameValue,
}

impl Step {
    /// Chooses one that can be taken now.
    pub fn choose(world: &mut World) -> Self {
        let World { rng, model, scenario, registry, .. } = world;
        let name = CONNECTIONS[rng.usize(..CONNECTIONS.len())];
        let source = SOURCES[rng.usize(..SOURCES.len())];
        let Some(wish) = model.connections.get(name).cloned() else {
            let wish = Wish { source, secret: None, label: None, prefix: false, suspend: false };
            return Self::Wish(name, wish);
        };
        match rng.usize(..26) {
            0 => Self::Target(name, Edit::Delete),
            1 => Self::Target(name, Edit::Data),
            2 => Self::Target(name, Edit::NoData),
            3 => Self::Target(name, Edit::NoLabels),
            4 => Self::Target(name, Edit::NoAnnotations),
            5 => Self::Target(name, Edit::Revision),
            6 => Self::Target(name, Edit::Extra),
            7 => Self::Target(name, Edit::NoTrace),
            8 => Self::Target(name, Edit::SameValue),
            9 | 10 => Self::Write(source, Source::Right),
            11 => Self::Write(source, Source::Wrong(rng.u32(..1000))),
            12 => Self::Write(source, Source::Absent),
            13 => Self::Touch(source),
            14 => Self::Wish(name, Wish { label: [None, Some(1), Some(2)][rng.usize(..3)], ..wish }),
            15 => Self::Wish(name, Wish { prefix: !wish.prefix, ..wish }),
            16 | 17 => Self::Wish(name, Wish { suspend: !wish.suspend, ..wish }),
            18 => Self::Wish(name, Wish { source, ..wish }),
            19 => {
                let secret = [None, Some(format!("{name}-1")), Some(format!("{name}-2"))][rng.usize(..3)].clone();
                Self::Wish(name, Wish { secret, ..wish })
            }
            20 => Self::Unwish(name),
            21 => Self::Replace(name),
            22 => Self::Password,
            23 if registry.pid().is_some() => Self::Pause,
            23 => Self::Resume,
            24 if scenario.has_operator() => Self::Stop,
            25 if scenario.has_operator() => Self::Kill,
            _ => Self::Start,
        }
    }

    /// Takes it.
    pub async fn take(self, world: &mut World) -> Result<()> {
        // Each connection that reads a wrong login may try it once for every edit of what it reads or is, for every change
        // at the registry, and in every process.
        let affected: Vec<&str> = match &self {
            Self::Target(..) | Self::Pause | Self::Stop | Self::Kill => vec![],
            Self::Write(source, _) | Self::Touch(source) => {
                let reads = |wish: &Wish| wish.source == *source;
                world.model.connections.iter().filter(|(_, wish)| reads(wish)).map(|(name, _)| *name).collect()
            }
            Self::Wish(name, _) | Self::Replace(name) | Self::Unwish(name) => vec![name],
            Self::Password | Self::Resume | Self::Start => CONNECTIONS.to_vec(),
        };
        self.carry_out(world).await?;
        world.excuses += affected.into_iter().filter(|name| world.model.is_wrong(name)).count();
        Ok(())
    }

    async fn carry_out(self, world: &mut World) -> Result<()> {
        let World { scenario, registry, model, stripped, .. } = world;
        match self {
            Self::Target(name, edit) => {
                let Some(wish) = model.connections.get(name) else { return Ok(()) };
                let secret = wish.secret.clone().unwrap_or_else(|| name.to_owned());
                if edit.takes_marks() {
                    stripped.insert(secret.clone());
                }
                return edit.make(scenario, &secret).await;
            }
            Self::Write(name, source) => {
                match model.password_in(&source) {
                    Some(password) => drop(scenario.write_login(name, &password).await?),
                    None => drop(scenario.secrets().delete(name, &Default::default()).await),
                }
                model.sources.insert(name, source);
            }
            Self::Touch(name) => {
                let patch =
                    json!({"metadata": {"annotations": {"example.com/touched": fastrand::u32(..).to_string()}}});
                drop(scenario.edit_secret(name, patch).await);
            }
            Self::Wish(name, wish) => {
                let is_new = model.connections.insert(name, wish.clone()).is_none();
                if is_new {
                    scenario.connect(name, model.new_spec(&wish, scenario, registry)).await?;
                } else {
                    scenario.edit(name, json!({"spec": model.spec(&wish, scenario, registry)})).await?;
                }
            }
            Self::Replace(name) => {
                let Some(wish) = model.connections.get(name) else { return Ok(()) };
                scenario.connections().delete(name, &Default::default()).await?;
                scenario.connect(name, model.new_spec(wish, scenario, registry)).await?;
            }
            Self::Unwish(name) => {
                model.connections.remove(name);
                scenario.connections().delete(name, &Default::default()).await?;
            }
            Self::Password => {
                model.version += 1;
                for source in model.sources.values_mut().filter(|source| **source == Source::Right) {
                    *source = Source::Old;
                }
                registry.set_password(&scenario.namespace, &model.password())?;
            }
            Self::Pause => registry.pause(),
            Self::Resume => registry.resume().await?,
            Self::Stop => scenario.stop_operator().await?,
            Self::Kill => scenario.kill_operator().await,
            Self::Start => {
                scenario.stop_operator().await?;
                scenario.start_operator().await?;
            }
        }
        Ok(())
    }

    /// Writes every source anew whose password is no longer in force, and ends every suspension: without that, what is
    /// there depends on what was there before.
    pub async fn mend_passwords(world: &mut World) -> Result<()> {
        for name in SOURCES {
            if world.model.sources.get(name) == Some(&Source::Old) {
                Self::Write(name, Source::Right).take(world).await?;
            }
        }
        for name in CONNECTIONS {
            if let Some(wish) = world.model.connections.get(name).filter(|wish| wish.suspend).cloned() {
                Self::Wish(name, Wish { suspend: false, ..wish }).take(world).await?;
            }
        }
        Ok(())
    }
}

impl Edit {
    /// Whether it takes away what a Secret is known by as ours.
    fn takes_marks(&self) -> bool {
        match self {
            Self::NoLabels | Self::NoAnnotations | Self::NoTrace | Self::SameValue => true,
            Self::Delete | Self::Data | Self::NoData | Self::Revision | Self::Extra => false,
        }
    }

    /// Makes it, if the Secret is there.
    async fn make(self, scenario: &crate::scenario::Scenario, name: &str) -> Result<()> {
        let other: Value =
            serde_json::to_value(k8s_openapi::ByteString(br#"{"auths":{"r.example":{"auth":"dTpw"}}}"#.to_vec()))?;
        let no_data: Value = serde_json::to_value(k8s_openapi::ByteString(br#"{"auths":{}}"#.to_vec()))?;
        let patch = match self {
            Self::Delete => {
                drop(scenario.secrets().delete(name, &Default::default()).await);
                return Ok(());
            }
            Self::Data => json!({"data": {DOCKER_CONFIG_JSON_KEY: other}}),
            Self::NoData => json!({"data": {DOCKER_CONFIG_JSON_KEY: no_data}}),
            Self::NoLabels => json!({"metadata": {"labels": null}}),
            Self::NoAnnotations => json!({"metadata": {"annotations": null}}),
            Self::Revision => json!({"metadata": {"annotations": {REVISION_ANNOTATION: "another"}}}),
            Self::Extra => json!({
                "metadata": {"labels": {"other.example/label": "x"}, "annotations": {"other.example/annotation": "x"}},
                "data": {"other": "eA=="},
            }),
            Self::NoTrace => json!({"metadata": {"managedFields": [{}]}, "data": {DOCKER_CONFIG_JSON_KEY: other}}),
            Self::SameValue => {
                let Some(secret) = scenario.secrets().get_opt(name).await? else { return Ok(()) };
                let apply = json!({
                    "apiVersion": "v1", "kind": "Secret", "type": DOCKER_CONFIG_JSON_TYPE,
                    "metadata": {
                        "name": name, "labels": secret.metadata.labels, "annotations": secret.metadata.annotations,
                        "uid": secret.metadata.uid,
                    },
                    "data": secret.data,
                });
                let parameters =
                    PatchParams { field_manager: Some("other".into()), force: true, ..PatchParams::default() };
                drop(scenario.secrets().patch(name, &parameters, &Patch::Apply(apply)).await);
                return Ok(());
            }
        };
        // It may be gone by now; that is a step too.
        drop(scenario.edit_secret(name, patch).await);
        Ok(())
    }
}
