//! The demo's agents, as processes of their own, and the end of their HAProxies.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use hafleet_agent::Config;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::layout::{DemoNode, Layout};
use super::{at, missing};
use crate::failure::{Exit, Failure};
use crate::print;

/// How long an agent may take to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HAProxy may take to finish its connections.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at the agents.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How much of an agent's log is shown when it ends, in bytes.
const LOG_TAIL: u64 = 2_000;

/// Says what to do when HAProxy is missing or too old, before anything is started.
pub(super) async fn find_haproxy() -> Result<(), Failure> {
    match hafleet_haproxy::Binary::find(None).await {
        Ok(binary) => {
            print::note(&format!(
                "haproxy {} found at {}",
                binary.version,
                binary.path.display()
            ));
            Ok(())
        }
        Err(error) => Err(missing(
            &error.to_string(),
            "`make deps` or your distribution's package `haproxy` has it",
        )),
    }
}

/// The agents that were started, in the order of the nodes.
pub(super) struct Members {
    agents: Vec<Agent>,
}

struct Agent {
    id: String,
    log: std::path::PathBuf,
    child: Child,
    has_ended: bool,
}

impl Members {
    /// Starts one agent for each node.
    pub(super) async fn start(layout: &Layout) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("this program's own path")?;
        let agents = layout
            .nodes()
            .iter()
            .map(|node| start(&program, node))
            .collect::<anyhow::Result<Vec<_>>>()?;
        print::note(&format!("{} agents started", agents.len()));
        Ok(Self { agents })
    }

    /// Fails with the end of its log when an agent has ended.
    pub(super) fn fail_if_ended(&mut self) -> Result<(), Failure> {
        for agent in &mut self.agents {
            if let Ok(Some(status)) = agent.child.try_wait() {
                let tail = tail(&agent.log).unwrap_or_default();
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the agent of {} ended ({status}):\n{tail}", agent.id),
                ));
            }
        }
        Ok(())
    }

    /// Lets time pass, and says it when an agent ends meanwhile.
    pub(super) async fn watch_for(&mut self, time: Duration) {
        let end = Instant::now().checked_add(time);
        while end.is_none_or(|end| Instant::now() < end) {
            for agent in self.agents.iter_mut().filter(|agent| !agent.has_ended) {
                if let Ok(Some(status)) = agent.child.try_wait() {
                    agent.has_ended = true;
                    print::note(&format!(
                        "the agent of {} ended ({status}); its HAProxy goes on serving",
                        agent.id
                    ));
                }
            }
            let pause = end.map_or(LOOK_INTERVAL, |end| {
                LOOK_INTERVAL.min(end.saturating_duration_since(Instant::now()))
            });
            tokio::time::sleep(pause).await;
        }
    }

    /// Ends the agents, then their HAProxies.
    pub(super) async fn end(mut self, layout: &Layout) {
        for agent in &self.agents {
            let pid = agent
                .child
                .id()
                .and_then(|pid| i32::try_from(pid).ok())
                .and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // It may have ended by itself meanwhile.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for agent in &mut self.agents {
            if tokio::time::timeout(LEAVE_TIMEOUT, agent.child.wait())
                .await
                .is_err()
            {
                print::note(&format!(
                    "the agent of {} did not leave in time and is killed",
                    agent.id
                ));
                // Waits for the process too.
                let _ = agent.child.kill().await;
            }
        }
        for node in layout.nodes() {
            if let Err(error) = end_haproxy(node).await {
                print::note(&format!(
                    "the HAProxy of {} may still run: {error:#}",
                    node.id
                ));
            }
        }
    }
}

fn start(program: &Path, node: &DemoNode) -> anyhow::Result<Agent> {
    let log = node.dir.join("agent.log");
    let file = at(&log, File::create(&log))?;
    let child = Command::new(program)
        .arg("agent")
        .arg("--config")
        .arg(node.config())
        .env_remove("HAFLEET_ENDPOINT")
        .env_remove("HAFLEET_IDENTITY")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // Ctrl-C in the terminal is for the demo, which ends the agents in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| program.display().to_string())?;
    let pid = child.id().unwrap_or_default();
    at(
        &node.pid_file(),
        std::fs::write(node.pid_file(), format!("{pid}\n")),
    )?;
    Ok(Agent {
        id: node.id.to_string(),
        log,
        child,
        has_ended: false,
    })
}

async fn end_haproxy(node: &DemoNode) -> anyhow::Result<()> {
    let config = Config::load(&node.config())?;
    hafleet_agent::stop_haproxy(&config, FINISH_TIMEOUT).await?;
    Ok(())
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
