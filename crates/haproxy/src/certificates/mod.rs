//! The fleet's certificates on this node: the files that HAProxy reads, and which bind means which.
//!
//! A bind names a certificate. If the fleet has one of that name, it is a file of hafleet's own, below the data
//! directory, which HAProxy reads when it starts; else it is a file of the node's certificate directory, as it always
//! was. What a running process serves is asked of it ([`crate::runtime`]) and replaced in it ([`crate::plan`]).

mod held;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hafleet_model::secrets::Confidential;

use crate::files::{self, FileError};
use crate::render::Rendered;

pub(crate) use held::Held;
pub use held::{FleetCertificate, HeldCertificate};

/// The certificates that a node holds for its fleet. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Certificates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Where they were before the agent was told another directory, if that is there still.
    former: Option<PathBuf>,
    held: RwLock<Arc<Held>>,
    /// Taken by whoever changes files, so that one at a time does.
    writing: Mutex<()>,
}

impl Certificates {
    /// Takes the directory `dir`, makes it if it is not there, and has nobody but the agent's user enter it. Nothing is
    /// held yet.
    pub(crate) fn open(dir: &Path) -> Result<Self, FileError> {
        let dir = dir.to_owned();
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir);
        made.map_err(FileError::io("making the directory", &dir))?;
        let private = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
        private.map_err(FileError::io("making private", &dir))?;
        remove_candidates(&dir);
        let shared = Shared {
            held: RwLock::new(Arc::new(Held::nothing_in(&dir))),
            writing: Mutex::new(()),
            former: None,
            dir,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// As [`Self::open`]; what lies in the directory `former` is removed when HAProxy needs it no more.
    pub(crate) fn open_instead_of(former: PathBuf, dir: &Path) -> Result<Self, FileError> {
        let opened = Self::open(dir)?;
        if former == dir || !former.is_dir() {
            return Ok(opened);
        }
        let shared = Shared {
            dir: opened.shared.dir.clone(),
            former: Some(former),
            held: RwLock::new(opened.held()),
            writing: Mutex::new(()),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Writes `certificates` to their files where those are not there yet, readable by the agent's user alone, and has
    /// binds mean them from now on. Files of certificates that are not among them stay until a configuration without
    /// them was applied, since HAProxy may be started anew until then. Returns whether anything is different.
    ///
    /// # Errors
    /// When a file cannot be written; binds mean what they did before.
    pub fn hold(&self, certificates: Vec<FleetCertificate>) -> Result<bool, FileError> {
        let _writing = self.writing();
        let held = Held::new(&self.shared.dir, certificates);
        for certificate in held.iter() {
            let path = Path::new(certificate.path());
            let is_there = files::read(path)
                .ok()
                .flatten()
                .is_some_and(|text| text == certificate.pem().expose());
            if !is_there {
                files::write(path, certificate.pem().expose())?;
            }
        }
        let mut current = self
            .shared
            .held
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let is_different = **current != held;
        *current = Arc::new(held);
        Ok(is_different)
    }

    /// Writes `pem` to a file that goes when what is returned is dropped, for a check before anybody holds it.
    pub(crate) fn lay_out(&self, pem: &Confidential) -> io::Result<tempfile::NamedTempFile> {
        let file = tempfile::Builder::new()
            .prefix(CANDIDATE)
            .suffix(".pem")
            .tempfile_in(&self.shared.dir)?;
        fs::write(file.path(), pem.expose())?;
        Ok(file)
    }

    /// What is held now.
    pub(crate) fn held(&self) -> Arc<Held> {
        let held = self.shared.held.read();
        Arc::clone(&held.unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes files of certificates that are neither held nor in `applied`, the configuration that HAProxy runs. That
    /// one of them cannot be removed is a remark: nothing reads it.
    pub(crate) fn sweep(&self, applied: &Rendered) {
        let _writing = self.writing();
        if let Some(former) = &self.shared.former {
            remove_former(former, applied);
        }
        let held = self.held();
        let used = applied.certificates().iter();
        let kept: BTreeSet<_> = held.iter().chain(used).map(HeldCertificate::path).collect();
        let Ok(entries) = fs::read_dir(&self.shared.dir) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_kept = path.to_str().is_some_and(|path| kept.contains(path));
            if is_kept || is_candidate(&path) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "unused certificate removed"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "unused certificate not removed");
                }
            }
        }
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, ()> {
        let writing = self.shared.writing.lock();
        writing.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the directory `former` with the keys in it, unless the configuration that HAProxy runs names it.
fn remove_former(former: &Path, applied: &Rendered) {
    let is_named = applied.body().contains(&*former.to_string_lossy());
    if is_named || !former.is_dir() {
        return;
    }
    match fs::remove_dir_all(former) {
        Ok(()) => {
            tracing::info!(path = %former.display(), "certificates lie elsewhere now: directory removed");
        }
        Err(error) => {
            tracing::warn!(path = %former.display(), %error, "unused certificates not removed");
        }
    }
}

/// Removes what an agent that was killed during a check has left.
fn remove_candidates(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if is_candidate(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_candidate(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(CANDIDATE))
}

/// What names of files that are only laid out for a check begin with. No certificate's name begins with a dot.
const CANDIDATE: &str = ".candidate-";

#[cfg(test)]
mod certificates_tests;
