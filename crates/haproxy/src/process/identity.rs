//! Which process: its id and when it started.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process, told apart from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did (field 22 of `/proc/PID/stat`, proc(5)).
    pub started: u64,
}

impl ProcessId {
    /// The process that has `pid` now; none when there is none, or only its remains.
    pub fn of(pid: u32) -> Option<Self> {
        let (state, started) = state_and_start(pid)?;
        (!is_over(state)).then_some(Self { pid, started })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Ends when the process does, at once if it has already (`pidfd_open(2)`). Never where the kernel cannot say it, so that
    /// whoever waits has to look now and then all the same. Cancel-safe.
    pub async fn ended(self) {
        let Some(pid) = as_pid(self.pid) else {
            return;
        };
        let opened = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        let watched = opened.map_err(io::Error::from).and_then(readiness);
        // The descriptor is of the process that has the id now; only then is it known to be the right one.
        if !self.is_alive() {
            return;
        }
        match watched {
            Ok(watched) => drop(watched.readable().await),
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes its remains away once it has ended, where it is the agent's child: where the agent is the first process of
    /// a container, HAProxy's daemons become that. Only for a process that is known to be such a daemon; the remains
    /// of others belong to whoever waits for them.
    pub(crate) fn take_remains(self) {
        let is_ended = |(state, started)| is_over(state) && started == self.started;
        if state_and_start(self.pid).is_some_and(is_ended)
            && let Some(pid) = as_pid(self.pid)
        {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    /// Sends `signal`; whether the process was there to get it. A process that took over the id does not get it.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = as_pid(self.pid) else {
            return Ok(false);
        };
        // The descriptor holds on to the process that has the id now; only then is it known to be the right one.
        let sent = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(_) if !self.is_alive() => return Ok(false),
            Ok(descriptor) => rustix::process::pidfd_send_signal(descriptor, signal),
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(_) if !self.is_alive() => return Ok(false),
            Err(_) => rustix::process::kill_process(pid, signal),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The words of its command line; none when it is gone.
    pub(crate) fn command_line(self) -> Vec<OsString> {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        if !self.is_alive() {
            return Vec::new();
        }
        let words = bytes.split(|byte| *byte == 0);
        words
            .filter(|word| !word.is_empty())
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect()
    }
}

/// A descriptor that tells when it can be read.
#[allow(
    deprecated,
    reason = "what succeeds it is unsafe; a descriptor that is owned keeps the contract"
)]
fn readiness(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// The state letter and the start time in `/proc/PID/stat`. The command's name may hold anything, also `)`.
fn state_and_start(pid: u32) -> Option<(char, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// Whether a process in this state has ended, and only its remains are there.
fn is_over(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        assert!(process.is_alive());
        let later = ProcessId {
            started: process.started + 1,
            ..process
        };
        assert!(!later.is_alive());
        assert!(
            !later.signal(Signal::KILL).unwrap(),
            "another process of that id"
        );
        assert!(process.is_alive());
        assert!(process.signal(Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(!process.signal(Signal::KILL).unwrap());
    }

    #[tokio::test]
    async fn its_end_is_noticed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        let mut ended = std::pin::pin!(process.ended());
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, &mut ended).await.is_err());
        assert!(process.signal(Signal::KILL).unwrap());
        let late = std::time::Duration::from_secs(10);
        tokio::time::timeout(late, &mut ended).await.unwrap();
        // Its remains are no process any more, nor is what comes after it under its id.
        tokio::time::timeout(late, process.ended()).await.unwrap();
        child.wait().unwrap();
        tokio::time::timeout(late, process.ended()).await.unwrap();
    }

    #[test]
    fn the_command_line_is_read() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(!me.command_line().is_empty());
        assert_eq!(ProcessId::of(u32::MAX), None);
    }
}
