//! One agent's process: its file, its start, and what can befall it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::deadline::{wait_for, wait_until};
use crate::namespace::Namespace;
use crate::process::Process;

/// The agents' gRPC port.
pub const PORT: u16 = 7440;

/// What an agent is told in its file and its environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its program.
    pub program: PathBuf,
    /// Its node id.
    pub id: String,
    /// Its fleet.
    pub fleet: String,
    /// Where it listens and is reached.
    pub address: Ipv4Addr,
    /// Where it looks for others.
    pub seeds: Vec<String>,
    /// The directory of its certificate.
    pub identity: PathBuf,
    /// The directory for all its files.
    pub home: PathBuf,
    /// Further lines of its file's `[haproxy]` part.
    pub haproxy: Vec<String>,
    /// Further parts of its file, each with its head.
    pub parts: Vec<String>,
    /// What starts the program, with its arguments, where it is not started as it is.
    pub launcher: Vec<String>,
    /// Its environment, beside what every agent has.
    pub environment: BTreeMap<String, String>,
}

impl Settings {
    /// Its file.
    pub fn file(&self) -> PathBuf {
        self.home.join("agent.toml")
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.home.join("agent.log")
    }

    /// Writes its file.
    pub fn write(&self) {
        let quoted: Vec<_> = self.seeds.iter().map(|seed| format!("{seed:?}")).collect();
        let Self {
            id,
            fleet,
            address,
            home,
            identity,
            ..
        } = self;
        let text = format!(
            "node_id = \"{id}\"\nfleet = \"{fleet}\"\naddress = \"{address}\"\nport = {PORT}\nseeds = [{}]\n\
             data_dir = {:?}\n\n[tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\n\
             [haproxy]\ncertificate_dir = {:?}\nruntime_dir = {:?}\n{}\n\n\
             [log]\nformat = \"text\"\nfilter = \"info\"\n\n{}\n",
            quoted.join(", "),
            self.data(),
            identity.join("ca.pem"),
            identity.join("cert.pem"),
            identity.join("key.pem"),
            home.join("certificates"),
            home.join("run"),
            self.haproxy.join("\n"),
            self.parts.join("\n"),
        );
        fs::create_dir_all(home.join("certificates")).expect("a directory for certificates");
        fs::write(self.file(), text).expect("the agent's file");
    }

    /// Where its store is, and all else that it must not forget.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = match self.launcher.split_first() {
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command
            .arg("agent")
            .arg("--config")
            .arg(self.file())
            .envs(&self.environment)
            .env("NO_COLOR", "1");
        command
    }
}

/// A running agent. It is killed when it is dropped; its HAProxy is not.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts it in `namespace`.
    pub fn start(namespace: &Namespace, settings: &Settings) -> Self {
        settings.write();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(settings.log())
            .expect("the agent's log");
        let mut command = settings.command();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log);
        Self {
            child: namespace.spawn(&mut command),
            log: settings.log(),
        }
    }

    /// Its process.
    pub fn process(&self) -> Process {
        let pid = self.child.id();
        Process::find(pid).unwrap_or(Process {
            pid,
            program: "hafleet".into(),
        })
    }

    /// Whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to leave and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process().signal(Signal::TERM);
        wait_for(
            "an agent leaves when it is asked",
            Duration::from_secs(20),
            || self.ended().ok_or("it runs on"),
        )
    }

    /// Stops it where it is.
    pub fn stop(&self) {
        self.process().signal(Signal::STOP);
        wait_until("a process stops", Duration::from_secs(5), || {
            is_stopped(self.child.id())
        });
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Its log's last lines.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log, lines)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `lines` of the file `log`.
pub fn log_tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('T'))
}
