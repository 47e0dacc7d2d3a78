//! A Docker engine of its own, in namespaces of its own, with an image that holds one program that does nothing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hafleet_discovery::docker::{DockerEngine, DockerSource};
use hafleet_discovery::{Source, SourceSettings};
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

use crate::world::{DEADLINE, World};

/// So many engines run at once: each is some processes, and every container some more.
static TURNS: Semaphore = Semaphore::const_new(2);

/// The archive of the image, made once: its one program waits for ever, or ends at once when it is given a file that is
/// there and `1` when it is not.
static IMAGE: OnceCell<Result<Vec<u8>, String>> = OnceCell::const_new();

static NUMBER: AtomicU32 = AtomicU32::new(0);

const PROGRAM: &str = r#"
#include <unistd.h>
int main(int count, char **words) {
    if (count > 1) return access(words[1], F_OK) == 0 ? 0 : 1;
    for (;;) pause();
}
"#;

/// The health check of the image `checked`: it is well while there is a certain file.
const CHECKED: &str =
    r#"HEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD ["/wait", "/flags/well"]"#;

/// An engine. It keeps its containers while it is down itself, unless it is told otherwise.
pub(crate) struct DockerWorld {
    home: TempDir,
    space: Space,
    keeps_containers: bool,
    cgroup: String,
    _turn: SemaphorePermit<'static>,
}

impl DockerWorld {
    /// The engine's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("docker.sock")
    }

    /// A directory of its own.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// An engine whose containers end with it.
    pub(crate) async fn that_loses_containers() -> Result<Self, String> {
        Self::start_with(false).await
    }

    async fn start_with(keeps_containers: bool) -> Result<Self, String> {
        let turn = TURNS.acquire().await.unwrap();
        let image = IMAGE.get_or_init(async || image()).await.clone()?;
        let home = TempDir::new().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("hafleet-test-{}-{number}", std::process::id());
        let mut world = Self {
            space: Space::new()?,
            home,
            keeps_containers,
            cgroup,
            _turn: turn,
        };
        world.launch();
        world.up().await?;
        world.import(&image)?;
        Ok(world)
    }

    /// Runs `docker` with these words.
    pub(crate) fn docker(&self, words: &[&str]) -> String {
        let output = self.try_docker(words);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "docker {words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_docker(&self, words: &[&str]) -> Output {
        let mut command = docker(&self.socket());
        command.args(words).output().unwrap()
    }

    /// Starts a container of an image, `test` or `checked`, with these labels and other words for `docker run`.
    pub(crate) fn run(&self, name: &str, labels: &[&str], words: &[&str], image: &str) {
        let mut all = vec!["run", "--detach", "--name", name];
        for label in labels {
            all.extend(["--label", label]);
        }
        all.extend(words);
        all.push(image);
        self.docker(&all);
    }

    fn import(&self, image: &[u8]) -> Result<(), String> {
        let path = self.home.path().join("image.tar");
        std::fs::write(&path, image).unwrap();
        let path = path.to_string_lossy().into_owned();
        for (name, change) in [("test", "LABEL checked=no"), ("checked", CHECKED)] {
            let entry = "ENTRYPOINT [\"/wait\"]";
            let words = ["import", "--change", entry, "--change", change, &path, name];
            let output = self.try_docker(&words);
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr);
                return Err(format!("docker import: {errors}"));
            }
        }
        Ok(())
    }

    /// Runs a program inside the engine's namespaces.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let space = self.space.first.to_string();
        command.args(["--target", &space, "--net", "--mount", "--pid", program]);
        command
    }

    fn launch(&mut self) {
        let home = self.home.path();
        let at = |name: &str| home.join(name).to_string_lossy().into_owned();
        let log = std::fs::File::create(home.join("log")).unwrap();
        // Through a shell that ends at once: then the engine is a child of its own space, and of nothing outside.
        let mut dockerd = self.inside("sh");
        dockerd
            .args(["-c", "\"$@\" &", "sh", "dockerd"])
            .args([
                "--storage-driver=vfs",
                "--iptables=false",
                "--ip6tables=false",
            ])
            .args(["--bip=172.31.251.1/24", "--userland-proxy=false"])
            .arg(format!("--live-restore={}", self.keeps_containers))
            .arg(format!("--cgroup-parent=/{}", self.cgroup))
            .arg(format!("--data-root={}", at("data")))
            .arg(format!("--exec-root={}", at("exec")))
            .arg(format!("--pidfile={}", at("pid")))
            .arg(format!("--host=unix://{}", at("docker.sock")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        assert!(dockerd.status().unwrap().success());
    }

    /// Waits until it can be used. An error is the last that it said.
    async fn up(&self) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if docker(&self.socket())
                .arg("version")
                .output()
                .unwrap()
                .status
                .success()
            {
                return Ok(());
            }
            let log = std::fs::read_to_string(self.home.path().join("log")).unwrap();
            if log.contains("failed to start daemon") || Instant::now() > deadline {
                let last = log.lines().rev().take(5).collect::<Vec<_>>().join("; ");
                return Err(format!("dockerd does not start: {last}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The engine stands still: it takes connections and says nothing, until it goes on (`STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.home.path().join("pid")).unwrap();
        let kill = format!("kill -{name} {}", pid.trim());
        let status = self.inside("sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
    }

    /// Kills the engine and its containerd, which would end by itself but may be found alive by the next engine.
    fn kill_engine(&self) {
        let pidfiles = ["pid", "exec/containerd/containerd.pid"];
        let pidfiles = pidfiles.map(|name| self.home.path().join(name));
        let pids = pidfiles
            .each_ref()
            .map(|file| std::fs::read_to_string(file).unwrap());
        let [engine, containerd] = pids.each_ref().map(|pid| pid.trim());
        let kill = format!(
            "kill -9 {engine} {containerd}; \
             while kill -0 {engine} || kill -0 {containerd}; do sleep 0.02; done 2>/dev/null"
        );
        let killed = self
            .inside("timeout")
            .args(["60", "sh", "-c", &kill])
            .status();
        assert!(killed.unwrap().success());
        for pidfile in pidfiles {
            std::fs::remove_file(pidfile).unwrap();
        }
    }
}

impl Drop for DockerWorld {
    fn drop(&mut self) {
        self.space.end();
        for controller in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            remove_cgroups(&controller.path().join(&self.cgroup));
        }
        remove_cgroups(&Path::new("/sys/fs/cgroup").join(&self.cgroup));
    }
}

/// Control groups are directories whose files go with them.
fn remove_cgroups(group: &Path) {
    for below in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&below.path());
        }
    }
    std::fs::remove_dir(group).unwrap_or_default();
}

