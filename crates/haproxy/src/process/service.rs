//! HAProxy as a service that others start: systemd, an init script, or commands of one's own. We ask them to reload it and
//! to start it, and find its processes by the configuration that they were started with.

use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::ProcessId;
use super::applied::is_in_our_namespace;

/// Who starts HAProxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProcessMode {
    /// The agent, which finds it again after its own restart. HAProxy never ends because an agent does.
    #[default]
    Own,
    /// systemd: `systemctl reload UNIT` and `systemctl start UNIT`.
    Systemd {
        /// The unit, such as `haproxy.service`.
        unit: String,
    },
    /// An init script: `SCRIPT reload` and `SCRIPT start`.
    Sysvinit {
        /// The script, such as `/etc/init.d/haproxy`.
        script: PathBuf,
    },
    /// Commands: a program and its arguments, which no shell sees.
    Command {
        /// Makes a running HAProxy take its configuration anew.
        reload: Vec<String>,
        /// Starts HAProxy; as `reload` if absent.
        start: Option<Vec<String>>,
    },
}

impl ProcessMode {
    /// Whether the agent leaves starting to a service.
    pub fn is_service(&self) -> bool {
        *self != Self::Own
    }

    /// Its name in settings.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Systemd { .. } => "systemd",
            Self::Sysvinit { .. } => "sysvinit",
            Self::Command { .. } => "command",
        }
    }

    /// What is wrong with its values, if anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        let is_program = |words: &[String]| words.first().is_some_and(|word| !word.is_empty());
        match self {
            Self::Own => None,
            Self::Systemd { unit } if unit.is_empty() || unit.starts_with('-') => {
                Some(format!("unit is {unit:?}, which names no unit"))
            }
            Self::Sysvinit { script } if !script.is_absolute() => Some(format!(
                "script is {}: give its whole path",
                script.display()
            )),
            Self::Command { reload, .. } if !is_program(reload) => {
                Some("reload_command names no program".to_owned())
            }
            Self::Command { start, .. } if start.as_deref().is_some_and(|it| !is_program(it)) => {
                Some("start_command names no program".to_owned())
            }
            _ => None,
        }
    }

    /// The words of the command that reloads; none in [`Self::Own`].
    pub(crate) fn reload(&self) -> Vec<String> {
        self.words("reload")
    }

    /// The words of the command that starts; none in [`Self::Own`].
    pub(crate) fn start(&self) -> Vec<String> {
        match self {
            Self::Command {
                start: Some(words), ..
            } => words.clone(),
            other => other.words("start"),
        }
    }

    fn words(&self, verb: &str) -> Vec<String> {
        match self {
            Self::Own => Vec::new(),
            Self::Systemd { unit } => vec!["systemctl".into(), verb.into(), unit.clone()],
            Self::Sysvinit { script } => vec![script.display().to_string(), verb.into()],
            Self::Command { reload, .. } => reload.clone(),
        }
    }
}

/// Why a service did not do what it was asked. Whatever served before goes on, as far as the service keeps it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The command could not be run.
    #[error("{command} could not be run")]
    Run {
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command did not end in time. Transient.
    #[error("{command} did not end within {} s", deadline.as_secs())]
    TimedOut {
        /// The command.
        command: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The command failed.
    #[error("{command} failed ({status}): {words}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote, shortened.
        words: String,
    },
    /// The command succeeded, and yet no process took the new configuration.
    #[error("{command} succeeded, but no process with the new configuration answered within {} s{master}", waited.as_secs())]
    NotTaken {
        /// The command.
        command: String,
        /// How long was waited.
        waited: Duration,
        /// What HAProxy's master says of it, as far as it was asked.
        master: String,
    },
}

/// Runs a command of the service's.
pub(crate) async fn call(words: &[String], deadline: Duration) -> Result<(), ServiceError> {
    let command = words.join(" ");
    let run = |source| ServiceError::Run {
        command: command.clone(),
        source,
    };
    // A file and not a pipe: a daemon that keeps it open would keep us waiting.
    let mut written = tempfile::tempfile().map_err(run)?;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| run(io::ErrorKind::NotFound.into()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(written.try_clone().map_err(run)?))
        .process_group(0)
        .spawn()
        .map_err(run)?;
    let Ok(status) = tokio::time::timeout(deadline, child.wait()).await else {
        let _ = child.start_kill();
        return Err(ServiceError::TimedOut { command, deadline });
    };
    let status = status.map_err(run)?;
    if status.success() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let _ = written.rewind();
    let _ = written.take(4096).read_to_end(&mut bytes);
    let words = String::from_utf8_lossy(&bytes);
    Err(ServiceError::Failed {
        command,
        status,
        words: words.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

/// All HAProxy processes among those that we see as our own that were started with `config`: master, workers, and old
/// ones. `binary` is HAProxy's program, by whose name they are known.
pub(crate) fn find_by_config(binary: &Path, config: &Path) -> Vec<ProcessId> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let is_one = |process: &ProcessId| {
        let words = process.command_line();
        let is_haproxy = words
            .first()
            .is_some_and(|word| Path::new(word).file_name() == binary.file_name());
        let is_named = words
            .windows(2)
            .any(|pair| pair[0] == "-f" && Path::new(&pair[1]) == config);
        let only_checks = words.iter().any(|word| word == "-c");
        is_haproxy && is_named && !only_checks && is_in_our_namespace(*process)
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(ProcessId::of)
        .filter(is_one)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_and_never_a_line() {
        let systemd = ProcessMode::Systemd {
            unit: "haproxy.service".into(),
        };
        assert_eq!(systemd.reload(), ["systemctl", "reload", "haproxy.service"]);
        assert_eq!(systemd.start(), ["systemctl", "start", "haproxy.service"]);
        let command = ProcessMode::Command {
            reload: vec!["a b".into(), "$(c)".into()],
            start: None,
        };
        assert_eq!(command.start(), ["a b", "$(c)"]);
        assert_eq!(command.fault(), None);
        let bad = ProcessMode::Systemd {
            unit: "--force".into(),
        };
        assert!(bad.fault().is_some());
    }

    #[tokio::test]
    async fn a_failure_has_the_commands_words() {
        let words = ["sh", "-c", "echo no such unit >&2; exit 5"].map(str::to_owned);
        let error = call(&words, Duration::from_secs(10)).await.unwrap_err();
        assert!(error.to_string().contains("no such unit"), "{error}");
        let missing = call(&["/nowhere/x".to_owned()], Duration::from_secs(1)).await;
        assert!(matches!(missing, Err(ServiceError::Run { .. })));
        let words = ["sleep", "60"].map(str::to_owned);
        let slow = call(&words, Duration::from_millis(20)).await;
        assert!(matches!(slow, Err(ServiceError::TimedOut { .. })));
    }
}
