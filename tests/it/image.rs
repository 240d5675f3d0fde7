//! How the image is made, and that the Dockerfile makes the same. With a program of a few bytes: the one that is shipped takes
//! minutes to build, and `tests/image` runs it.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;
use testenv::{
    Registry, Scratch,
    crane::docker_config,
    image::{self, Architecture, ENTRYPOINT, LABELS, LARGEST, PROGRAM, Program, ROOTS, USER},
};

const DOCKERFILE: &str = include_str!("../../Dockerfile");
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");
const DEPLOYMENT: &str = include_str!("../../charts/regcred/templates/deployment.yaml");

/// The least that the kernel takes for a program of this machine (elf(5)), and what stands in it.
fn program(machine: u8, content: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // Type EXEC, machine, version; sizes of the header and of the entries that there are none of.
    (bytes[16], bytes[18], bytes[20], bytes[52], bytes[54], bytes[58]) = (2, machine, 1, 64, 56, 64);
    bytes.extend(content.as_bytes());
    bytes
}

const X86_64: u8 = 62;
const AARCH64: u8 = 183;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_program_gives_the_same_image_for_the_platform_that_it_is_made_for() -> Result<()> {
    let arm = Program::new(program(AARCH64, "one"), Architecture::Arm64, &[])?;
    let other = Program::new(program(AARCH64, "other"), Architecture::Arm64, &[])?;
    let (first, second) = (Scratch::new("image")?, Scratch::new("image")?);
    let (one, again) = tokio::try_join!(image::build(&arm, first.path()), image::build(&arm, second.path()))?;
    assert_eq!(one.digest, again.digest);
    assert_ne!(image::build(&other, second.path()).await?.digest, one.digest);

    let registry = Registry::start().await?;
    registry.set_password("user", "password")?;
    let login = docker_config(&registry.host(), "user", "password");
    let (crane, name) = (registry.crane(), format!("{}/regcred:test", registry.host()));
    crane.command(&login, ["push".as_ref(), one.layout.as_os_str(), name.as_ref()]).await?;
    assert_eq!(crane.pull(&name, &login).await?.digest, one.digest);
    let config: serde_json::Value = serde_json::from_str(&crane.command(&login, ["config", &name]).await?)?;
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!("arm64")));
    let labels: serde_json::Map<_, _> = LABELS.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    assert_eq!(config["config"], json!({"User": USER, "Entrypoint": [ENTRYPOINT], "Labels": labels}));

    let layer = first.path().join("layer.tar");
    crane.command(&login, ["export".as_ref(), name.as_ref(), layer.as_os_str()]).await?;
    let mut entries = vec![];
    for entry in tar::Archive::new(fs::File::open(layer)?).entries()? {
        let entry = entry?;
        let (path, header) = (entry.path()?.to_string_lossy().into_owned(), entry.header());
        assert_eq!((header.uid()?, header.gid()?, header.mtime()?), (0, 0, 0), "{path}");
        entries.push((path, header.mode()? & 0o777));
    }
    let expected = [("etc", 0o755), ("etc/ssl", 0o755), ("etc/ssl/certs", 0o755), (ROOTS, 0o644), (PROGRAM, 0o755)];
    assert_eq!(entries, expected.map(|(path, mode)| (path.to_owned(), mode)));
    Ok(())
}

#[test]
fn a_program_that_is_not_fit_for_an_image_is_refused() {
    let private = ["/home/somebody/".to_owned()];
    let dynamic = fs::read(env!("CARGO_BIN_EXE_regcred")).unwrap();
    let own = Architecture::own().unwrap();
    for (name, bytes, architecture, expected) in [
        ("no program", b"#!/bin/sh".to_vec(), own, "it is no 64-bit ELF file"),
        (
            "another machine",
            program(X86_64, ""),
            Architecture::Arm64,
            "it is made for machine 62 of ELF, not for arm64",
        ),
        ("as tests build it", dynamic, own, "it needs a dynamic linker, so it is not static"),
        (
            "too large",
            program(X86_64, &"x".repeat(LARGEST)),
            Architecture::Amd64,
            "it has 15000064 bytes, and may have 15000000",
        ),
        (
            "a home",
            program(X86_64, "at /home/somebody/src/main.rs:1 "),
            Architecture::Amd64,
            "it names a path of the machine it was built on: /home/somebody/src/main.rs:1",
        ),
        (
            "where crates are unpacked",
            program(X86_64, "/any/registry/src/index/serde-1.0.0/lib.rs"),
            Architecture::Amd64,
            "it names a path of the machine it was built on: /registry/src/index/serde-1.0.0/lib.rs",
        ),
    ] {
        let error = Program::new(bytes, architecture, &private).map(drop).unwrap_err();
        assert_eq!(error.to_string(), expected, "{name}");
    }
    Program::new(program(X86_64, "src/main.rs"), Architecture::Amd64, &private).unwrap();
}

#[test]
fn the_dockerfile_says_what_the_image_says() -> Result<()> {
    let (build, image) = DOCKERFILE.split_once("\nFROM scratch\n").context("a last stage from nothing")?;
    let toolchain = TOOLCHAIN.split('"').nth(1).context("a channel")?;
    assert!(build.contains(&format!("\nFROM rust:{toolchain}-")), "{build}");
    assert!(build.ends_with("\nRUN make rootfs IMAGE=/image\n"), "it builds as make does: {build}");
    // Its name is looked for in the program, and must not stand in there for another reason.
    let folder = build.split("\nWORKDIR ").nth(1).and_then(|rest| rest.lines().next()).context("a folder")?;
    assert!(!format!("{folder}/").starts_with("/src/") && folder.split('/').count() > 2, "{folder}");
    let labels = LABELS.map(|(name, value)| format!("{name}=\"{value}\"")).join(" \\\n      ");
    let expected =
        format!("LABEL {labels}\nCOPY --from=build /image/rootfs/ /\nUSER {USER}\nENTRYPOINT [\"{ENTRYPOINT}\"]\n");
    assert_eq!(image, expected);
    Ok(())
}

#[test]
fn the_image_says_what_cargo_and_the_chart_say() {
    let label = |name: &str| LABELS.into_iter().find(|(known, _)| known.ends_with(name)).map(|(_, value)| value);
    assert_eq!(label(".title"), Some(env!("CARGO_PKG_NAME")));
    assert_eq!(label(".description"), Some(env!("CARGO_PKG_DESCRIPTION")));
    assert_eq!(label(".licenses"), Some(env!("CARGO_PKG_LICENSE")));
    assert_eq!(label(".version"), Some(env!("CARGO_PKG_VERSION")));
    // A kubelet cannot know that a name is not root's.
    assert!(DEPLOYMENT.contains("runAsNonRoot: true\n"));
    assert!(USER.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{USER}");
}
