//! The command `regcred check`: no cluster, no network, exit codes and forms that scripts rely on.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testenv::Scratch;

use crate::cases::{self, Refused};

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the command in a folder, with nothing in its environment.
fn check(folder: &Path, arguments: &[&str], input: &str) -> Result<Outcome> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_regcred"))
        .arg("check")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A command that does not read its input closes it.
    let _ = writer.join();
    let outcome = Outcome {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    };
    ensure!(!outcome.err.contains("panicked"), "{}", outcome.err);
    Ok(outcome)
}

fn folder(files: &[(&str, &str)]) -> Result<Scratch> {
    let folder = Scratch::new("regcred-check")?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}

/// The table as files, each with the number of its case; what was found of each.
fn findings(objects: impl Iterator<Item = Value>) -> Result<(Option<i32>, Vec<Vec<Value>>)> {
    let folder = Scratch::new("regcred-check")?;
    let mut names = vec![];
    for object in objects {
        names.push(format!("{:03}.json", names.len()));
        std::fs::write(folder.path().join(names.last().context("no name")?), object.to_string())?;
    }
    let arguments: Vec<&str> = ["-o", "json"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let outcome = check(folder.path(), &arguments, "")?;
    let report: Value = serde_json::from_str(&outcome.out).with_context(|| outcome.out.clone())?;
    ensure!(report["checked"] == names.len() && report["skipped"] == 0, "{report}");
    let all = report["findings"].as_array().context("findings")?;
    let of = |name: &String| all.iter().filter(|found| found["file"] == *name).cloned().collect();
    Ok((outcome.code, names.iter().map(of).collect()))
}

#[test]
fn refuses_what_the_table_refuses_and_names_the_same_field() -> Result<()> {
    refuses(cases::REFUSED)
}

#[test]
fn refuses_what_the_table_refuses_of_providers_that_issue_credentials() -> Result<()> {
    refuses(cases::REFUSED_OF_ISSUERS)
}

fn refuses(table: &[Refused]) -> Result<()> {
    let (code, found) = findings(table.iter().map(|case| cases::changed(case.change)))?;
    let mut wrong = vec![];
    for (Refused { name, field, .. }, findings) in table.iter().zip(found) {
        let is_named = findings.iter().any(|found| found["field"] == *field);
        let is_whole = findings.iter().all(|found| {
            let says = |key: &str| found[key].as_str().is_some_and(|text| !text.is_empty());
            found["reason"] == "InvalidSpec" && says("message") && says("remedy") && found["line"].is_u64()
        });
        if !is_named || !is_whole {
            wrong.push(format!("{name}: {field}: {}", json!(findings)));
        }
        for found in findings {
            println!("{name}: {}: {}\n    {}", found["field"], found["message"], found["remedy"]);
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(code, Some(1));
    Ok(())
}

#[test]
fn accepts_what_the_table_accepts() -> Result<()> {
    accepts(cases::ACCEPTED)
}

#[test]
fn accepts_what_the_table_accepts_of_providers_that_issue_credentials() -> Result<()> {
    accepts(cases::ACCEPTED_OF_ISSUERS)
}

fn accepts(table: &[(&str, cases::Change)]) -> Result<()> {
    let (code, found) = findings(table.iter().map(|(_, change)| cases::changed(*change)))?;
    let cases = table.iter().zip(found).filter(|(_, found)| !found.is_empty());
    let wrong: Vec<String> = cases.map(|((name, _), found)| format!("{name}: {}", json!(found))).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(code, Some(0));
    Ok(())
}

#[test]
fn every_example_passes() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outcome = check(root, &["examples"], "")?;
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.out, outcome.err);
    assert!(
        outcome.out.contains("examples/generic-login.yaml: there is no RegistryConnection in it\n"),
        "{}",
        outcome.out
    );
    assert!(outcome.out.ends_with(" checked, no faults found; 1 other object skipped\n"), "{}", outcome.out);
    // Nor does it stumble over what a cluster gives out, and what is no connection.
    let crds = check(root, &["crds"], "")?;
    assert_eq!((crds.code, crds.err.as_str()), (Some(0), ""), "{}", crds.out);
    Ok(())
}

const GOOD: &str = "apiVersion: regcred.dev/v1alpha1\nkind: RegistryConnection\nmetadata:\n  name: images\n  namespace: shop\n\
                    spec:\n  provider:\n    generic:\n      registryUrl: https://registry.example\n      secretRef:\n        name: login\n";

#[test]
fn the_exit_code_tells_findings_from_files_that_cannot_be_read() -> Result<()> {
    let bad = format!("{GOOD}  suspend: 1\n");
    let folder = folder(&[("good.yaml", GOOD), ("bad.yaml", &bad), ("other.txt", "a: 1")])?;
    std::fs::create_dir(folder.path().join("empty"))?;
    std::fs::write(folder.path().join("latin.yaml"), b"a: \xe4")?;
    for (arguments, code, out, err) in [
        (&["good.yaml"][..], 0, "1 RegistryConnection checked, no faults found", ""),
        (&["bad.yaml"], 1, "bad.yaml:12: RegistryConnection shop/images: spec.suspend: ", ""),
        (&["good.yaml", "bad.yaml"], 1, "2 RegistryConnections checked, 1 fault found", ""),
        (&["other.txt"], 0, "other.txt: there is no RegistryConnection in it", ""),
        (&["missing.yaml", "bad.yaml"], 2, "1 fault found", "regcred: cannot read missing.yaml: No such file"),
        (&["missing.yaml", "good.yaml"], 2, "no faults found", "regcred: cannot read missing.yaml: No such file"),
        (&["latin.yaml"], 2, "no RegistryConnections checked", "latin.yaml is not text in UTF-8"),
        (&["empty"], 2, "", "the folder empty holds no .yaml, .yml or .json file"),
        (&[], 2, "", "<FILE>..."),
        (&["--output", "xml", "good.yaml"], 2, "", "possible values: text, json"),
        (&["/dev/zero"], 2, "", "/dev/zero is larger than 32 MiB"),
    ] {
        let outcome = check(folder.path(), arguments, "")?;
        let context = format!("{arguments:?}: {:?}\n{}{}", outcome.code, outcome.out, outcome.err);
        assert!(outcome.code == Some(code) && outcome.out.contains(out) && outcome.err.contains(err), "{context}");
        assert_eq!(err.is_empty(), outcome.err.is_empty(), "{context}");
    }
    Ok(())
}

#[test]
fn the_json_form_holds_what_scripts_need() -> Result<()> {
    let bad = GOOD.replace("registry.example", "user:canary@registry.example").replace("name: images", "name: other");
    let folder = folder(&[("other.yaml", "kind: Secret\napiVersion: v1\n")])?;
    let outcome =
        check(folder.path(), &["--output=json", "-", "other.yaml"], &format!("# two\n---\n{GOOD}---\n{bad}"))?;
    let report: Value = serde_json::from_str(&outcome.out)?;
    let found = &report["findings"][0];
    let expected = json!({
        "checked": 2, "skipped": 1, "filesWithoutConnections": ["other.yaml"],
        "findings": [{
            "file": "-", "document": 2, "line": 23, "kind": "RegistryConnection", "namespace": "shop", "name": "other",
            "field": "spec.provider.generic.registryUrl", "reason": "InvalidSpec",
            "message": found["message"], "remedy": found["remedy"],
        }],
    });
    assert_eq!(report, expected);
    assert_eq!(outcome.code, Some(1));
    assert!(!outcome.out.contains("canary") && found["remedy"].as_str().is_some_and(|text| text.contains("Secret")));
    Ok(())
}

#[test]
fn what_cannot_stand_side_by_side_in_one_file_is_told_and_each_file_is_for_itself() -> Result<()> {
    let thief = GOOD.replace("name: images", "name: other") + "  secret: {name: images}\n";
    let all = format!("{GOOD}---\n{GOOD}---\n{thief}");
    let folder = folder(&[("a.yaml", GOOD), ("b.yaml", GOOD), ("c.yaml", &thief)])?;
    let outcome = check(folder.path(), &["-"], &all)?;
    for line in [
        "-:16: RegistryConnection shop/images: metadata.name: a connection of this name in this namespace stands already \
         in -, line 1 (InvalidSpec)\n",
        "-:36: RegistryConnection shop/other: spec.secret.name: the connection in -, line 1 writes Secret \"images\" \
         already, and a Secret has one writer (InvalidSpec)\n",
    ] {
        assert!(outcome.out.contains(line), "{}", outcome.out);
    }
    assert!(
        outcome.code == Some(1) && outcome.out.contains("3 RegistryConnections checked, 2 faults"),
        "{}",
        outcome.out
    );
    assert_eq!(check(folder.path(), &["."], "")?.code, Some(0));
    Ok(())
}

#[test]
fn a_loopback_registry_needs_the_flag_of_the_operator() -> Result<()> {
    let text = GOOD.replace("https://registry.example", "http://127.0.0.1:5000");
    let folder = Scratch::new("regcred-check")?;
    let without = check(folder.path(), &["-"], &text)?;
    assert!(without.code == Some(1) && without.out.contains("--allow-loopback"), "{}", without.out);
    assert_eq!(check(folder.path(), &["--allow-loopback", "-"], &text)?.code, Some(0));
    Ok(())
}

#[test]
fn hostile_files_cost_little_and_get_a_clear_sentence() -> Result<()> {
    let folder = Scratch::new("regcred-check")?;
    let laughs: String = (1..20)
        .map(|index| format!("a{index}: &a{index} [{}]\n", vec![format!("*a{}", index - 1); 10].join(", ")))
        .collect();
    let laughs = format!("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{laughs}");
    let long_key = format!("{GOOD}  {}: 1\n", "k".repeat(900));
    let too_big = "bigger, or nested deeper, than a manifest can be";
    for (name, text, words) in [
        ("aliases", laughs.as_str(), too_big),
        ("nesting", &"[".repeat(1_000_000), too_big),
        (
            "nesting of blocks",
            &(0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
            too_big,
        ),
        ("many nodes", &"- \n".repeat(500_000), too_big),
        ("key twice", &format!("{GOOD}  suspend: true\n  suspend: false\n"), "the key \"suspend\" stands twice"),
        ("template", &GOOD.replace("login", "{{ .Values.login }}"), "this is a template"),
        (
            "template that looks like YAML",
            &GOOD.replace("name: login", "name: \"{{ .Values.login }}\""),
            "helm template",
        ),
        ("no YAML", "\"", "this is not YAML"),
        ("alias to nothing", "a: *b", "names an anchor (&) that is not there"),
        ("bell", &format!("{GOOD}  \"\\a\\e]0;x\\a\": 1\n"), "spec.?"),
        ("long key", &long_key, "spec.kkk"),
        ("wrong version", &GOOD.replace("v1alpha1", "v1"), "write apiVersion: regcred.dev/v1alpha1"),
        ("wrong kind", &GOOD.replace("Connection\n", "Connections\n"), "write kind: RegistryConnection"),
        ("no name", &GOOD.replace("name: images", "labels: {}"), "metadata.name: this is required"),
        (
            "list instead of fields",
            &format!("{}spec: []\n", GOOD.split("spec:").next().unwrap()),
            "write its fields below it",
        ),
    ] {
        let outcome = check(folder.path(), &["-"], text)?;
        let context = format!("{name}: {:?}\n{:.2000}{}", outcome.code, outcome.out, outcome.err);
        assert!(outcome.code == Some(1) && outcome.out.contains(words) && outcome.err.is_empty(), "{context}");
        assert!(outcome.out.len() < 1000 && outcome.out.contains(" 1 fault found"), "{context}");
        println!("{context}");
    }
    Ok(())
}

#[test]
fn a_report_that_nobody_reads_is_no_success() -> Result<()> {
    let folder = folder(&[("good.yaml", GOOD)])?;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_regcred"));
    let output = command.args(["check", "good.yaml"]).current_dir(folder.path()).env_clear().stdout(full).output()?;
    let text = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(2) && text.contains("cannot write to the standard output"), "{text}");
    Ok(())
}
