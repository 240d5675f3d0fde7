//! What is in the image: two files, as a folder or as a layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tar::{Builder, EntryType, Header};

use super::program::Program;

/// Where the program is.
pub const PROGRAM: &str = "regcred";

/// Where the certificates of the authorities are: where `rustls-native-certs` looks first on Linux.
pub const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";

/// What stands above the certificates, because their licence asks for it.
const HEADING: &str = "# The certificate authorities that Mozilla trusts for servers, from the Common CA Database
# (https://www.ccadb.org), under https://cdla.dev/permissive-2-0/
";

/// How many characters a line of PEM has (RFC 7468, 2).
const LINE: usize = 64;

/// A folder, and a program: everybody may enter and run them. A file: everybody may read it.
const OPEN: u32 = 0o755;
const READABLE: u32 = 0o644;

/// The files of an image by their paths, see the module. All belong to root, so that the program cannot change them.
#[derive(Clone, Debug)]
pub struct Files(BTreeMap<&'static str, File>);

#[derive(Clone, Debug)]
struct File {
    mode: u32,
    bytes: Vec<u8>,
}

impl Files {
    /// The files of an image with this program.
    pub fn new(program: &Program) -> Self {
        Self(BTreeMap::from([
            (PROGRAM, File { mode: OPEN, bytes: program.bytes().to_vec() }),
            (ROOTS, File { mode: READABLE, bytes: roots().into_bytes() }),
        ]))
    }

    /// Writes them below `folder`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for path in self.folders() {
            let path = folder.join(path);
            fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
            set_mode(&path, OPEN)?;
        }
        for (path, file) in &self.0 {
            let path = folder.join(path);
            fs::write(&path, &file.bytes).with_context(|| format!("write {}", path.display()))?;
            set_mode(&path, file.mode)?;
        }
        Ok(())
    }

    /// A tar archive of them: sorted, of no time, owned by root.
    ///
    /// # Errors
    /// None that could happen in memory.
    pub fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        let folders = self.folders().into_iter().map(|path| (path, None));
        let files = self.0.iter().map(|(&path, file)| (path, Some(file)));
        for (path, file) in folders.chain(files).collect::<BTreeMap<_, _>>() {
            let mut header = Header::new_ustar();
            header.set_entry_type(if file.is_some() { EntryType::Regular } else { EntryType::Directory });
            header.set_mode(file.map_or(OPEN, |file| file.mode));
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            let bytes = file.map_or(&[][..], |file| &file.bytes);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, path, bytes).with_context(|| format!("put {path} into a layer"))?;
        }
        archive.into_inner().context("finish a layer")
    }

    /// The folders that the files are in, the outer ones first.
    fn folders(&self) -> BTreeSet<&'static str> {
        self.0.keys().flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end])).collect()
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

/// The authorities, PEM. From a crate rather than from this machine's own `/etc/ssl`: `Cargo.lock` pins it and `cargo update`
/// renews it like everything else that is shipped, and two machines make the same image.
fn roots() -> String {
    let mut pem = HEADING.to_owned();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = STANDARD.encode(certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for (at, letter) in text.char_indices() {
            if at > 0 && at % LINE == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn every_authority_is_read_back_from_the_bundle() {
        let read: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(roots().as_bytes()).collect::<Result<_, _>>().unwrap();
        assert!(read.len() > 100, "{}", read.len());
        assert_eq!(read, webpki_root_certs::TLS_SERVER_ROOT_CERTS);
    }
}
