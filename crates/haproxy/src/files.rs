//! The files of one HAProxy: its configuration, the one before it, and what was applied; replaced whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The longest path of a runtime socket, in bytes. A UNIX address holds 107 and a NUL, and HAProxy binds to the path
/// with `.PID.tmp` behind it before it renames. HAProxy itself allows 97, which is right for ids of 5 digits; they have up to 7.
pub(crate) const MAX_SOCKET_PATH: usize = 107 - ".4194304.tmp".len();

/// Digits of a generation that a socket path must have room for.
const GENERATION_DIGITS: usize = 8;

/// A file that cannot be read or written, or a directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused. Transient, as far as disks that fill up and empty again are.
    #[error("{action} {} failed", path.display())]
    Io {
        /// Such as `writing`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Runtime sockets would have a path that is too long for the system. Permanent until the setting changes.
    #[error("the directory {} is too long for runtime sockets by {excess} bytes: set runtime_dir to a shorter one, such as /run/hafleet", path.display())]
    SocketPathTooLong {
        /// The directory.
        path: PathBuf,
        /// How much shorter it has to be, in bytes.
        excess: usize,
    },
    /// Another agent has the directory.
    #[error("{} is in use by another agent: each needs a data directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// Where the files of one HAProxy are. Held by one agent at a time.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    runtime_dir: PathBuf,
    config: PathBuf,
    _lock: File,
}

/// Refuses a directory in which runtime sockets would have too long a path.
pub(crate) fn check_runtime_dir(path: &Path) -> Result<(), FileError> {
    let longest = "/haproxy-.sock".len() + GENERATION_DIGITS;
    let length = path.as_os_str().len() + longest;
    if length > MAX_SOCKET_PATH {
        return Err(FileError::SocketPathTooLong {
            path: path.to_owned(),
            excess: length - MAX_SOCKET_PATH,
        });
    }
    Ok(())
}

