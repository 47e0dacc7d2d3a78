//! What a measurement asks of the helper that drives HAProxy, and the connection to it.
//!
//! One question and one answer a line, in JSON, over the helper's input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use hafleet_model::report::Change;
use hafleet_tests::Namespace;
use serde::{Deserialize, Serialize};

use super::HELPER;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Take hold of the directory and hand over as the settings' word says.
    Open { home: PathBuf, handover: String },
    /// Bring HAProxy to a spec.
    Apply { spec: String },
    /// The same, until a request to `address` is answered with a body of `body`.
    Served {
        spec: String,
        address: SocketAddr,
        body: String,
    },
    /// Bring HAProxy to a spec with one server in drain.
    Drain {
        spec: String,
        backend: String,
        server: String,
    },
    /// Render and plan a spec again and again.
    Plan { spec: String, rounds: u32 },
    /// End HAProxy.
    Stop,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The settings that were used.
    Opened { settle: Duration },
    /// What an apply did, and how long it took; up to the first answer, if one was waited for.
    Done {
        change: Change,
        reason: String,
        handover: Option<String>,
        pid: u32,
        took: Duration,
        served: Option<Duration>,
    },
    /// How long it took to render and to plan, each round.
    Planned {
        change: Change,
        times: Vec<(Duration, Duration)>,
    },
    /// HAProxy was ended.
    Stopped,
    /// It could not be done.
    Refused { words: String },
}

/// An apply that was done.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) change: Change,
    pub(crate) reason: String,
    pub(crate) handover: String,
    pub(crate) pid: u32,
    pub(crate) took: Duration,
    pub(crate) served: Duration,
}

/// A helper at work in a namespace. It ends when it is dropped; its HAProxy ends with the namespace.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts one.
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let own = std::env::current_exe().expect("a process knows its own program");
        let mut command = Command::new(own);
        command
            .arg(HELPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = namespace.spawn(&mut command);
        let input = child.stdin.take().expect("its input is a pipe");
        let output = child.stdout.take().expect("its output is a pipe");
        Self {
            child,
            input,
            output: BufReader::new(output),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        let mut line = serde_json::to_string(ask).expect("a question is plain values");
        line.push('\n');
        self.input
            .write_all(line.as_bytes())
            .expect("the helper listens");
        line.clear();
        self.output
            .read_line(&mut line)
            .expect("the helper answers");
        serde_json::from_str(&line).expect("the helper answers in the words of this program")
    }

    /// Asks for an apply, which can be refused.
    pub(crate) fn apply(&mut self, ask: &Ask) -> Result<Applied, String> {
        match self.ask(ask) {
            Answer::Done {
                change,
                reason,
                handover,
                pid,
                took,
                served,
            } => Ok(Applied {
                change,
                reason,
                handover: handover.unwrap_or_default(),
                pid,
                took,
                served: served.unwrap_or_default(),
            }),
            Answer::Refused { words } => Err(words),
            other => Err(format!("{other:?} is no answer to an apply")),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
