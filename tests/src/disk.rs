//! A small disk of a directory's own, which can be full, read-only or broken.
//!
//! It is in memory, or a file system in a file where it has to break as those on real disks do. A path that is given to
//! more than one function here has to be the same text each time.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::scratch::Scratch;

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

/// Whether this machine mounts file systems that are in files. Says so when it does not, as in most containers.
pub fn can_mount_files() -> bool {
    let scratch = Scratch::new();
    let place = scratch.directory("disk");
    make_file_system(&place, 4);
    let output = mount_file(&place);
    let can_mount = output.status.success();
    if can_mount {
        unmount(&place);
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "left out: no loop device can be mounted here: {}",
            said.trim()
        );
    }
    can_mount
}

impl Disk {
    /// A disk of so many MiB over `directory` with a file system that takes itself to be read-only once it has failed. It
    /// is in a file beside the directory.
    pub fn mount_breakable(directory: &Path, mebibytes: u32) -> Self {
        fs::create_dir_all(directory).expect("a directory to mount on");
        make_file_system(directory, mebibytes);
        let output = mount_file(directory);
        assert!(output.status.success(), "{output:?}");
        Self {
            directory: directory.to_owned(),
        }
    }
}

/// The file system of `directory`, which [`Disk::mount_breakable`] made, has met an error that it does not recover from:
/// from now on the kernel refuses every write, to files that are open too.
pub fn break_down(directory: &Path) {
    run("mount", &["-o", "remount,abort"], directory);
}

/// Undoes [`break_down`]: the file system is mounted anew, as it is after such an error, from a copy. Whoever has files of
/// before open keeps them, and still cannot write them.
pub fn repair(directory: &Path) {
    unmount(directory);
    let (image, copy) = (image(directory), directory.with_extension("copy"));
    fs::copy(&image, &copy).expect("a copy of a disk");
    fs::rename(&copy, &image).expect("a copy of a disk");
    let output = mount_file(directory);
    assert!(output.status.success(), "{output:?}");
}

fn image(directory: &Path) -> PathBuf {
    directory.with_extension("disk")
}

fn make_file_system(directory: &Path, mebibytes: u32) {
    let image = image(directory);
    let file = File::create(&image).expect("a file for a disk");
    file.set_len(u64::from(mebibytes) << 20)
        .expect("a file for a disk");
    run("mkfs.ext4", &["-q", "-F"], &image);
}

fn mount_file(directory: &Path) -> Output {
    let mut command = Command::new("mount");
    command.args(["-t", "ext4", "-o", "loop,errors=remount-ro"]);
    let output = command.arg(image(directory)).arg(directory).output();
    output.expect("mount starts")
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
