//! What a roll tells while it goes on: lines for people, one JSON object a line or one YAML document each for programs.

use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;
use crate::print::{self, Printer};
use crate::progress::Progress;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// It begins, or goes on.
    Begun {
        backend: &'a str,
        todo: &'a [String],
        done: &'a [String],
    },
    /// Somebody else has taken it out of service, so it is not touched.
    LeftAlone { server: &'a str, reason: &'a str },
    /// These may be taken out of service now.
    Safe {
        servers: &'a [String],
        summary: &'a str,
    },
    /// It gets no new sessions.
    Draining { server: &'a str },
    /// It is out of service on all load balancers.
    Drained { server: &'a str, sessions: u64 },
    /// Its command runs.
    Running {
        server: &'a str,
        command: &'a [String],
    },
    /// A line of its command.
    Output {
        server: &'a str,
        stream: &'static str,
        line: &'a str,
    },
    /// Its command has ended well.
    Ran { server: &'a str, seconds: f64 },
    /// It is back in service, and every load balancer sees it up.
    Up { server: &'a str },
    /// It failed, and stays in drain.
    Failed { server: &'a str, reason: &'a str },
    /// It is back in service without its command.
    PutBack { server: &'a str },
    /// All is done.
    Done {
        backend: &'a str,
        done: &'a [String],
        left_alone: &'a [String],
    },
}

impl Event<'_> {
    fn words(&self) -> String {
        match self {
            Self::Begun {
                backend,
                todo,
                done,
            } => match done.len() {
                0 => format!("{backend}: {}", todo.join(", ")),
                done => format!("{backend}: {done} done before; {}", todo.join(", ")),
            },
            Self::LeftAlone { server, reason } => format!("{server}: left alone: {reason}"),
            Self::Safe { servers, summary } => format!("{}: {summary}", servers.join(", ")),
            Self::Draining { server } => format!("{server}: drains"),
            Self::Drained {
                server,
                sessions: 0,
            } => format!("{server}: out of service, no session left"),
            Self::Drained { server, sessions } => {
                format!(
                    "{server}: out of service, {sessions} sessions left when their time was over"
                )
            }
            Self::Running { server, command } => format!("{server}: runs {}", command.join(" ")),
            Self::Output { server, line, .. } => format!("{server}| {line}"),
            Self::Ran { server, seconds } => format!("{server}: done after {seconds:.1} s"),
            Self::Up { server } => format!("{server}: up on all load balancers"),
            Self::Failed { server, reason } => format!("{server}: failed: {reason}"),
            Self::PutBack { server } => format!("{server}: back in service, nothing was run"),
            Self::Done {
                backend,
                done,
                left_alone,
            } => {
                let left = match left_alone.len() {
                    0 => String::new(),
                    _ => format!("; left alone: {}", left_alone.join(", ")),
                };
                format!("{backend}: {} servers done{left}", done.len())
            }
        }
    }
}

/// Where events go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events {
    printer: Printer,
}

impl Events {
    pub(super) fn new(printer: Printer) -> Self {
        Self { printer }
    }

    /// Tells of an event. A reader that has gone ends nothing: servers are out of service.
    pub(super) fn tell(self, event: &Event<'_>) -> Result<(), Failure> {
        let text = match self.printer.format() {
            Format::Table => event.words(),
            Format::Json => serde_json::to_string(event).map_err(anyhow::Error::from)?,
            Format::Yaml => {
                let value = serde_json::to_value(event).map_err(anyhow::Error::from)?;
                let text = serde_saphyr::to_string(&value).map_err(anyhow::Error::from)?;
                format!("---\n{text}")
            }
        };
        print::line(&text)
    }

    /// What people see while they wait.
    pub(super) fn wait(self, words: String) -> Progress {
        Progress::begin(words)
    }
}
