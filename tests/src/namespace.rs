//! Network namespaces, and running things in them.
//!
//! A thread that enters a namespace stays there, so every piece of work gets a thread of its own. What it makes there
//! (sockets, child processes) belongs to the namespace for good.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;
use crate::scratch::{is_left_over, own_name};

const FOLDER: &str = "/run/netns";

/// A network namespace that goes when it is dropped, with every process in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace whose loopback is up. `role` is a word for people who look at the machine meanwhile.
    pub fn new(role: &str) -> Self {
        static SWEPT: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        SWEPT.call_once(sweep);
        let name = format!(
            "{}-{}-{role}",
            own_name(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        namespace
    }

    /// Its name, for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` inside and returns what it returns; a panic inside goes on outside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entry = self.entry();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&entry);
                work()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs `work` inside on a thread of its own.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let entry = self.entry();
        thread::spawn(move || {
            enter(&entry);
            work()
        })
    }

    /// Starts `command` inside.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let started = self.run(|| command.spawn());
        started.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
    }

    /// Runs `command` inside to its end and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn output(&self, command: &mut Command) -> String {
        let output = self
            .run(|| command.output())
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{command:?}: {printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// All processes inside.
    pub fn processes(&self) -> Vec<Process> {
        Process::all_in(&self.path())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(FOLDER).join(&self.name)
    }

    fn entry(&self) -> File {
        File::open(self.path()).expect("the namespace's file is there as long as the namespace")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn enter(entry: &File) {
    move_into_link_name_space(entry.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("entering a namespace");
}

/// Runs `ip` with `arguments`, and returns what it printed.
pub(crate) fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("ip starts");
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Kills every process in the namespace and removes it. Those that start while others are killed go as well.
fn remove(name: &str) {
    for _ in 0..10 {
        let inside = Process::all_in(&PathBuf::from(FOLDER).join(name));
        if inside.is_empty() {
            break;
        }
        inside.iter().for_each(Process::kill);
    }
    // Another test may be removing it as well.
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

fn sweep() {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return;
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| is_left_over(name))
        .for_each(|name| remove(&name));
}
