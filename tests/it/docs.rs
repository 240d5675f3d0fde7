//! The documentation is true: what it shows is applied to the real API server, its links lead somewhere, and the flags it
//! names exist.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective},
    discovery::Scope,
};
use regcred::metrics::catalogue::{ALL, Metric};
use regex::Regex;
use serde_json::Value;
use testenv::{eventually, namespace};

use crate::scenario::{DEADLINE, shared};

/// How the remark before an excerpt begins that cannot be applied; the reason follows.
const NOT_APPLIED: &str = "not applied: ";

/// A fence of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Fence {
    /// What stands behind the opening backticks.
    pub language: String,
    pub text: String,
    /// The HTML comment directly before it.
    pub remark: Option<String>,
    pub line: usize,
}

/// The fences of a page, and its text without them.
pub fn fences(markdown: &str) -> Result<(Vec<Fence>, String)> {
    let (mut fences, mut prose) = (vec![], String::new());
    let mut before = "";
    let mut open: Option<(Fence, usize)> = None;
    for (number, line) in markdown.lines().enumerate() {
        let trimmed = line.trim_start();
        match open.take() {
            Some((fence, _)) if trimmed == "```" => {
                fences.push(fence);
                before = "";
            }
            Some((mut fence, indent)) => {
                fence.text.push_str(line.get(indent..).unwrap_or_default());
                fence.text.push('\n');
                open = Some((fence, indent));
            }
            None => {
                if let Some(language) = trimmed.strip_prefix("```") {
                    let remark = before.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                    let remark = remark.map(str::to_owned);
                    let fence = Fence { language: language.to_owned(), text: String::new(), remark, line: number + 1 };
                    open = Some((fence, line.len() - trimmed.len()));
                } else {
                    prose.push_str(line);
                    prose.push('\n');
                }
                if !line.trim().is_empty() {
                    before = line;
                }
            }
        }
    }
    ensure!(open.is_none(), "a fence is not closed: {open:?}");
    Ok((fences, prose))
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this extension below a folder.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All pages for people.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = files(&root().join("docs"), "md")?;
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    Ok(pages)
}

/// The objects that a file shows, each with where it stands.
fn objects(path: &Path) -> Result<Vec<(String, Value)>> {
    let text = std::fs::read_to_string(path)?;
    let name = path.strip_prefix(root())?.display().to_string();
    let fences = if path.extension().is_some_and(|extension| extension == "md") {
        fences(&text).with_context(|| name.clone())?.0
    } else {
        vec![Fence { language: "yaml".into(), text, remark: None, line: 1 }]
    };
    let mut objects = vec![];
    for fence in fences.into_iter().filter(|fence| ["yaml", "yml"].contains(&fence.language.as_str())) {
        let place = format!("{name}:{}", fence.line);
        for document in fence.text.split("\n---").map(|document| document.trim_start_matches("---")) {
            if document.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
                continue;
            }
            let value: Value = serde_saphyr::from_str(document).with_context(|| format!("{place}: {document}"))?;
            let exemption = fence.remark.as_deref().and_then(|remark| remark.strip_prefix(NOT_APPLIED));
            match (exemption, value["kind"].is_string()) {
                (None, true) => objects.push((place.clone(), value)),
                (Some(reason), false) if reason.len() >= 10 => {}
                (Some(reason), false) => bail!("{place}: {reason:?} is no reason"),
                (Some(_), true) => bail!("{place}: it is an object and can be applied, so no exemption is due"),
                (None, false) => {
                    bail!("{place}: no object, and no `<!-- {NOT_APPLIED}REASON -->` before it:\n{document}")
                }
            }
        }
    }
    Ok(objects)
}

