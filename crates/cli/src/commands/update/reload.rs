//! The process: started if there is none, and else started anew with `-sf`, so that the one before ends when its
//! connections have.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hafleet_haproxy::ProcessId;
use serde::Serialize;
use tokio::process::Command;

use crate::failure::{Exit, Failure};

/// How long HAProxy may take until it listens.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The longest name of a program in `/proc/PID/comm` (proc(5)).
const MAX_COMM: usize = 15;

/// What became of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "process", rename_all = "lowercase")]
pub(super) enum Process {
    /// It was left alone.
    Kept,
    /// There was none, and now there is.
    Started {
        /// Its id.
        pid: u32,
    },
    /// A new one serves, and was told to end the one before.
    Reloaded {
        /// The new one's id.
        pid: u32,
    },
}

/// Has HAProxy load `config`.
pub(super) async fn reload(
    binary: &Path,
    config: &Path,
    pid_file: &Path,
) -> Result<Process, Failure> {
    let before = running(pid_file, binary)?;
    let mut command = Command::new(binary);
    command
        .arg("-D")
        .arg("-f")
        .arg(config)
        .arg("-p")
        .arg(pid_file);
    if !before.is_empty() {
        command.arg("-sf");
        command.args(before.iter().map(ToString::to_string));
    }
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let failed = |why: &dyn std::fmt::Display| {
        let words = format!(
            "{} is written, and HAProxy did not load it; the next update tries again: {why}",
            config.display()
        );
        Failure::new(Exit::Failed, words)
    };
    let output = tokio::time::timeout(START_DEADLINE, output)
        .await
        .map_err(|_| failed(&format_args!("it did not start within {START_DEADLINE:?}")))?
        .map_err(|error| failed(&format_args!("{}: {error}", binary.display())))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&words.trim()));
    }
    let after = running(pid_file, binary)?;
    let new = after.iter().find(|pid| !before.contains(pid));
    match new {
        Some(&pid) if before.is_empty() => Ok(Process::Started { pid }),
        Some(&pid) => Ok(Process::Reloaded { pid }),
        None => Err(failed(&format_args!(
            "{} names no new process",
            pid_file.display()
        ))),
    }
}

/// The processes in the pid file that are HAProxy. An id of a process that ended may be another program's by now, and that
/// must not get HAProxy's signals.
fn running(pid_file: &Path, binary: &Path) -> Result<Vec<u32>, Failure> {
    let text = match fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let words = format!("{}: {error}", pid_file.display());
            return Err(Failure::new(Exit::Failed, words));
        }
    };
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    Ok(pids.filter(|pid| is_haproxy(*pid, binary)).collect())
}

fn is_haproxy(pid: u32, binary: &Path) -> bool {
    if ProcessId::of(pid).is_none() {
        return false;
    }
    let Ok(comm) = fs::read_to_string(format!("/proc/{pid}/comm")) else {
        return false;
    };
    // A wrapper has one name and starts a program of another.
    let real = fs::canonicalize(binary).unwrap_or_default();
    let names = [
        binary.file_name(),
        real.file_name(),
        Some("haproxy".as_ref()),
    ];
    names.into_iter().flatten().any(|name| {
        let name = name.to_string_lossy();
        let end = name.floor_char_boundary(MAX_COMM);
        name[..end] == *comm.trim_end()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_haproxy_is_told_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("haproxy.pid");
        let binary = Path::new("/usr/sbin/haproxy");
        assert!(running(&pid_file, binary).unwrap().is_empty());
        let own = std::process::id();
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        fs::write(&pid_file, format!("{own}\n{}\nnone\n", u32::MAX)).unwrap();
        assert!(
            running(&pid_file, binary).unwrap().is_empty(),
            "others' ids"
        );
        let named_as_we_are = dir.path().join(comm.trim_end());
        assert_eq!(running(&pid_file, &named_as_we_are).unwrap(), [own]);
    }
}