impl Files {
    /// Makes the directories and takes hold of them.
    pub(crate) fn open(dir: &Path, runtime_dir: &Path) -> Result<Self, FileError> {
        for path in [dir, runtime_dir] {
            fs::create_dir_all(path).map_err(FileError::io("making the directory", path))?;
        }
        let absolute = |path: &Path| {
            path.canonicalize()
                .map_err(FileError::io("resolving", path))
        };
        let (dir, runtime_dir) = (absolute(dir)?, absolute(runtime_dir)?);
        check_runtime_dir(&runtime_dir)?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(FileError::io("making", &path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| FileError::InUse { path: dir.clone() })?;
        let files = Self {
            config: dir.join("haproxy.cfg"),
            dir,
            runtime_dir,
            _lock: lock,
        };
        files.clear_state()?;
        Ok(files)
    }

    /// The same with the configuration where a service reads it, if `path` is given.
    #[must_use]
    pub(crate) fn with_config(self, path: Option<&Path>) -> Self {
        Self {
            config: path.map_or(self.config, Path::to_owned),
            ..self
        }
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration that HAProxy runs, or is about to.
    pub(crate) fn config(&self) -> PathBuf {
        self.config.clone()
    }

    /// What was applied.
    pub(crate) fn applied(&self) -> PathBuf {
        self.dir.join("applied.json")
    }

    /// Tells that firewall rules may exist, and in which firewalls.
    pub(crate) fn firewall_mark(&self) -> PathBuf {
        self.dir.join("drop-syn")
    }

    /// Where the process of `generation` writes its id.
    pub(crate) fn pid_file(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("haproxy-{generation}.pid"))
    }

    /// The generation whose pid file is `path`, if it is one of ours.
    pub(crate) fn generation_of(&self, path: &Path) -> Option<u64> {
        if path.parent()? != self.dir {
            return None;
        }
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("haproxy-")?
            .strip_suffix(".pid")?
            .parse()
            .ok()
    }

    /// The runtime socket of the process of `generation`.
    pub(crate) fn socket(&self, generation: u64) -> PathBuf {
        self.runtime_dir.join(format!("haproxy-{generation}.sock"))
    }

    fn previous(&self) -> PathBuf {
        self.dir.join("haproxy.cfg.previous")
    }

    /// The configuration on disk, if there is one.
    pub(crate) fn read_config(&self) -> Result<Option<String>, FileError> {
        read(&self.config())
    }

    /// The configuration before the last one, if there was one.
    pub(crate) fn read_previous(&self) -> Result<Option<String>, FileError> {
        read(&self.previous())
    }

    /// Puts `text` in the configuration's place and keeps what was there for [`Self::restore`].
    pub(crate) fn replace_config(&self, text: &str) -> Result<(), FileError> {
        keep(&self.config(), &self.previous())?;
        write(&self.config(), text)
    }

    /// Puts back what [`Self::replace_config`] replaced.
    pub(crate) fn restore_config(&self) -> Result<(), FileError> {
        match read(&self.previous())? {
            Some(text) => write(&self.config(), &text),
            None => remove(&self.config()),
        }
    }

    /// Removes sockets and pid files of all generations but `kept`.
    pub(crate) fn sweep(&self, kept: &[u64]) {
        for dir in [&self.dir, &self.runtime_dir] {
            let Ok(entries) = fs::read_dir(dir) else {
                continue;
            };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let generation = name
                    .to_str()
                    .and_then(|name| name.strip_prefix("haproxy-"))
                    .and_then(|name| name.split_once('.'))
                    .filter(|(_, end)| ["sock", "pid"].contains(end))
                    .and_then(|(generation, _)| generation.parse::<u64>().ok());
                if generation.is_some_and(|generation| !kept.contains(&generation)) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// The text of `path`; none when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::io("reading", path)(error)),
    }
}

/// Replaces `path` with `text`, durably: after a crash at any point it holds the old text or the new.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let dir = path.parent().unwrap_or_else(|| Path::new("/"));
    let wrote = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    };
    wrote().map_err(FileError::io("writing", path))
}

/// Gives the file `path` the second name `other`, in the place of what has that name; if there is none, nothing has it then.
/// What [`write`] puts in its place later leaves `other` alone.
fn keep(path: &Path, other: &Path) -> Result<(), FileError> {
    let beside = other.with_extension("new");
    remove(&beside)?;
    match fs::hard_link(path, &beside) {
        Ok(()) => fs::rename(&beside, other).map_err(FileError::io("writing", other)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(other),
        // A file system without second names.
        Err(_) => match read(path)? {
            Some(text) => write(other, &text),
            None => remove(other),
        },
    }
}

/// Makes the directory `path`, and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::io("making the directory", path))
}

/// Removes `path` if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_can_be_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path(), dir.path()).unwrap();
        files.replace_config("one\n").unwrap();
        files.replace_config("two\n").unwrap();
        files.restore_config().unwrap();
        assert_eq!(files.read_config().unwrap().as_deref(), Some("one\n"));
    }

    #[test]
    fn a_first_configuration_that_failed_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path(), dir.path()).unwrap();
        files.replace_config("one\n").unwrap();
        files.restore_config().unwrap();
        assert_eq!(files.read_config().unwrap(), None);
    }

    #[test]
    fn a_directory_has_one_agent() {
        let dir = tempfile::tempdir().unwrap();
        let first = Files::open(dir.path(), dir.path()).unwrap();
        assert!(matches!(
            Files::open(dir.path(), dir.path()),
            Err(FileError::InUse { .. })
        ));
        drop(first);
        assert!(Files::open(dir.path(), dir.path()).is_ok());
    }

    #[test]
    fn a_long_runtime_directory_is_refused_by_its_setting() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(90));
        let error = Files::open(dir.path(), &long).unwrap_err().to_string();
        assert!(error.contains("runtime_dir"), "{error}");
    }
}
