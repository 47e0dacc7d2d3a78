//! The `hafleet` command as a person runs it, in any namespace and with any identity.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hafleet_api::v1;
use serde::de::DeserializeOwned;

use crate::deadline::pause;
use crate::machine::hafleet;
use crate::namespace::Namespace;
use crate::scratch::Scratch;

/// How long one command may run.
const LIMIT: Duration = Duration::from_secs(90);

/// Where and as whom commands are run.
#[derive(Debug, Clone)]
pub struct Client<'a> {
    /// Where; outside of any namespace when there is none.
    pub namespace: Option<&'a Namespace>,
    /// Agents to ask, in turn.
    pub endpoints: Vec<String>,
    /// The directory of the caller's certificate.
    pub identity: Option<PathBuf>,
    /// Where files of commands go.
    pub scratch: &'a Scratch,
}

impl Client<'_> {
    /// Runs `hafleet` with `arguments`, the endpoints and the identity, to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, |_| {})
    }

    /// [`Client::run`] of a command that `adjust` has changed.
    pub fn run_with(&self, arguments: &[&str], adjust: impl FnOnce(&mut Command)) -> Finished {
        let mut command = Command::new(hafleet());
        command
            .args(arguments)
            .env_remove("HAFLEET_ENDPOINT")
            .env_remove("HAFLEET_IDENTITY");
        for endpoint in &self.endpoints {
            command.args(["--endpoint", endpoint]);
        }
        if let Some(identity) = &self.identity {
            command.arg("--identity").arg(identity);
        }
        adjust(&mut command);
        self.finish(command)
    }

    /// Runs any program where the commands run.
    pub fn finish(&self, mut command: Command) -> Finished {
        let (out, err) = (
            self.scratch.new_path("stdout"),
            self.scratch.new_path("stderr"),
        );
        command.stdin(Stdio::null());
        command
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"));
        let begun = Instant::now();
        let mut child = match self.namespace {
            Some(namespace) => namespace.spawn(&mut command),
            None => command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}")),
        };
        let status = loop {
            match child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if begun.elapsed() > LIMIT => {
                    let _ = child.kill();
                    break child.wait().expect("a killed child can be waited for");
                }
                None => pause(),
            }
        };
        let read =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let finished = Finished {
            command: format!("{command:?}"),
            code: status.code(),
            stdout: read(&out),
            stderr: read(&err),
            took: begun.elapsed(),
        };
        let _ = (fs::remove_file(out), fs::remove_file(err));
        finished
    }

    /// The fleet as the first agent that answers sees it.
    ///
    /// # Errors
    /// The command, when it did not succeed.
    pub fn status(&self) -> Result<v1::FleetStatus, Finished> {
        let finished = self.run(&["status", "--output", "json"]);
        if finished.code == Some(0) {
            Ok(finished.json())
        } else {
            Err(finished)
        }
    }

    /// `apply` of the text `spec` with further `arguments`, with JSON as output.
    pub fn apply(&self, spec: &str, arguments: &[&str]) -> Finished {
        let file = self.scratch.file("spec.yaml", spec);
        let path = file.to_str().expect("a path of plain characters");
        self.run(&[&["apply", path, "--output", "json"][..], arguments].concat())
    }
}

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What was run.
    pub command: String,
    /// Its exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Itself, when it ended with `code`.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Itself, when all of `words` are in what it complained of.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn expect_complaint(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not among the complaints of {self}"
            );
        }
        self
    }

    /// What it printed, as JSON.
    ///
    /// # Panics
    /// When it is not JSON of that form.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
            took,
        } = self;
        write!(
            f,
            "{command}\nended with {code:?} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}
