//! Processes as the kernel shows them, and signals to them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::wait_until;

/// A process of any parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its program's name, at most 15 characters (proc(5), `/proc/pid/comm`).
    pub program: String,
}

impl Process {
    /// The process `pid`, if it runs; one that has ended and was not waited for does not.
    pub fn find(pid: u32) -> Option<Self> {
        let program = fs::read_to_string(format!("/proc/{pid}/comm"))
            .ok()?
            .trim()
            .to_owned();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        (!matches!(state, Some('Z' | 'X') | None)).then_some(Self { pid, program })
    }

    /// All processes in the network namespace whose file is `namespace`, without this one.
    pub fn all_in(namespace: &Path) -> Vec<Self> {
        let Ok(wanted) = rustix::fs::stat(namespace) else {
            return Vec::new();
        };
        let entries = fs::read_dir("/proc").expect("/proc is mounted");
        let ids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_there = |pid: &u32| {
            rustix::fs::stat(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|net| (net.st_dev, net.st_ino) == (wanted.st_dev, wanted.st_ino))
        };
        ids.filter(|pid| *pid != std::process::id())
            .filter(is_there)
            .filter_map(Self::find)
            .collect()
    }

    /// Sends `signal`; a process that has ended meanwhile is no fault.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        wait_until("a killed process ends", Duration::from_secs(10), || {
            !self.is_running()
        });
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        Self::find(self.pid).is_some_and(|found| found.program == self.program)
    }

    /// Its resident memory in bytes, without pages that nobody wrote and others share: what `VmRSS` says.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| {
            rest.trim()
                .trim_end_matches(" kB")
                .trim()
                .parse::<u64>()
                .ok()
        });
        kib.unwrap_or(0) * 1024
    }

    /// The processor time that it has used, in user and in system mode.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}