/// Writes an object as `kubectl apply --server-side` does. What belongs to the whole cluster gets a name of its own, for
/// other tests use the same one, and is removed again.
async fn apply(client: &Client, namespace: &str, mut object: Value) -> Result<()> {
    let types: kube::core::TypeMeta = serde_json::from_value(object.clone())?;
    let kind = kube::core::GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) = kube::discovery::pinned_kind(client, &kind).await?;
    let is_namespaced = capabilities.scope == Scope::Namespaced;
    if is_namespaced {
        object["metadata"]["namespace"] = namespace.into();
    } else {
        let name = object["metadata"]["name"].as_str().context("no name")?;
        object["metadata"]["name"] = format!("{namespace}-{name}").into();
    }
    let object: DynamicObject = serde_json::from_value(object)?;
    let objects: Api<DynamicObject> = match is_namespaced {
        true => Api::namespaced_with(client.clone(), namespace, &resource),
        false => Api::all_with(client.clone(), &resource),
    };
    let parameters = PatchParams {
        field_manager: Some("docs".into()),
        field_validation: Some(ValidationDirective::Strict),
        force: true,
        ..PatchParams::default()
    };
    objects.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await?;
    if !is_namespaced {
        objects.delete(&object.name_any(), &DeleteParams::default()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_and_every_yaml_in_the_docs_is_applied() -> Result<()> {
    let client = shared().await?.plane.client()?;
    let mut paths = pages()?;
    paths.extend(files(&root().join("examples"), "yaml")?);
    paths.extend(files(&root().join("deploy/argocd"), "yaml")?);
    let (mut connections, mut others) = (0, 0);
    for path in paths {
        let objects = objects(&path)?;
        if objects.is_empty() {
            continue;
        }
        // A page tells one story from top to bottom.
        let namespace = namespace(&client, "docs").await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        eventually("the ServiceAccount `default`", DEADLINE, async || {
            accounts.get_opt("default").await.map_err(Into::into)
        })
        .await?;
        for (place, object) in objects {
            let count = if object["kind"] == "RegistryConnection" { &mut connections } else { &mut others };
            *count += 1;
            apply(&client, &namespace, object.clone()).await.with_context(|| format!("{place}: {object}"))?;
        }
    }
    println!("applied {connections} connections and {others} other objects");
    assert!(connections >= 7 && others >= 3, "{connections} connections and {others} others are too few");
    Ok(())
}

#[test]
fn fences_are_found_with_the_remarks_before_them() -> Result<()> {
    let page = "\
<!-- not applied: an excerpt of a Pod -->
```yaml
a: 1
```
- in a list

  ```yaml
  b:
    c: 2
  ```
<!-- not applied: somewhere else -->
text
```sh
# no heading
```
";
    let (fences, prose) = fences(page)?;
    let found: Vec<_> = fences.iter().map(|f| (f.language.as_str(), f.text.as_str(), f.remark.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("yaml", "a: 1\n", Some("not applied: an excerpt of a Pod")),
            ("yaml", "b:\n  c: 2\n", None),
            ("sh", "# no heading\n", None)
        ]
    );
    assert!(!prose.contains("no heading") && prose.contains("text"));
    Ok(())
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(prose: &str) -> BTreeSet<String> {
    prose.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_between_the_pages_leads_somewhere() -> Result<()> {
    let link = Regex::new(r"\]\(([^)\s]+)\)")?;
    let mut followed = 0;
    for page in pages()? {
        let (_, prose) = fences(&std::fs::read_to_string(&page)?)?;
        for target in link.captures_iter(&prose).map(|found| found.extract::<1>().1[0]) {
            if target.contains("://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').map_or((target, None), |(file, rest)| (file, Some(rest)));
            let path = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let context = || format!("{} links to {target}", page.display());
            ensure!(path.exists(), context());
            if let Some(fragment) = fragment {
                let (_, prose) = fences(&std::fs::read_to_string(&path).with_context(context)?)?;
                ensure!(anchors(&prose).contains(fragment), "{}: no such heading", context());
            }
            followed += 1;
        }
    }
    assert!(followed >= 30, "{followed} links");
    Ok(())
}

#[test]
fn every_flag_and_command_of_regcred_in_the_docs_exists() -> Result<()> {
    let help = std::fs::read_to_string(root().join("tests/it/help.txt"))?;
    let exists = |flag: &str| {
        help.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-')).any(|word| word == flag)
    };
    let span = Regex::new("`([^`\n]+)`")?;
    let mut named = 0;
    for page in pages()? {
        let (fences, prose) = fences(&std::fs::read_to_string(&page)?)?;
        let spans = span.captures_iter(&prose).map(|found| found.extract::<1>().1[0].to_owned());
        let lines = fences.iter().filter(|fence| ["sh", "console"].contains(&fence.language.as_str()));
        let lines = lines.flat_map(|fence| fence.text.lines().map(str::to_owned).collect::<Vec<_>>());
        for text in spans.chain(lines) {
            let mut words = text.split_whitespace().map(|word| word.trim_matches(|letter| "\"'[]".contains(letter)));
            // A flag alone is one of ours; those of other programs stand behind their names, or behind a `--` alone.
            // What is installed may be called like the program that is in it.
            if ["helm ", "kubectl "].iter().any(|other| text.starts_with(other)) {
                continue;
            }
            if !text.starts_with("--") || text.starts_with("-- ") {
                let is_ours = |word: &str| word == "regcred" || word.ends_with("/regcred");
                if words.by_ref().find(|word| is_ours(word)).is_none() {
                    continue;
                }
                if let Some(command) = words.clone().next().filter(|word| !word.starts_with('-')) {
                    ensure!(help.contains(&format!("$ regcred {command} --help")), "{}: {text}", page.display());
                }
            }
            for flag in words.filter(|word| word.starts_with("--")) {
                let flag = flag.split_once('=').map_or(flag, |(flag, _)| flag);
                ensure!(exists(flag), "{}: there is no {flag}: {text}", page.display());
                named += 1;
            }
        }
    }
    assert!(named >= 4, "{named} flags");
    Ok(())
}

#[test]
fn every_test_that_a_threat_names_exists() -> Result<()> {
    let span = Regex::new("`([a-z_]+(?:::[a-z_]+)+)`")?;
    let text = std::fs::read_to_string(root().join("docs/security.md"))?;
    let mut named = 0;
    for path in span.captures_iter(&text).map(|found| found.extract::<1>().1[0]) {
        let file = |module: &str| root().join("tests/it").join(module.replace("::", "/")).with_extension("rs");
        let (module, name) = path.rsplit_once("::").context("a path")?;
        let is_there = match std::fs::read_to_string(file(module)) {
            Ok(text) => text.contains(&format!("async fn {name}() -> Result<()>")),
            Err(_) => file(path).exists(),
        };
        ensure!(is_there, "there is no {path}");
        named += 1;
    }
    assert!(named >= 15, "{named} tests");
    for line in text.lines().skip_while(|line| *line != "## Threats").filter(|line| line.starts_with("| ")).skip(1) {
        ensure!(line.matches('`').count() >= 2 && line.contains("::"), "a threat without a test: {line}");
    }
    Ok(())
}

#[test]
fn every_metric_the_docs_name_exists() -> Result<()> {
    let name = Regex::new("regcred_[a-z_]+")?;
    let known: Vec<String> = ALL.iter().map(Metric::full_name).collect();
    let mut named = 0;
    for page in pages()? {
        let text = std::fs::read_to_string(&page)?;
        for found in name.find_iter(&text) {
            let found = found.as_str();
            ensure!(known.iter().any(|known| known == found), "{}: there is no {found}", page.display());
            named += 1;
        }
    }
    assert!(named >= 20, "{named} metrics");
    Ok(())
}
