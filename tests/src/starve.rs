//! Processes that get little of the processor.
//!
//! A control group limits them where the machine lets us make one: the unified hierarchy (`cpu.max`, Linux's
//! Documentation/admin-guide/cgroup-v2.rst) or the older one (`cpu.cfs_quota_us`, scheduler/sched-bwc.rst). Elsewhere they
//! are stopped and go on again and again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::Process;
use crate::scratch;
use crate::wait_until;

/// Of which a process gets its share.
const PERIOD: Duration = Duration::from_millis(100);

/// Processes that each get a share of one processor, until this is dropped.
pub struct Starved {
    how: How,
}

enum How {
    Groups(Vec<PathBuf>),
    Signals {
        processes: Vec<Process>,
        is_over: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Starved {
    /// Gives each of `processes`, and what it starts from now on, `percent` of a processor.
    pub fn limit(processes: Vec<Process>, percent: u32) -> Self {
        match groups(&processes, percent) {
            Ok(groups) => Self {
                how: How::Groups(groups),
            },
            Err(error) => {
                eprintln!("no control groups ({error}): processes are starved by signals");
                Self::by_signals(processes, percent)
            }
        }
    }

    /// In words, how they are limited.
    pub fn how(&self) -> &'static str {
        match &self.how {
            How::Groups(_) => "by control groups",
            How::Signals { .. } => "by signals",
        }
    }

    fn by_signals(processes: Vec<Process>, percent: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, all) = (Arc::clone(&is_over), processes.clone());
        let run = PERIOD * percent / 100;
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                all.iter().for_each(|process| process.signal(Signal::STOP));
                hold(PERIOD.saturating_sub(run));
                all.iter().for_each(|process| process.signal(Signal::CONT));
                hold(run);
            }
        });
        Self {
            how: How::Signals {
                processes,
                is_over,
                thread: Some(thread),
            },
        }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        match &mut self.how {
            How::Groups(groups) => groups.iter().for_each(|group| remove(group)),
            How::Signals {
                processes,
                is_over,
                thread,
            } => {
                is_over.store(true, Ordering::Relaxed);
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
                processes
                    .iter()
                    .for_each(|process| process.signal(Signal::CONT));
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the phases of a duty cycle, not a wait for something"
)]
fn hold(time: Duration) {
    std::thread::sleep(time);
}

/// One group for each process.
fn groups(processes: &[Process], percent: u32) -> io::Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for process in processes {
        let name = format!("{}-{}-{}", scratch::PREFIX, std::process::id(), process.pid);
        match group(&name, process, percent) {
            Ok(group) => made.push(group),
            Err(error) => {
                made.iter().for_each(|group| remove(group));
                return Err(error);
            }
        }
    }
    Ok(made)
}

fn group(name: &str, process: &Process, percent: u32) -> io::Result<PathBuf> {
    let period = PERIOD.as_micros();
    let quota = period * u128::from(percent) / 100;
    let unified = Path::new("/sys/fs/cgroup").join(name);
    let older = Path::new("/sys/fs/cgroup/cpu").join(name);
    let (group, settings) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let limit = vec![("cpu.max", format!("{quota} {period}"))];
        (unified, limit)
    } else {
        let limit = vec![
            ("cpu.cfs_period_us", period.to_string()),
            ("cpu.cfs_quota_us", quota.to_string()),
        ];
        (older, limit)
    };
    fs::create_dir(&group)?;
    let fill = || {
        for (file, value) in &settings {
            fs::write(group.join(file), value)?;
        }
        fs::write(group.join("cgroup.procs"), process.pid.to_string())
    };
    fill().inspect_err(|_| remove(&group))?;
    Ok(group)
}

/// Moves what is in `group` to the one above, and removes it.
fn remove(group: &Path) {
    let parent = group.parent().unwrap_or(group);
    let empty = || {
        let all = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in all.lines() {
            // A process that has just ended cannot be moved, and need not be.
            let _ = fs::write(parent.join("cgroup.procs"), pid);
        }
        fs::remove_dir(group).is_ok() || !group.exists()
    };
    wait_until("a control group is empty", Duration::from_secs(10), empty);
}

/// Programs that keep processors busy, until this is dropped.
pub struct Busy {
    programs: Vec<Child>,
    /// When they began.
    pub since: Instant,
}

impl Busy {
    /// One for each processor.
    pub fn all_processors() -> Self {
        let count = std::thread::available_parallelism().map_or(2, usize::from);
        let spin = || {
            Command::new("/bin/sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .expect("a shell")
        };
        Self {
            programs: (0..count).map(|_| spin()).collect(),
            since: Instant::now(),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // It runs until it is killed.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}
