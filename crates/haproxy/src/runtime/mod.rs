//! The Runtime API of a running HAProxy: commands over its socket, and what it answers.
//!
//! A command and its reply take one connection, so that a reply can never be taken for another's. The reply's end is the
//! connection's end; one that was cut short is an error and never a short answer. (Management Guide, section 9.3,
//! "Unix Socket commands".)

mod certificate;
mod command;
mod info;
mod maps;
mod servers;
mod session;
mod stat;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hafleet_model::secrets::Confidential;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

pub use command::{Command, CommandError};
pub use info::Info;
pub use maps::{LoadedMap, MapEntry};
pub use servers::{AdminState, ServerState, ServersState};
pub use session::Session;
pub use stat::{FrontendState, Stat, StatKind, Stats};

/// Why a command has no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody listens on the socket, or it is not there. Transient: so it is while HAProxy is down.
    #[error("the runtime socket {} cannot be reached", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer did not end in time. Transient.
    #[error("the runtime socket {} did not answer {command:?} within {} ms", socket.display(), deadline.as_millis())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The command.
        command: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The connection broke. Transient.
    #[error("the runtime socket {} broke off {command:?}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended without the empty line that ends each reply. Transient.
    #[error("the runtime socket {} closed before the answer to {command:?} was complete", socket.display())]
    ClosedEarly {
        /// The socket.
        socket: PathBuf,
        /// The command.
        command: String,
    },
    /// The answer is longer than any that is expected.
    #[error("the answer to {command:?} is longer than {limit} bytes")]
    TooLong {
        /// The command.
        command: String,
        /// The most bytes that are read.
        limit: usize,
    },
    /// HAProxy refused the command. Permanent for this process.
    #[error("HAProxy refused {command:?}: {words}")]
    Refused {
        /// The command.
        command: String,
        /// Its words.
        words: String,
    },
    /// The answer is not what the manual says of it.
    #[error("the answer to {command:?} was not understood: {what}")]
    Garbled {
        /// The command.
        command: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A client of one runtime socket. Cheap to clone; each command opens a connection of its own.
#[derive(Debug, Clone)]
pub struct RuntimeSocket {
    path: PathBuf,
    deadline: Duration,
    max_reply: usize,
}

impl RuntimeSocket {
    /// The most bytes of a reply that are read: `show stat` has about 500 bytes a server, so this is for 100,000.
    pub const MAX_REPLY: usize = 64 * 1024 * 1024;

    /// The client of the socket at `path`, with 5 s for each command.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            deadline: Duration::from_secs(5),
            max_reply: Self::MAX_REPLY,
        }
    }

    /// The same with another deadline for each command.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The same with another limit to replies, in bytes.
    #[must_use]
    pub fn with_max_reply(self, max_reply: usize) -> Self {
        Self { max_reply, ..self }
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `command` and returns HAProxy's reply without the empty lines at its end. Cancel-safe as far as this side
    /// goes; HAProxy may have carried it out.
    ///
    /// # Errors
    /// When there is no complete answer, or the answer says that the command is unknown or not permitted.
    pub async fn ask(&self, command: &Command) -> Result<String, RuntimeError> {
        self.answered(command, None).await
    }

    /// [`Self::ask`] with a payload, which must have no empty line (Management Guide, section 9.3, `<<`).
    async fn answered(
        &self,
        command: &Command,
        payload: Option<&Confidential>,
    ) -> Result<String, RuntimeError> {
        let reply = tokio::time::timeout(self.deadline, self.exchange(command, payload))
            .await
            .map_err(|_| RuntimeError::TimedOut {
                socket: self.path.clone(),
                command: command.to_string(),
                deadline: self.deadline,
            })??;
        if let Some(words) = refusal(&reply) {
            return Err(RuntimeError::Refused {
                command: command.to_string(),
                words,
            });
        }
        Ok(reply.trim_end_matches('\n').to_owned())
    }

    /// Runs a command that changes something. HAProxy answers those with nothing, or with words that begin in a known
    /// way; any other words are a refusal.
    ///
    /// # Errors
    /// As [`Self::ask`], and when HAProxy refused in words of the command's own.
    pub async fn tell(&self, command: &Command) -> Result<(), RuntimeError> {
        let reply = self.ask(command).await?;
        accept(command, &reply)
    }

    /// `show info` (Management Guide, section 9.3).
    ///
    /// # Errors
    /// When there is no answer, or it lacks the fields that all versions have.
    pub async fn info(&self) -> Result<Info, RuntimeError> {
        let command = Command::fixed("show info");
        let reply = self.ask(&command).await?;
        Info::parse(&reply).map_err(garbled(&command))
    }

    /// `show servers state`.
    ///
    /// # Errors
    /// When there is no answer, or it is not in a known version of the format.
    pub async fn servers_state(&self) -> Result<ServersState, RuntimeError> {
        let command = Command::fixed("show servers state");
        let reply = self.ask(&command).await?;
        ServersState::parse(&reply).map_err(garbled(&command))
    }

    /// `show servers state` as HAProxy gives it, and reads it at its start.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn servers_state_file(&self) -> Result<String, RuntimeError> {
        self.ask(&Command::fixed("show servers state")).await
    }

    /// `show stat`.
    ///
    /// # Errors
    /// When there is no answer, or it is not the table that the manual describes (section 9.1).
    pub async fn stat(&self) -> Result<Stats, RuntimeError> {
        let command = Command::fixed("show stat");
        let reply = self.ask(&command).await?;
        Stats::parse(&reply).map_err(garbled(&command))
    }

    /// `show stat` of frontends alone, which is short however many servers there are.
    ///
    /// # Errors
    /// As [`Self::stat`].
    pub async fn frontends(&self) -> Result<Stats, RuntimeError> {
        let command = Command::fixed("show stat -1 1 -1");
        let reply = self.ask(&command).await?;
        Stats::parse(&reply).map_err(garbled(&command))
    }

    /// `show stat` of servers alone.
    ///
    /// # Errors
    /// As [`Self::stat`].
    pub async fn servers_stat(&self) -> Result<Stats, RuntimeError> {
        let command = Command::fixed("show stat -1 4 -1");
        let reply = self.ask(&command).await?;
        Stats::parse(&reply).map_err(garbled(&command))
    }

    /// `show stat` of the kinds of rows in `mask`, as HAProxy writes it.
    pub(crate) async fn rows(&self, mask: u8) -> Result<String, RuntimeError> {
        self.ask(&Command::masked("show stat -1", mask)).await
    }

    async fn connect(&self) -> Result<UnixStream, RuntimeError> {
        UnixStream::connect(&self.path)
            .await
            .map_err(|source| RuntimeError::Unreachable {
                socket: self.path.clone(),
                source,
            })
    }

    async fn exchange(
        &self,
        command: &Command,
        payload: Option<&Confidential>,
    ) -> Result<String, RuntimeError> {
        let mut stream = self.connect().await?;
        let broken = |source| RuntimeError::Broken {
            socket: self.path.clone(),
            command: command.to_string(),
            source,
        };
        let line = match payload {
            Some(payload) => format!("{command} <<\n{}\n\n", payload.expose().trim_end()),
            None => format!("{command}\n"),
        };
        stream.write_all(line.as_bytes()).await.map_err(broken)?;
        let mut reply = Vec::new();
        let limit = u64::try_from(self.max_reply).unwrap_or(u64::MAX);
        let mut bounded = stream.take(limit.saturating_add(1));
        bounded.read_to_end(&mut reply).await.map_err(broken)?;
        if reply.len() > self.max_reply {
            return Err(RuntimeError::TooLong {
                command: command.to_string(),
                limit: self.max_reply,
            });
        }
        let is_complete = reply == b"\n" || reply.ends_with(b"\n\n");
        if !is_complete {
            return Err(RuntimeError::ClosedEarly {
                socket: self.path.clone(),
                command: command.to_string(),
            });
        }
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }
}

/// Takes HAProxy's words after a command that changes something for consent or for a refusal.
fn accept(command: &Command, reply: &str) -> Result<(), RuntimeError> {
    let words = reply.trim();
    let is_done = words.is_empty()
        || [
            "IP changed from",
            "port changed from",
            "no need to change",
            "fqdn changed from",
            "New server registered",
            "Server deleted",
            "New version created",
        ]
        .iter()
        .any(|known| words.starts_with(known));
    if is_done {
        return Ok(());
    }
    Err(RuntimeError::Refused {
        command: command.to_string(),
        words: one_line(words),
    })
}

fn garbled(command: &Command) -> impl Fn(String) -> RuntimeError {
    let command = command.to_string();
    move |what| RuntimeError::Garbled {
        command: command.clone(),
        what,
    }
}

/// What HAProxy says when it knows no such command, or does not permit it.
fn refusal(reply: &str) -> Option<String> {
    let words = reply.trim_start();
    let is_refused = ["Unknown command", "Permission denied"]
        .iter()
        .any(|beginning| words.starts_with(beginning));
    is_refused.then(|| words.lines().next().unwrap_or_default().to_owned())
}

fn one_line(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(500).collect()
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
