//! Putting small files where they belong: whole or not at all, and private when they hold a key.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Everyone may read it.
pub(crate) const PUBLIC: u32 = 0o644;
/// Only its owner may read it.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a new file: to a neighbour first, synced, then linked to its name. Fails with
/// [`io::ErrorKind::AlreadyExists`] when the name is taken, and leaves what is there alone.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let neighbour = neighbour_of(path);
    let written =
        write_synced(&neighbour, text, mode).and_then(|()| fs::hard_link(&neighbour, path));
    // The neighbour is only a second name by now, or the remains of a failure that is reported anyway.
    let _ = fs::remove_file(&neighbour);
    written?;
    sync_directory(path)
}

/// Writes a file in place of the one that has its name, if any: a reader finds the old one or the new one, whole.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let neighbour = neighbour_of(path);
    let written = write_synced(&neighbour, text, mode).and_then(|()| fs::rename(&neighbour, path));
    if written.is_err() {
        // The failure is what is reported.
        let _ = fs::remove_file(&neighbour);
    }
    written?;
    sync_directory(path)
}

fn neighbour_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write_synced(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
