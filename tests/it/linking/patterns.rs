//! One table of patterns and images: the operator's own reading of it and the API server's must agree.

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use regcred::domain::{image_name::ImageName, image_pattern::Line};
use serde_json::{Value, json};
use testenv::eventually;

use super::pod;
use crate::{linking::Scenario, scenario::DEADLINE};

/// A line of a table, an image, and whether it fits.
type Row = (&'static str, &'static str, bool);

const ROWS: &[Row] = &[
    // Hosts.
    ("r.example/app", "r.example/app", true),
    ("r.example/app", "r.example/app:v1", true),
    ("r.example/app", "r.example/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true),
    ("r.example/app", "r.example/app:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true),
    ("r.example/app", "r.example/app2", false),
    ("r.example/app", "r.example/team/app", false),
    ("r.example/app", "r.example:5000/app", false),
    ("r.example/app", "R.example/app", false),
    ("r.example/app", "r.example/App", false),
    ("localhost/app", "localhost/app", true),
    ("localhost/app", "localhost:5000/app", false),
    ("localhost/app", "localhos/app", false),
    ("127.0.0.1:5000/**", "127.0.0.1:5000/team/app:v1", true),
    ("127.0.0.1:5000/**", "127.0.0.1/team/app:v1", false),
    // Look-alikes of hosts.
    ("registry.example.com/**", "registryXexample.com/app", false),
    ("registry.example.com/**", "registry.example.com.evil.example/app", false),
    ("registry.example.com/**", "evil.example/registry.example.com/app", false),
    ("registry.example.com/**", "evil-registry.example.com/app", false),
    ("registry.example.com/**", "registry.example.com:443/app", false),
    ("registry.example.com/**", "registry.example.comx/app", false),
    ("registry.example.com/**", "registry.example.com/app", true),
    ("registry.example.com/**", "registry.example.com", false),
    ("registry.example.com/**", "registry.example.com/", true),
    // Ports.
    ("r.example:5000/team/*", "r.example:5000/team/app", true),
    ("r.example:5000/team/*", "r.example:5000/team/app:5000", true),
    ("r.example:5000/team/*", "r.example:5001/team/app", false),
    ("r.example:5000/team/*", "r.example/team/app:5000", false),
    ("r.example:5000/team/*", "r.example:50000/team/app", false),
    // One asterisk stays within a segment.
    ("r.example/team/*", "r.example/team/app", true),
    ("r.example/team/*", "r.example/team/", true),
    ("r.example/team/*", "r.example/team", false),
    ("r.example/team/*", "r.example/team/app/sub", false),
    ("r.example/team/*", "r.example/team-b/app", false),
    ("r.example/my-app*", "r.example/my-app", true),
    ("r.example/my-app*", "r.example/my-app-web", true),
    ("r.example/my-app*", "r.example/my-app/sub", false),
    ("r.example/*/app", "r.example/team/app", true),
    ("r.example/*/app", "r.example/a/b/app", false),
    ("r.example/*/app", "r.example//app", true),
    ("r.example/*-web", "r.example/shop-web", true),
    ("r.example/*-web", "r.example/shop-web-2", false),
    ("r.example/a*c", "r.example/ac", true),
    ("r.example/a*c", "r.example/abcbc", true),
    ("r.example/a*c", "r.example/acb", false),
    // Two cross.
    ("r.example/**", "r.example/app", true),
    ("r.example/**", "r.example/a/b/c/d", true),
    ("r.example/team/**", "r.example/team/a/b", true),
    ("r.example/team/**", "r.example/team", false),
    ("r.example/my-app**", "r.example/my-app/sub", true),
    ("r.example/**/app", "r.example/a/b/app", true),
    ("r.example/**/app", "r.example/app", false),
    ("r.example/***", "r.example/a/b", true),
    ("r.example/**/*", "r.example/a", false),
    ("r.example/**/*", "r.example/a/b", true),
    ("r.example/****", "r.example/a/b", true),
    // At the limit of asterisks.
    ("r.example/a*b*c*d*e*f*g*h*", "r.example/abcdefgh", true),
    ("r.example/a*b*c*d*e*f*g*h*", "r.example/a1b2c3d4e5f6g7h8", true),
    ("r.example/a*b*c*d*e*f*g*h*", "r.example/abcdefg", false),
    ("r.example/**a**a**a**a", "r.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false),
    ("r.example/**a**a**a**a", "r.example/xa/ya/za/a", true),
    // Characters that mean something in expressions mean nothing here.
    ("r.example/a.b", "r.example/a.b", true),
    ("r.example/a.b", "r.example/axb", false),
    ("r.example/a-b_c", "r.example/a-b_c", true),
    ("r.example/a-c", "r.example/b", false),
    // Docker Hub.
    ("docker.io/library/nginx", "nginx", true),
    ("docker.io/library/nginx", "nginx:1.27", true),
    ("docker.io/library/nginx", "docker.io/nginx", true),
    ("docker.io/library/nginx", "docker.io/library/nginx", true),
    ("docker.io/library/nginx", "index.docker.io/nginx", true),
    ("docker.io/library/nginx", "index.docker.io/library/nginx:1.27", true),
    ("docker.io/library/nginx", "library/nginx", true),
    ("docker.io/library/nginx", "acme/nginx", false),
    ("docker.io/library/nginx", "registry-1.docker.io/library/nginx", false),
    ("docker.io/library/nginx", "r.example/library/nginx", false),
    ("docker.io/library/*", "busybox", true),
    ("docker.io/library/*", "acme/web", false),
    ("docker.io/acme/*", "acme/web:v1", true),
    ("docker.io/acme/*", "docker.io/acme/web", true),
    ("docker.io/acme/*", "acme/web/sub", false),
    ("docker.io/**", "nginx", true),
    ("docker.io/**", "acme/web/sub", true),
    ("docker.io/**", "r.example/nginx", false),
    ("docker.io/**", "localhost/nginx", false),
    ("docker.io/**", "local/nginx", true),
    ("docker.io/library/r.example", "r.example:5000", true),
    ("docker.io/library/localhost", "localhost", true),
    // Hostile images: any text may stand in a Pod.
    ("r.example/**", "r.example/a\nb", false),
    ("r.example/*", "r.example/a\nb", true),
    ("r.example/app", "r.example/app\n.", false),
    ("r.example/app", "r.example/app@x/y", true),
    ("r.example/app", "x@r.example/app", false),
    ("r.example/*", "r.example/\u{e4}\u{1f980}", true),
    ("r.example/**", "r.example/$^.*[a]{2}\\Q(", true),
    ("r.example/*", "r.example/:", true),
    ("docker.io/library/", ":", false),
    ("docker.io/", "@", true),
    // Tampered tables: what is no pattern counts for nothing, and the rest is read as it stands.
    ("**", "r.example/app", false),
    ("***", "r.example/app", true),
    ("*example/app", "r.example/app", true),
    ("r.example/.+", "r.example/app", false),
    ("r.example/(app)", "r.example/app", false),
    ("r.example/app|x", "r.example/app", false),
    ("^r.example/app$", "r.example/app", false),
    ("r.example/app ", "r.example/app", false),
    ("R.EXAMPLE/app", "r.example/app", false),
    ("r.example/[a-z]*", "r.example/app", false),
    ("r.example/app\r", "r.example/app", false),
    ("r.example/a*b*c*d*e*f*g*h*i*j*", "r.example/abcdefghij", true),
    ("r.example/\u{e4}*", "r.example/\u{e4}pp", false),
    ("@", "r.example/app", false),
];

/// A table with one line for each Secret, and the Secrets that stand for them.
fn table(lines: &[&str]) -> Value {
    let data: serde_json::Map<String, Value> =
        lines.iter().enumerate().map(|(number, line)| (secret(number), (*line).into())).collect();
    json!({"metadata": {"name": "regcred-autolink"}, "data": data})
}

fn secret(number: usize) -> String {
    format!("line-{number:03}")
}

/// The parts of a Pod in which an image can stand.
fn places(image: &str) -> [(&'static str, Value); 3] {
    let other = || json!([{"name": "other", "image": "other.example/other"}]);
    let container = json!([{"name": "app", "image": image}]);
    let volume = json!([{"name": "data", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}]);
    [
        ("container", pod(image)),
        ("init container", json!({"containers": other(), "initContainers": container})),
        ("volume", json!({"containers": other(), "volumes": volume})),
    ]
}

#[test]
fn every_row_of_the_table_is_as_the_operator_reads_it() {
    assert!(ROWS.len() >= 80, "{}", ROWS.len());
    let wrong: Vec<&Row> = ROWS
        .iter()
        .filter(|(line, image, fits)| Line::parse(line).is_some_and(|it| it.matches(&ImageName::of(image))) != *fits)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_and_every_image_of_the_table_fit_for_the_api_server_as_for_the_operator() -> Result<()> {
    let scenario = Scenario::prepare("patterns").await?;
    scenario.open_tables().await?;
    let mut lines: Vec<&str> = ROWS.iter().map(|(line, ..)| *line).collect();
    let mut images: Vec<&str> = ROWS.iter().map(|(_, image, _)| *image).collect();
    for all in [&mut lines, &mut images] {
        all.sort_unstable();
        all.dedup();
    }
    let config_map: ConfigMap = serde_json::from_value(table(&lines))?;
    scenario.config_maps().create(&PostParams::default(), &config_map).await?;
    // The API server has seen the table.
    eventually("the first Pod", DEADLINE, async || {
        Ok((!scenario.admitted(&pod("r.example/app")).await?.is_empty()).then_some(()))
    })
    .await?;

    let pairs = images.iter().flat_map(|image| places(image).map(|(place, spec)| (*image, place, spec)));
    let wrong: Vec<Vec<String>> = stream::iter(pairs.collect::<Vec<_>>())
        .map(async |(image, place, spec)| {
            let named = scenario.admitted(&spec).await?;
            let name = ImageName::of(image);
            let fits = |line: &str| Line::parse(line).is_some_and(|line| line.matches(&name));
            let wrong =
                lines.iter().enumerate().filter(|(number, line)| named.contains(&secret(*number)) != fits(line));
            let wrong =
                wrong.map(|(_, line)| format!("{line:?} {image:?} in a {place}: the operator says {}", fits(line)));
            Ok::<_, anyhow::Error>(wrong.collect::<Vec<_>>())
        })
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let wrong = wrong.concat();
    println!("{} lines and {} images, each in 3 places", lines.len(), images.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
