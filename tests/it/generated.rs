//! Files that are made from the code. `EXPECTORATE=overwrite`, as `make generate` sets it, writes them anew.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use regcred::{
    api::{crd::crd_yaml, names::GROUP, reason},
    controller::situation,
    domain::reference::Kind,
    metrics::catalogue,
};

use crate::{
    gitops::{CONFIG, script},
    reference::{fields_table, selection_table},
};

const KINDS: [(Kind, &str); 2] =
    [(Kind::Namespaced, "registryconnections"), (Kind::Cluster, "clusterregistryconnections")];

fn path(relative: &str) -> String {
    format!("{}/{relative}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn each_crd_is_what_the_command_prints_and_small_enough_to_apply() -> Result<()> {
    for (kind, plural) in KINDS {
        let yaml = crd_yaml(kind)?;
        expectorate::assert_contents(path(&format!("crds/regcred.dev_{plural}.yaml")), &yaml);
        // kubectl apply keeps a copy in an annotation, which holds at most 256 KiB; the promise is far below.
        assert!(yaml.len() < 64 * 1024, "{kind}: {} bytes", yaml.len());
        assert_eq!(yaml.matches("default:").count(), 1, "{kind}: only status has a default");
    }
    Ok(())
}

/// The kinds as the chart installs them: on request, and so that uninstalling leaves them.
#[test]
fn the_kinds_in_the_chart_are_the_kinds() -> Result<()> {
    for (kind, plural) in KINDS {
        let yaml = crd_yaml(kind)?;
        let (head, body) = yaml.split_once("metadata:\n").context("no metadata")?;
        let template = format!(
            "{{{{- if .Values.crds.enabled }}}}\n{head}metadata:\n  labels:\n    {{{{- include \"regcred.labels\" . | nindent 4 }}}}\n  \
             {{{{- if .Values.crds.keep }}}}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{{{- end }}}}\n{body}{{{{- end }}}}\n"
        );
        expectorate::assert_contents(path(&format!("charts/regcred/templates/crd-{plural}.yaml")), &template);
    }
    Ok(())
}

/// The text with what stands between the markers of a name replaced.
fn with_section(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
    let (head, rest) = text.split_once(&begin).with_context(|| format!("no begin of {name}"))?;
    let (_, tail) = rest.split_once(&end).with_context(|| format!("no end of {name}"))?;
    Ok(format!("{head}{begin}{content}{end}{tail}"))
}

#[test]
fn the_tables_of_the_reference_pages_are_what_the_code_says() -> Result<()> {
    let page = path("docs/reference/registryconnection.md");
    let mut text = std::fs::read_to_string(&page)?;
    for (name, content) in [
        ("spec", fields_table("spec")?),
        ("status", fields_table("status")?),
        ("conditions", situation::reference_table()),
        ("reasons", reason::reference_table()),
        ("metrics", catalogue::reference_table()),
    ] {
        text = with_section(&text, name, &content)?;
    }
    expectorate::assert_contents(&page, &text);
    let page = path("docs/reference/clusterregistryconnection.md");
    let text = with_section(&std::fs::read_to_string(&page)?, "selection", &selection_table()?)?;
    expectorate::assert_contents(&page, &text);
    Ok(())
}

#[test]
fn the_help_texts_are_what_was_reviewed() -> Result<()> {
    let mut text = String::new();
    for arguments in [&["--help"][..], &["run", "--help"], &["crd", "--help"], &["check", "--help"]] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_regcred"))
            .args(arguments)
            .env_clear()
            .output()
            .context("run regcred")?;
        text.push_str(&format!("$ regcred {}\n{}\n", arguments.join(" "), String::from_utf8(output.stdout)?));
    }
    expectorate::assert_contents(path("tests/it/help.txt"), &text);
    Ok(())
}

/// What stands in the ConfigMap of Argo CD before the health checks.
const CONFIG_HEAD: &str = "\
# Tells Argo CD how healthy connections are. It is made to be merged into the ConfigMap that is there; docs/gitops.md tells how.
# Made from deploy/argocd/health.lua by `make generate`.
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
data:
";

#[test]
fn the_configuration_of_argo_cd_holds_the_health_check_for_both_kinds() -> Result<()> {
    let (script, mut yaml) = (script()?, CONFIG_HEAD.to_owned());
    let keys = Kind::ALL.map(|kind| format!("resource.customizations.health.{GROUP}_{}", kind.as_str()));
    for key in &keys {
        yaml.push_str(&format!("  {key}: |\n"));
        for line in script.lines() {
            yaml.push_str(format!("    {line}").trim_end());
            yaml.push('\n');
        }
    }
    expectorate::assert_contents(path(CONFIG), &yaml);
    let config: ConfigMap = serde_saphyr::from_str(&yaml)?;
    assert_eq!(config.data, Some(keys.map(|key| (key, script.clone())).into()), "nothing is lost on the way");
    Ok(())
}
