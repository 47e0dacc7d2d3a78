//! A small disk of a directory's own, which can be full or read-only.
//!
//! It is in memory. A path that is given to more than one function here has to be the same text each time.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that takes what is left of a full disk.
const FILLER: &str = "filler";

/// A disk that goes when it is dropped, whoever has files on it open.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// A disk of so many MiB over `directory`.
    pub fn mount(directory: &Path, mebibytes: u32) -> Self {
        fs::create_dir_all(directory).expect("a directory to mount on");
        let size = format!("size={mebibytes}m,mode=0750");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], directory);
        Self {
            directory: directory.to_owned(),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.directory);
    }
}

/// Takes all that is free on the disk of `directory`, and returns how many bytes that was.
pub fn fill(directory: &Path) -> u64 {
    let mut filler = File::create(directory.join(FILLER)).expect("a file on a disk");
    let mut taken = 0;
    let mut block = vec![b'x'; 64 * 1024];
    while !block.is_empty() {
        match filler.write(&block) {
            Ok(length) => taken += length as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => block.truncate(block.len() / 2),
            Err(error) => panic!("filling {}: {error}", directory.display()),
        }
    }
    taken
}

/// Undoes [`fill`].
pub fn empty(directory: &Path) {
    fs::remove_file(directory.join(FILLER)).expect("what filled a disk can be removed");
}

/// Nothing can be created, changed or removed in `directory` from now on. Files that are open for writing stay so: the
/// kernel refuses to take that away.
pub fn forbid_writing(directory: &Path) {
    let path = directory.to_str().expect("a path of plain characters");
    run("mount", &["--bind", path], directory);
    run("mount", &["-o", "remount,bind,ro"], directory);
}

/// Undoes [`forbid_writing`].
pub fn allow_writing(directory: &Path) {
    unmount(directory);
}

/// Unmounts all that is mounted below `directory`, the last first.
pub(crate) fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below: Vec<_> = places
        .map(Path::new)
        .filter(|place| place.starts_with(directory))
        .collect();
    below.into_iter().rev().for_each(unmount);
}

/// Whoever still has files open there keeps them, as of a disk that was pulled out.
fn unmount(directory: &Path) {
    // Another test may be removing it as well.
    let _ = Command::new("umount").arg("--lazy").arg(directory).output();
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .arg(directory)
        .output()
        .expect("mount starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
