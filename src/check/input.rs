//! The files to check.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 32 * 1024 * 1024;

/// Stands for the standard input.
const STANDARD_INPUT: &str = "-";

/// The files that an argument stands for: itself; of a folder the manifests right in it, as for `kubectl apply -f`.
///
/// # Errors
/// The folder cannot be read, or holds no manifest.
pub fn files(argument: &Path) -> Result<Vec<PathBuf>> {
    let shown = argument.display();
    if !argument.is_dir() {
        return Ok(vec![argument.to_owned()]);
    }
    let mut files = vec![];
    for entry in argument.read_dir().with_context(|| format!("cannot read the folder {shown}"))? {
        let path = entry.with_context(|| format!("cannot read the folder {shown}"))?.path();
        let is_manifest =
            path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if is_manifest && !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("the folder {shown} holds no .yaml, .yml or .json file; name the files, or the folder they are in");
    }
    files.sort();
    Ok(files)
}

/// The text of a file.
///
/// # Errors
/// It cannot be read, is too large, or is not text.
pub fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let bytes = if path == Path::new(STANDARD_INPUT) {
        read_at_most(std::io::stdin().lock())
    } else {
        File::open(path).and_then(read_at_most)
    };
    let bytes = bytes.with_context(|| format!("cannot read {shown}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        bail!("{shown} is larger than {} MiB; split it", MAX_FILE / 1024 / 1024);
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown} is not text in UTF-8"))
}

fn read_at_most(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    reader.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
