//! A real Docker engine in a namespace, with an image that holds one small server.
//!
//! The engine shares the network of its namespace, and has processes and mounts of its own: what it leaves goes with them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::deadline::wait_for;
use crate::namespace::Namespace;
use crate::scratch::Scratch;

/// The network of its containers, which nobody but their host is in.
pub const CONTAINERS: &str = "172.31.251.0/24";
/// The engine's own address in it.
const BRIDGE: &str = "172.31.251.1/24";

/// Answers every request on port 80 with its first argument.
const SERVER: &str = r#"
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **words) {
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(80)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (count < 2 || bind(listener, (struct sockaddr *)&place, sizeof place) || listen(listener, 64)) return 1;
    for (;;) {
        char request[8192];
        int client = accept(listener, 0, 0);
        if (client < 0) continue;
        if (read(client, request, sizeof request) > 0)
            dprintf(client, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(words[1]), words[1]);
        close(client);
    }
}
"#;

/// A running engine. It goes when it is dropped, with its containers.
pub struct Docker {
    home: Scratch,
    /// Whose first child is the first process of the engine's namespaces.
    outer: Child,
    first: u32,
    cgroup: String,
}

impl Docker {
    /// Starts one in `namespace`.
    ///
    /// # Errors
    /// Why there cannot be one on this machine.
    pub fn start(namespace: &Namespace) -> Result<Self, String> {
        let home = Scratch::new();
        let cgroup = format!("hafleet-{}", namespace.name());
        let (outer, first) = space(namespace)?;
        let docker = Self {
            home,
            outer,
            first,
            cgroup,
        };
        docker.launch(namespace)?;
        docker.import()?;
        Ok(docker)
    }

    /// What `docker.endpoint` of an agent's file should be.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// Starts a container that answers with its name, with these labels.
    ///
    /// # Panics
    /// When the engine does not.
    pub fn run(&self, name: &str, labels: &[&str]) {
        let labels = labels.iter().flat_map(|label| ["--label", label]);
        let mut words = vec!["run", "--detach", "--name", name];
        words.extend(labels);
        words.extend(["server", name]);
        self.done(&words).expect("a container starts");
    }

    /// Kills a container and removes it.
    ///
    /// # Panics
    /// When there is none.
    pub fn remove(&self, name: &str) {
        let removed = self.done(&["rm", "--force", name]);
        removed.expect("a container is removed");
    }

    /// When the container `name` was started, by the engine's own event.
    ///
    /// # Panics
    /// When it was not in the last minutes.
    pub fn started_at(&self, name: &str) -> SystemTime {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock that is after 1970").as_secs_f64();
        let (since, until) = (format!("{:.6}", now - 300.0), format!("{now:.6}"));
        let container = format!("container={name}");
        let events = self.done(&[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "event=start",
            "--filter",
            &container,
            "--format",
            "{{.TimeNano}}",
        ]);
        let events = events.expect("an engine tells its events");
        let time = events.trim().parse().expect("a container starts once");
        UNIX_EPOCH + Duration::from_nanos(time)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn launch(&self, namespace: &Namespace) -> Result<(), String> {
        let log = fs::File::create(self.path("log")).map_err(|error| error.to_string())?;
        let at = |name: &str| self.path(name).display().to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.first.to_string(), "--mount", "--pid"])
            .args(["dockerd", "--storage-driver=vfs", "--userland-proxy=false"])
            .args(["--iptables=false", "--ip6tables=false"])
            .arg(format!("--bip={BRIDGE}"))
            .arg(format!("--cgroup-parent=/{}", self.cgroup))
            .arg(format!("--data-root={}", at("data")))
            .arg(format!("--exec-root={}", at("exec")))
            .arg(format!("--pidfile={}", at("pid")))
            .arg(format!("--host={}", self.endpoint()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log);
        let mut daemon = namespace.spawn(&mut command);
        let limit = Duration::from_secs(40);
        wait_for("an engine answers, or ends", limit, || {
            if self.docker(&["version"]).status.success() {
                return Ok(Ok(()));
            }
            let ended = daemon.try_wait().map_err(|error| error.to_string())?;
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(3).collect();
            let reason = format!("dockerd does not start: {}", last.join("; "));
            match ended {
                Some(_) => Ok(Err(reason)),
                None => Err(reason),
            }
        })
        .map(|()| {
            // It ends with its namespaces at the latest.
            std::thread::spawn(move || daemon.wait());
        })
    }

    /// Gives the engine the image `server`.
    fn import(&self) -> Result<(), String> {
        let source = self.path("server.c");
        fs::write(source, SERVER).map_err(|error| error.to_string())?;
        for words in [
            &["cc", "-static", "-Os", "-s", "-o", "server", "server.c"][..],
            &["tar", "--create", "--file", "server.tar", "server"],
        ] {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).current_dir(self.home.path());
            output(&mut command)?;
        }
        let archive = self.path("server.tar").display().to_string();
        let entry = "ENTRYPOINT [\"/server\"]";
        self.done(&["import", "--change", entry, &archive, "server"])?;
        Ok(())
    }

    fn done(&self, words: &[&str]) -> Result<String, String> {
        let output = self.docker(words);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("docker {words:?}: {errors}"))
    }

    fn docker(&self, words: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.args(["--host", &self.endpoint()]).args(words);
        command
            .env_remove("DOCKER_CONTEXT")
            .output()
            .unwrap_or_else(|error| panic!("docker: {error}"))
    }
}

impl Drop for Docker {
    /// With its first process all others of a namespace are killed, and only then does its parent hear of its end.
    fn drop(&mut self) {
        let first = self.first.to_string();
        let _ = Command::new("kill").args(["-9", &first]).status();
        let _ = self.outer.wait();
        let root = Path::new("/sys/fs/cgroup");
        for controller in fs::read_dir(root).into_iter().flatten().flatten() {
            remove_group(&controller.path().join(&self.cgroup));
        }
        remove_group(&root.join(&self.cgroup));
    }
}

/// New namespaces for mounts and processes, of whose processes the first waits for those that nobody waits for.
fn space(namespace: &Namespace) -> Result<(Child, u32), String> {
    for program in ["dockerd", "docker", "nsenter", "unshare", "cc"] {
        let mut which = Command::new("which");
        output(which.arg(program)).map_err(|_| format!("there is no program {program}"))?;
    }
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--pid", "--mount-proc", "--fork"])
        .args([
            "sh",
            "-c",
            "echo ready; while :; do sleep 3600 & wait; done",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut outer = namespace.spawn(&mut unshare);
    let mut said = String::new();
    let words = outer.stdout.take().expect("its output is a pipe");
    let _ = BufReader::new(words).read_line(&mut said);
    let id = outer.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let first = children.ok().and_then(|text| text.trim().parse().ok());
    match first {
        Some(first) if said.trim() == "ready" => Ok((outer, first)),
        _ => {
            let _ = outer.kill();
            let _ = outer.wait();
            Err("this machine has no namespaces of mounts and processes".to_owned())
        }
    }
}

fn output(command: &mut Command) -> Result<Output, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {errors}")),
    }
}

/// Control groups are directories whose files go with them.
fn remove_group(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&below.path());
        }
    }
    let _ = fs::remove_dir(group);
}
