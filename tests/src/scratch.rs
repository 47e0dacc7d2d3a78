//! A directory of a test's own, and the removal of those that killed tests left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::disk::unmount_below;

/// What the names of all that tests make begin with; the process id follows.
pub const PREFIX: &str = "haft";

/// A directory that goes when it is dropped. Its path is short, so that sockets can live in it.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    files: AtomicU32,
}

impl Scratch {
    /// An empty directory.
    pub fn new() -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let prefix = format!("{}-", own_name());
        let directory = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .expect("a temporary directory");
        Self {
            directory,
            files: AtomicU32::new(0),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory in it.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).expect("a directory in the temporary one");
        path
    }

    /// A new file in it with `content`, whose name ends with `ending`.
    pub fn file(&self, ending: &str, content: &str) -> PathBuf {
        let path = self.new_path(ending);
        fs::write(&path, content).expect("a file in the temporary directory");
        path
    }

    /// A path in it at which nothing is yet, whose name ends with `ending`.
    pub fn new_path(&self, ending: &str) -> PathBuf {
        self.path().join(format!(
            "{}-{ending}",
            self.files.fetch_add(1, Ordering::Relaxed)
        ))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// What the names of all that this process makes begin with.
pub(crate) fn own_name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Whether `name` is of something that a test process made which is gone.
pub(crate) fn is_left_over(name: &str) -> bool {
    let maker = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next());
    let maker = maker.and_then(|id| id.parse::<u32>().ok());
    maker.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists())
}

fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_left_over) {
            unmount_below(&entry.path());
            // Another test may be removing it as well.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