fn docker(socket: &Path) -> Command {
    let mut command = Command::new("docker");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .arg("--host")
        .arg(format!("unix://{}", socket.display()));
    command.stdin(Stdio::null());
    command
}

/// New namespaces for network, mounts and processes.
struct Space {
    outer: Child,
    /// The id of the first process in them, a shell that clears up after processes that nobody waits for.
    first: u32,
}

impl Space {
    fn new() -> Result<Self, String> {
        let script = "ip link set lo up; echo ready; while :; do sleep 3600 & wait; done";
        let mut unshare = Command::new("unshare");
        let mut outer = unshare
            .args([
                "--net",
                "--mount",
                "--pid",
                "--mount-proc",
                "--fork",
                "--kill-child",
            ])
            .args(["sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut ready = [0; 6];
        let mut output = outer.stdout.take().unwrap();
        if output.read_exact(&mut ready).is_err() {
            let output = outer.wait_with_output().unwrap();
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let id = outer.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let first = children.unwrap().trim().parse().unwrap();
        Ok(Self { outer, first })
    }

    /// With its first process all others of a namespace are killed, and only then does its parent hear of its end.
    fn end(&mut self) {
        let first = self.first.to_string();
        Command::new("kill").args(["-9", &first]).status().ok();
        self.outer.wait().ok();
    }
}

fn image() -> Result<Vec<u8>, String> {
    for program in ["dockerd", "docker", "nsenter", "cc", "tar", "ip"] {
        let mut which = Command::new("sh");
        which.args(["-c", &format!("command -v {program}")]);
        if !which.output().unwrap().status.success() {
            return Err(format!("there is no program {program}"));
        }
    }
    let home = TempDir::new().unwrap();
    std::fs::write(home.path().join("wait.c"), PROGRAM).unwrap();
    for words in [
        &["cc", "-static", "-Os", "-s", "-o", "wait", "wait.c"][..],
        &["tar", "--create", "--file", "image.tar", "wait"],
    ] {
        let mut command = Command::new(words[0]);
        let output = command.args(&words[1..]).current_dir(home.path()).output();
        let output = output.unwrap();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{words:?}: {errors}"));
        }
    }
    Ok(std::fs::read(home.path().join("image.tar")).unwrap())
}

#[async_trait(?Send)]
impl World for DockerWorld {
    const NAME: &'static str = "Docker engine";
    const MANY: u8 = 5;

    async fn start() -> Result<Self, String> {
        Self::start_with(true).await
    }

    fn source(&self, settings: SourceSettings) -> Box<dyn Source> {
        let engine = DockerEngine::Socket(self.socket());
        Box::new(DockerSource::new(engine, settings))
    }

    async fn add(&mut self, number: u8) {
        let labels = ["hafleet.backend=web", "hafleet.port=80"];
        self.run(&format!("server-{number}"), &labels, &[], "test");
    }

    /// It is in one network more.
    async fn change(&mut self, number: u8) {
        self.docker(&["network", "create", "more"]);
        self.docker(&["network", "connect", "more", &format!("server-{number}")]);
    }

    async fn remove(&mut self, number: u8) {
        self.docker(&["rm", "--force", &format!("server-{number}")]);
    }

    async fn break_down(&mut self) {
        self.kill_engine();
    }

    async fn mend(&mut self) {
        self.launch();
        self.up().await.unwrap();
    }

    /// The engine dies and comes back before it is missed, or after.
    async fn interrupt(&mut self) {
        self.kill_engine();
        self.mend().await;
    }
}
