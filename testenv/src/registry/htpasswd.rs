//! The password file of a registry, which the registry reads again whenever its time has changed.
//!
//! Who is in it is decided by tests; that a change holds for the next request is ensured here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

/// Stands in place of a hash that no password has.
const LOCKED: &str = "*";

/// The cheapest there is (2^4 rounds): every single request pays for it.
const BCRYPT_COST: u32 = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Htpasswd {
    path: PathBuf,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// User to bcrypt hash, or to [`LOCKED`].
    users: BTreeMap<String, String>,
    /// When the file was last said to be written.
    written: Option<SystemTime>,
}

impl Htpasswd {
    /// Writes a file without any user.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        let file = Self { path, entries: Mutex::default() };
        file.write(&mut file.entries())?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `user` was ever let in or locked out. The registry names only such users in its log.
    pub(super) fn knows(&self, user: &str) -> bool {
        self.entries().users.contains_key(user)
    }

    pub(super) fn set(&self, user: &str, password: &str) -> Result<()> {
        let hash = bcrypt::hash(password, BCRYPT_COST).context("hash a password")?;
        let mut entries = self.entries();
        entries.users.insert(user.to_owned(), hash);
        self.write(&mut entries)
    }

    pub(super) fn lock(&self, user: &str) -> Result<()> {
        let mut entries = self.entries();
        entries.users.insert(user.to_owned(), LOCKED.to_owned());
        self.write(&mut entries)
    }

    /// File systems keep time coarsely: so each writing sets a later time than the one before. Renamed into place, so
    /// that no half file is ever read.
    fn write(&self, entries: &mut Entries) -> Result<()> {
        let lines: Vec<String> = entries.users.iter().map(|(user, hash)| format!("{user}:{hash}\n")).collect();
        let next = self.path.with_extension("next");
        fs::write(&next, lines.concat()).context("write the password file")?;
        let now = SystemTime::now();
        let time = entries.written.map_or(now, |before| now.max(before + Duration::from_secs(1)));
        let file = fs::File::options().write(true).open(&next).context("open the password file")?;
        file.set_modified(time).context("set the password file's time")?;
        entries.written = Some(time);
        fs::rename(&next, &self.path).context("put the password file in place")
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
