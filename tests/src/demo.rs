//! A demo under test, in a namespace of its own: its addresses are fixed, so each gets a loopback for itself.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::client::Client;
use crate::deadline::wait_for;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::request::ask_from;
use crate::scratch::Scratch;
use crate::spec::TRAFFIC_PORT;

/// How long a demo may take to be ready, or to end.
const LIMIT: Duration = Duration::from_secs(90);

/// Directories that a program might write to without being told, and the variables that name them.
const TEMPTATIONS: [(&str, &str); 3] = [
    ("HOME", "home"),
    ("TMPDIR", "tmp"),
    ("XDG_RUNTIME_DIR", "run"),
];

/// A demo under way, with directories that begin empty.
#[derive(Debug)]
pub struct Demo {
    child: Child,
    said: PathBuf,
    dir: PathBuf,
    namespace: Namespace,
    scratch: Scratch,
}

impl Demo {
    /// Runs `program demo --dir DIR` with `arguments`, as `adjust` changes the command.
    pub fn start(
        program: &Path,
        scratch: Scratch,
        arguments: &[&str],
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let namespace = Namespace::new("demo");
        let (said, dir) = (scratch.new_path("said"), scratch.directory("demo"));
        let file = fs::File::create(&said).expect("a file");
        let mut command = Command::new(program);
        command.arg("demo").arg("--dir").arg(&dir).args(arguments);
        for (name, directory) in TEMPTATIONS {
            command.env(name, scratch.directory(directory));
        }
        command
            .current_dir(scratch.directory("here"))
            .stdin(Stdio::null());
        command
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file);
        adjust(&mut command);
        let child = namespace.spawn(&mut command);
        Self {
            child,
            said,
            dir,
            namespace,
            scratch,
        }
    }

    /// The namespace that it runs in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The command line of its administrator, who knows the agent at `endpoint`.
    pub fn client(&self, endpoint: &str) -> Client<'_> {
        Client {
            namespace: Some(&self.namespace),
            endpoints: vec![endpoint.to_owned()],
            identity: Some(self.dir.join("admin")),
            scratch: &self.scratch,
        }
    }

    /// What it has printed.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Waits for the line that says so.
    pub fn wait_ready(&self) {
        wait_for("the demo is ready", LIMIT, || {
            let said = self.said();
            if said.lines().any(|line| line.trim() == "fleet ready") {
                Ok(())
            } else {
                Err(said)
            }
        });
    }

    /// Asserts that its load balancer on `127.0.0.<node>` answers.
    pub fn assert_serves(&self, node: u8) {
        let address = SocketAddr::from(([127, 0, 0, node], TRAFFIC_PORT));
        let answer = ask_from(&self.namespace, address, Duration::from_secs(5));
        assert!(
            answer.is_ok(),
            "127.0.0.{node}: {answer:?}\n{}",
            self.said()
        );
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let pid = self.child.id();
        Process::find(pid)
            .expect("the demo runs")
            .signal(Signal::INT);
    }

    /// Waits for its end, and that it was a good one.
    pub fn end(&mut self) {
        let status = wait_for("the demo ends", LIMIT, || {
            self.child
                .try_wait()
                .expect("a child can be waited for")
                .ok_or_else(|| self.said())
        });
        assert!(status.success(), "{status}: {}", self.said());
    }

    /// No process, no firewall rule, and no file outside of its directory.
    pub fn assert_left_nothing(&self) {
        assert_eq!(self.namespace.processes(), [], "{}", self.said());
        let rules = self
            .namespace
            .output(Command::new("nft").args(["list", "ruleset"]));
        assert!(
            !rules.contains("drop") && !rules.contains("queue") && !rules.contains("hafleet"),
            "{rules}"
        );
        for directory in ["home", "tmp", "run", "here"] {
            let path = self.scratch.directory(directory);
            let found: Vec<_> = fs::read_dir(path).expect("a directory").flatten().collect();
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
