//! The program that goes into an image: only one that can run there, and that says nothing of where it was built.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

/// The most bytes it may have: every node that runs it downloads it.
pub const LARGEST: usize = 15_000_000;

/// What every path of a crate's source has in it, in whatever home it lies.
const REGISTRY: &str = "/registry/src/";

/// What it runs on, in the names of the OCI image specification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Architecture {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

impl Architecture {
    /// The one of this machine; `None` if images are not made for it.
    pub fn own() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// As images name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As programs name it, in their ELF header.
    const fn machine(self) -> u16 {
        match self {
            Self::Amd64 => elf::EM_X86_64,
            Self::Arm64 => elf::EM_AARCH64,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Amd64, Self::Arm64];
        let found = known.into_iter().find(|one| one.name() == text);
        found.with_context(|| format!("{text:?} is no architecture that images are made for; there are {known:?}"))
    }
}

/// A program that is fit for an image, see the module.
#[derive(Clone, Debug)]
pub struct Program {
    bytes: Vec<u8>,
    architecture: Architecture,
}

impl Program {
    /// Reads it from a file. `private` are folders of this machine that it must not name, such as the home of who built it.
    ///
    /// # Errors
    /// The file cannot be read, or [`Program::new`] refuses it.
    pub fn read(path: &Path, architecture: Architecture, private: &[String]) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::new(bytes, architecture, private).with_context(|| format!("{} cannot be shipped", path.display()))
    }

    /// Takes the bytes of a program.
    ///
    /// # Errors
    /// It is made for another architecture, needs other files to run, has more than [`LARGEST`] bytes, or names one of the
    /// private folders or a place where Cargo unpacks crates.
    pub fn new(bytes: Vec<u8>, architecture: Architecture, private: &[String]) -> Result<Self> {
        alone(&bytes, architecture)?;
        ensure!(bytes.len() <= LARGEST, "it has {} bytes, and may have {LARGEST}", bytes.len());
        for path in private.iter().map(String::as_str).chain([REGISTRY]) {
            if let Some(found) = around(&bytes, path) {
                bail!("it names a path of the machine it was built on: {found}");
            }
        }
        Ok(Self { bytes, architecture })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it runs on.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }
}

/// Checks that the kernel can start it without any other file.
fn alone(bytes: &[u8], architecture: Architecture) -> Result<()> {
    let file = ElfFile64::<Endianness>::parse(bytes).context("it is no 64-bit ELF file")?;
    let order = file.endian();
    let machine = file.elf_header().e_machine(order);
    ensure!(machine == architecture.machine(), "it is made for machine {machine} of ELF, not for {architecture}");
    for segment in file.elf_program_headers() {
        ensure!(segment.p_type(order) != elf::PT_INTERP, "it needs a dynamic linker, so it is not static");
        let needed = |entry: &elf::Dyn64<Endianness>| entry.d_tag(order) == elf::DT_NEEDED;
        let entries = segment.dynamic(order, bytes).context("its dynamic section cannot be read")?;
        ensure!(!entries.is_some_and(|entries| entries.iter().any(needed)), "it needs a library, so it is not static");
    }
    Ok(())
}

/// `text` where it stands in `bytes`, with some of what follows.
fn around(bytes: &[u8], text: &str) -> Option<String> {
    const SHOWN: usize = 80;
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
    let end = bytes.len().min(at + text.len() + SHOWN);
    Some(bytes[at..end].iter().take_while(|byte| byte.is_ascii_graphic()).map(|&byte| char::from(byte)).collect())
}
