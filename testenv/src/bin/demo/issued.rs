//! The second part of the story: a provider issues the credential, and it is renewed and revoked while images are pulled.
//!
//! The provider's API is a fake; the registry that takes its credentials, and refuses them once they are revoked, is real.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;
use testenv::{Crane, eventually};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::connection::Watch;
use crate::stage::Stage;
use crate::{operator, told};

/// The namespace that it plays in.
const NAMESPACE: &str = "blog";

const EXAMPLE: &str = "digitalocean.yaml";
const TOKEN: &str = "digitalocean-api";
const TARGET: &str = "team-images";

/// The registry's name in the example, and at the fake.
pub const REGISTRY: &str = "team";

/// What the API token of the example may do.
const SCOPES: &[&str] = &["registry:read", "registry:update"];

/// How long is waited between two pulls.
const PULSE: Duration = Duration::from_millis(100);

/// Tells it; `number` is that of its first step. Returns the number of the step after it.
pub async fn tell(stage: &Stage, number: usize) -> Result<usize> {
    let pushed = a_credential_is_issued(stage, number).await?;
    it_is_renewed_while_images_are_pulled(stage, number + 1, &pushed).await?;
    what_the_provider_was_asked(stage, number + 2);
    Ok(number + 3)
}

async fn a_credential_is_issued(stage: &Stage, number: usize) -> Result<String> {
    told::step(number, "A provider that issues credentials: DigitalOcean's API (a fake) before another real registry");
    let ocean = &stage.ocean;
    told::fact(&format!("the API listens at {}, its registry at http://{}", ocean.api_url(), ocean.host()));
    let image = format!("{REGISTRY}/web:v1");
    let pushed = ocean.push(&image).await?;
    told::fact(&format!("pushed {} as the owner: {pushed}", ocean.image(&image)));

    let kubectl = &stage.kubectl;
    kubectl.show(&["create", "namespace", NAMESPACE]).await?;
    let literal = format!("--from-literal=token={}", ocean.add_token(SCOPES));
    kubectl.show(&["create", "secret", "generic", TOKEN, "--namespace", NAMESPACE, &literal]).await?;
    let name = format!("registryName: {REGISTRY}");
    let file = stage.example(EXAMPLE, &[(&name, &format!("{name}\n      apiUrl: {}", ocean.api_url()))])?;
    told::fact(&format!("the file is examples/{EXAMPLE} with apiUrl for the fake"));
    let file = file.to_str().context("a path in UTF-8")?;
    let mut watch = Watch::open(stage.plane.client()?, NAMESPACE).await?;
    kubectl.show(&["apply", "--namespace", NAMESPACE, "--filename", file]).await?;
    watch.until_ready("True").await?;
    kubectl.show(&["get", "regconn", "--namespace", NAMESPACE]).await?;
    let ledgers = ["get", "secrets", "--namespace", operator::NAMESPACE];
    kubectl.show(&ledgers).await?;
    told::fact("what was issued stands there first; the Secret of the connection is written from it");
    Ok(pushed)
}

async fn it_is_renewed_while_images_are_pulled(stage: &Stage, number: usize, pushed: &str) -> Result<()> {
    told::step(number, "Renewed on request, while images are pulled without a pause");
    let ocean = &stage.ocean;
    let secrets = Api::<Secret>::namespaced(stage.plane.client()?, NAMESPACE);
    let old = login(&secrets.get(TARGET).await.context("read the Secret")?)?;
    let image = ocean.image(&format!("{REGISTRY}/web:v1"));
    let pulls = Pulls::begin(secrets.clone(), ocean.registry().crane().clone(), image, pushed.to_owned());
    pulls.until_more().await?;

    let now = "regcred.dev/refresh-requested-at=now";
    stage.kubectl.show(&["annotate", "regconn", TARGET, "--namespace", NAMESPACE, now]).await?;
    let another = async || Ok(Some(login(&secrets.get(TARGET).await?)?).filter(|login| *login != old));
    let new = eventually("another credential in the Secret", crate::DEADLINE, another).await?;
    ensure!(ocean.accepts(&old.0, &old.1).await?, "the credential before was revoked at once");
    told::fact("the Secret holds another credential; the one before still works, for whoever holds it");
    pulls.until_more().await?;
    let alone = async || Ok((ocean.alive() == 1).then_some(()));
    eventually("the credential before to be revoked", crate::DEADLINE, alone).await?;
    ensure!(!ocean.accepts(&old.0, &old.1).await?, "the credential before works on");
    ensure!(ocean.accepts(&new.0, &new.1).await?, "the new credential does not work");
    told::fact(&format!(
        "after the grace ({}) the registry refuses the one before, and accepts the new one",
        operator::REVOCATION_GRACE
    ));
    pulls.until_more().await?;
    let (good, failed) = pulls.end().await?;
    ensure!(failed == 0, "{failed} of {} pulls failed", good + failed);
    told::fact(&format!("{good} pulls all the while, {failed} failed"));
    Ok(())
}

fn what_the_provider_was_asked(stage: &Stage, number: usize) {
    told::step(number, "What the provider was asked, all in all");
    let requests = stage.ocean.requests();
    let first = requests.first().map(|request| request.at);
    for request in &requests {
        let after = first.map(|first| request.at.duration_since(first).as_secs_f64()).unwrap_or_default();
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query.join("&")) };
        let status = request.status.map_or("no answer".to_owned(), |status| status.to_string());
        told::lines(&format!("{after:5.1} s  {status}  {} {}{query}", request.method, request.path));
    }
}

/// Pulls that go on until they are ended, each with what the Secret holds then.
struct Pulls {
    good: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Pulls {
    fn begin(secrets: Api<Secret>, crane: Crane, image: String, pushed: String) -> Self {
        let (good, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (Arc::clone(&good), Arc::clone(&is_over));
        let task = tokio::spawn(async move {
            let mut failed = 0;
            while !ended.load(Ordering::Relaxed) {
                match pull(&secrets, &crane, &image).await {
                    Ok(digest) if digest == pushed => counted.fetch_add(1, Ordering::Relaxed),
                    Ok(_) | Err(_) => {
                        failed += 1;
                        0
                    }
                };
                sleep(PULSE).await;
            }
            failed
        });
        Self { good, is_over, task }
    }

    /// Waits until some more have come to a good end.
    async fn until_more(&self) -> Result<()> {
        let wanted = self.good.load(Ordering::Relaxed) + 3;
        let more = async || Ok((self.good.load(Ordering::Relaxed) >= wanted).then_some(()));
        eventually("more pulls", crate::DEADLINE, more).await
    }

    /// Ends them; how many were good, and how many failed.
    async fn end(self) -> Result<(usize, usize)> {
        self.is_over.store(true, Ordering::Relaxed);
        let failed = self.task.await.context("the pulls")?;
        Ok((self.good.load(Ordering::Relaxed), failed))
    }
}

async fn pull(secrets: &Api<Secret>, crane: &Crane, image: &str) -> Result<String> {
    let secret = secrets.get(TARGET).await?;
    let config = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson")).context("no docker config")?;
    Ok(crane.pull(image, &config.0).await?.digest)
}

/// The login in a Secret.
fn login(secret: &Secret) -> Result<(String, String)> {
    let config = secret.data.as_ref().and_then(|data| data.get(".dockerconfigjson")).context("no docker config")?;
    let config: Value = serde_json::from_slice(&config.0)?;
    let entry = config["auths"].as_object().and_then(|auths| auths.values().next()).context("no entry")?;
    let text = |key: &str| entry[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
    Ok((text("username")?, text("password")?))
}
