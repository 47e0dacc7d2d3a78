//! A machine with a real systemd: process 1 of its own, with units of its own, in the network of a node.
//!
//! Its root is this machine's with other files laid over it, so that it has the same programs; what it writes goes with it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::deadline::{pause, wait_for};
use crate::machine::hafleet;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::{is_left_over, own_name};

const BOOT: &str = include_str!("systemd.sh");
const SYSTEMD: &str = "/lib/systemd/systemd";
/// What units wait for that are written for whole machines.
const TARGETS: [&str; 4] = ["basic", "sysinit", "shutdown", "multi-user"];
/// How long it may take to boot, and a unit to start or stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running systemd. Everything on its machine goes when it is dropped.
#[derive(Debug)]
pub struct Systemd {
    child: Child,
    group: PathBuf,
    log: PathBuf,
    first: Process,
}

impl Systemd {
    /// Boots one in `namespace`, whose files are in `directory`: those below `files` are laid over the root, and units are in
    /// `files/units`. Says why where that cannot be done, so that a test can return early.
    ///
    /// # Panics
    /// When it starts and does not come up.
    pub fn boot(namespace: &Namespace, directory: &Path) -> Option<Self> {
        match Self::try_boot(namespace, directory) {
            Ok(booted) => Some(booted),
            Err(reason) => {
                eprintln!("left out: systemd cannot be booted in namespaces here: {reason}");
                None
            }
        }
    }

    fn try_boot(namespace: &Namespace, directory: &Path) -> Result<Self, String> {
        if !Path::new(SYSTEMD).exists() {
            return Err(format!("{SYSTEMD} is not installed"));
        }
        let hierarchy = control_groups().ok_or("control groups of version 2 are not mounted")?;
        sweep(&hierarchy);
        let group = hierarchy.join(format!("{}-{}", own_name(), namespace.name()));
        fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        write_targets(&directory.join("files/units"));
        let script = directory.join("boot.sh");
        fs::write(&script, BOOT).expect("a script");
        let log = directory.join("boot.log");
        let said = fs::File::create(&log).expect("a log");
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(
                "echo $$ > \"$0/cgroup.procs\" && exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup \
                 sh \"$@\"",
            )
            .arg(&group)
            .args([&script, directory, &hafleet()])
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a log"))
            .stderr(said);
        let mut child = namespace.spawn(&mut command);
        let first = wait_for("systemd boots", PATIENCE, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Ok(Err(format!("{status}: {}", read(&log))));
            }
            let first = first_below(child.id()).ok_or_else(|| read(&log))?;
            let state = in_machine(&first, "systemctl", &["is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            match state == "running" {
                true => Ok(Ok(first)),
                false => Err(format!("{state}: {}", read(&log))),
            }
        });
        match first {
            Ok(first) => Ok(Self {
                child,
                group,
                log,
                first,
            }),
            Err(reason) => {
                remove_group(&group);
                Err(reason)
            }
        }
    }

    /// Runs `systemctl` there.
    pub fn systemctl(&self, words: &[&str]) -> Output {
        in_machine(&self.first, "systemctl", words)
    }

    /// Runs `systemctl` there, which succeeds.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn order(&self, words: &[&str]) {
        let output = self.systemctl(words);
        assert!(
            output.status.success(),
            "systemctl {words:?}: {output:?}; {}",
            read(&self.log)
        );
    }

    /// A property of a unit, as `systemctl show` has it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let output = self.systemctl(&["show", "--value", "--property", name, unit]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Where its file `path` is seen from here.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first.pid))
    }

    /// Writes its file `path`, for everybody to read.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        let mut file = fs::File::create(&path).expect("a file");
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .expect("a file of one's own");
        file.write_all(text.as_bytes()).expect("a file");
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // With process 1 goes everybody in its namespace.
        self.first.kill();
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_group(&self.group);
    }
}

/// The units that bring the machine up, without anything in them.
fn write_targets(units: &Path) {
    fs::create_dir_all(units).expect("a directory for units");
    for target in TARGETS {
        let text = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
        fs::write(units.join(format!("{target}.target")), text).expect("a unit");
    }
    let machine = "[Unit]\nDescription=machine\nRequires=multi-user.target\n";
    fs::write(units.join("machine.target"), machine).expect("a unit");
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

/// Where control groups of version 2 are mounted.
fn control_groups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&"cgroup2"))?;
    found.get(1).map(PathBuf::from)
}

/// The child of the process `parent`, once it is systemd.
fn first_below(parent: u32) -> Option<Process> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let first = children.split_whitespace().next()?.parse().ok()?;
    Process::find(first).filter(|process| process.program == "systemd")
}

/// Removes what killed tests left in `hierarchy`.
fn sweep(hierarchy: &Path) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left_over) {
            remove_group(&entry.path());
        }
    }
}

fn in_machine(first: &Process, program: &str, words: &[&str]) -> Output {
    let mut command = Command::new("nsenter");
    let pid = first.pid.to_string();
    command.args(["--all", "--target", &pid, program]);
    command.args(words).output().expect("nsenter starts")
}

/// With those that systemd made below it; they are busy until the last of their processes is gone.
fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    for _ in 0..200 {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => pause(),
            _ => break,
        }
    }
}
