//! Makes the image that is shipped from a program that is built already; `make image` does both.
#![allow(clippy::print_stdout)]

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use testenv::image::{self, Architecture, Program};
use testenv::tools::{self, Tool};

const USAGE: &str = "usage: image --program PATH --arch amd64|arm64 --out FOLDER [--push NAME | --files-only]

  --program PATH  the static binary
  --arch ARCH     what it is made for
  --out FOLDER    where the image goes: below it `rootfs` has its files, and `oci` is an OCI layout of it
  --push NAME     where it is pushed too, with the logins of this machine's docker config
  --files-only    no layout, only the files";

/// What the command line says.
struct Options {
    program: PathBuf,
    architecture: Architecture,
    out: PathBuf,
    then: Then,
}

/// What is made after the files.
enum Then {
    Nothing,
    Layout,
    Push(String),
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = parse(env::args().skip(1))?;
    let program = Program::read(&options.program, options.architecture, &image::private_folders())?;
    let rootfs = image::rootfs(&program, &options.out)?;
    println!("program  {} bytes, {}", program.bytes().len(), program.architecture());
    println!("files    {}", rootfs.display());
    if let Then::Nothing = options.then {
        return Ok(());
    }
    let image = image::build(&program, &options.out).await?;
    println!("image    {}\ndigest   {}", image.layout.display(), image.digest);
    if let Then::Push(name) = options.then {
        // With the environment as it is: this machine's logins, authorities and proxies are meant here.
        let status = Command::new(tools::path(Tool::Crane)?).arg("push").arg(&image.layout).arg(&name).status();
        let status = status.context("start crane")?;
        ensure!(status.success(), "the push to {name} failed ({status})");
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let (mut program, mut architecture, mut out, mut then) = (None, None, None, Then::Layout);
    while let Some(argument) = arguments.next() {
        if argument == "--files-only" {
            then = Then::Nothing;
            continue;
        }
        let value = arguments.next().with_context(|| format!("{argument:?} alone says nothing\n{USAGE}"))?;
        match argument.as_str() {
            "--program" => program = Some(value.into()),
            "--arch" => architecture = Some(value.parse()?),
            "--out" => out = Some(value.into()),
            "--push" => then = Then::Push(value),
            _ => bail!("{argument:?} is not known\n{USAGE}"),
        }
    }
    let (Some(program), Some(architecture), Some(out)) = (program, architecture, out) else { bail!("{USAGE}") };
    Ok(Options { program, architecture, out, then })
}
