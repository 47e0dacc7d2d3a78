//! `hafleet demo`: a whole fleet on this machine, to look at and to break.
//!
//! Each load balancer is an agent of its own process with an HAProxy of its own, on an address of its own from
//! 127.0.0.11; four small servers stand behind them. Everything is below one directory, and everything ends with
//! the command.

mod backends;
mod layout;
mod members;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hafleet_api::v1::{self, apply_status, node_status};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use self::layout::Layout;
use self::members::Members;
use crate::args::{DemoArgs, Target};
use crate::client::{Client, answer};
use crate::commands::status::node_table;
use crate::failure::{Exit, Failure};
use crate::print::{self, Printer};
use crate::progress::Progress;

/// The spec applied unless another is given.
const SPEC: &str = include_str!("../../../../examples/demo.yaml");
/// How long the fleet may take until it serves.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a fleet that is not ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Starts the fleet, says how to use it, and ends it again.
pub(crate) async fn run(args: DemoArgs, printer: Printer) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let spec = match &args.spec {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::invalid(format_args!("{}: {error}", file.display())))?,
        None => SPEC.to_owned(),
    };
    members::find_haproxy().await?;
    if !rustix::process::geteuid().is_root() {
        print::note(
            "not root: reloads pass listening sockets on, and could not fall back to dropping SYNs",
        );
    }
    let layout = Layout::create(args.nodes, args.dir.as_deref())?;
    layout.find_taken_addresses().await?;
    let _backends = backends::serve().await?;
    let mut members = Members::start(&layout).await?;
    let outcome = tokio::select! {
        outcome = show(&layout, &mut members, &spec, &args, printer) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    print::note("ending the fleet");
    members.end(&layout).await;
    layout.remove()?;
    outcome
}

async fn show(
    layout: &Layout,
    members: &mut Members,
    spec: &str,
    args: &DemoArgs,
    printer: Printer,
) -> Result<(), Failure> {
    let target = layout.target();
    let mut client = until_led(&target, layout, members).await?;
    let request = client.request(v1::ApplySpecRequest {
        spec: spec.to_owned(),
        comment: "the demo's spec".into(),
        ..v1::ApplySpecRequest::default()
    });
    let written = answer(client.admin.apply_spec(request).await)?;
    let revision = written.revision.unwrap_or_default().revision;
    let status = until_served(&mut client, &revision, members).await?;
    printer.answer(&status, |status| ready_text(layout, status))?;
    print::line("fleet ready")?;
    let rest = args.run_for.unwrap_or(Duration::MAX);
    members.watch_for(rest).await;
    Ok(())
}

/// Waits until every agent is live and one of them leads.
async fn until_led(
    target: &Target,
    layout: &Layout,
    members: &mut Members,
) -> Result<Client, Failure> {
    let mut progress = Progress::begin("waiting for the agents to meet");
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        members.fail_if_ended()?;
        if let Ok(mut client) = Client::connect(target).await {
            let request = client.request(v1::GetStatusRequest {});
            let status = answer(client.admin.get_status(request).await)?;
            let live = status
                .nodes
                .iter()
                .filter(|node| node.liveness() == node_status::Liveness::Live)
                .count();
            let leader = status.leadership.unwrap_or_default().leader;
            if live == layout.nodes().len() && !leader.is_empty() {
                progress.end(&format!("{live} agents have met; {leader} leads"));
                return Ok(client);
            }
            progress.say(format!(
                "{live} of {} agents have met",
                layout.nodes().len()
            ));
        }
        late(deadline, "the agents did not meet", layout)?;
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until every HAProxy runs `revision`.
async fn until_served(
    client: &mut Client,
    revision: &str,
    members: &mut Members,
) -> Result<v1::FleetStatus, Failure> {
    let progress = Progress::begin(format!(
        "waiting for every HAProxy to serve revision {revision}"
    ));
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        members.fail_if_ended()?;
        let request = client.request(v1::GetStatusRequest {});
        let status = answer(client.admin.get_status(request).await)?;
        let states = status
            .nodes
            .iter()
            .map(|node| node.apply.clone().unwrap_or_default());
        if let Some(refused) = states
            .clone()
            .find(|apply| apply.state() == apply_status::State::Failed)
        {
            return Err(anyhow!("HAProxy refused the spec: {}", refused.error).into());
        }
        let serves = |apply: v1::ApplyStatus| {
            apply.state() == apply_status::State::Applied && apply.revision == revision
        };
        if states.clone().all(serves) {
            progress.end(&format!("every HAProxy serves revision {revision}"));
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Exit::Unreachable,
                format!("not every HAProxy served {revision} in time"),
            ));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn late(deadline: Instant, problem: &str, layout: &Layout) -> Result<(), Failure> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let logs = layout.root().display();
    Err(Failure::new(
        Exit::Unreachable,
        format!("{problem} within {READY_TIMEOUT:?}; their logs are {logs}/*/agent.log"),
    ))
}

fn ready_text(layout: &Layout, status: &v1::FleetStatus) -> String {
    let first = &layout.nodes()[0];
    let urls: Vec<_> = layout
        .nodes()
        .iter()
        .map(|node| format!("http://{}:8080/", node.address))
        .collect();
    let handover = status
        .nodes
        .first()
        .and_then(|node| node.haproxy.clone())
        .unwrap_or_default()
        .handover;
    format!(
        "\n{table}\n\n\
         traffic      {urls}\n\
         handover     {handover}\n\
         files        {root}\n\n\
         try it, in another terminal:\n  \
           {path}export HAFLEET_ENDPOINT={endpoints}\n  \
           export HAFLEET_IDENTITY={admin}\n  \
           curl http://{address}:8080/api\n  \
           hafleet status --watch\n  \
           hafleet spec get > spec.yaml      # change it, then\n  \
           hafleet plan spec.yaml\n  \
           hafleet apply spec.yaml --wait 10s -m 'my first change'\n  \
           hafleet spec history\n  \
           kill -9 {pid}                     # {leader} leads: watch another take over\n",
        path = path_export(),
        table = node_table(&status.nodes),
        urls = urls.join(" "),
        root = layout.root().display(),
        endpoints = layout.target().endpoint.join(","),
        admin = layout.admin().display(),
        address = first.address,
        pid = layout
            .pid_of_leader(status)
            .map_or_else(|| "PID".to_owned(), |pid| pid.to_string()),
        leader = status.leadership.clone().unwrap_or_default().leader,
    )
}

/// The line that puts this program into a shell's PATH, unless it is there.
fn path_export() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let directory = program.parent().unwrap_or(Path::new("."));
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|entry| entry == directory) {
        return String::new();
    }
    format!("export PATH={}:$PATH\n  ", directory.display())
}

/// What is missing on this machine, in words that say how to get it.
fn missing(what: &str, remedy: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the demo cannot go on: {what}; {remedy}"),
    )
}

/// The same as an error of the file at `path`.
fn at<T>(path: &Path, result: std::io::Result<T>) -> anyhow::Result<T> {
    result.with_context(|| path.display().to_string())
}
