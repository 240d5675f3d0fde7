//! Files that are made from the code. `EXPECTORATE=overwrite`, as `make generate` sets it, writes them anew.

use anyhow::{Context as _, Result};
use regcred::api::{connection::crds_yaml, reason::reference_table};

fn path(relative: &str) -> String {
    format!("{}/{relative}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_crd_is_what_the_command_prints_and_small_enough_to_apply() -> Result<()> {
    let yaml = crds_yaml()?;
    expectorate::assert_contents(path("crds/regcred.dev_registryconnections.yaml"), &yaml);
    // kubectl apply keeps a copy in an annotation, which holds at most 256 KiB; the promise is far below.
    assert!(yaml.len() < 64 * 1024, "{} bytes", yaml.len());
    assert_eq!(yaml.matches("default:").count(), 1, "only status has a default");
    Ok(())
}

#[test]
fn the_reference_page_lists_every_reason() -> Result<()> {
    const BEGIN: &str = "<!-- reasons: generated -->\n";
    const END: &str = "<!-- reasons: end -->";
    let page = path("docs/reference/registryconnection.md");
    let text = std::fs::read_to_string(&page)?;
    let (head, rest) = text.split_once(BEGIN).context("no begin marker")?;
    let (_, tail) = rest.split_once(END).context("no end marker")?;
    expectorate::assert_contents(&page, &format!("{head}{BEGIN}{}{END}{tail}", reference_table()));
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
