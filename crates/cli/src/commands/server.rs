//! `hafleet server drain|maint|ready|weight`: what operators ask of servers, on all nodes.

use std::time::Duration;

use hafleet_api::overrides::duration;
use hafleet_api::v1::{self, node_status::Liveness};
use hafleet_model::Revision;
use hafleet_model::overrides::ServerPath;
use tokio::time::Instant;

use super::overrides::finish;
use super::server_args::{OverrideArgs, ServerCommand, ServerStateArgs, WaitArgs};
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::{Exit, Failure};
use crate::print::Printer;
use crate::progress::Progress;

/// Between two looks at the nodes.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Does one of the `server` commands.
pub(crate) async fn run(
    command: ServerCommand,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    use v1::ServerState::{Drain, Maint, Ready};
    match command {
        ServerCommand::Drain(args) => state(Drain, &args, target, printer).await,
        ServerCommand::Maint(args) => state(Maint, &args, target, printer).await,
        ServerCommand::Ready {
            server,
            write,
            wait,
        } => {
            let message = state_message(Ready, &server, None, &write);
            let mut client = Client::connect(target).await?;
            let request = client.request(message);
            let written = answer(client.admin.set_server_state(request).await)?;
            let done = format!("{server} is as it would be");
            conclude(client, &written, &done, (&write, &wait), printer).await
        }
        ServerCommand::Weight {
            server,
            weight,
            lasting,
            write,
            wait,
        } => {
            let mut client = Client::connect(target).await?;
            let request = client.request(v1::SetServerWeightRequest {
                backend: server.backend.clone(),
                server: server.server.clone(),
                weight: weight.map(u32::from),
                lasting: lasting.lasting.map(duration),
                comment: write.comment.clone(),
                force_without_majority: write.force_without_majority,
            });
            let written = answer(client.admin.set_server_weight(request).await)?;
            let done = match weight {
                Some(weight) => format!("{server} has weight {weight}"),
                None => format!("{server} has the weight that it would have"),
            };
            conclude(client, &written, &done, (&write, &wait), printer).await
        }
    }
}

async fn state(
    state: v1::ServerState,
    args: &ServerStateArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let ServerStateArgs {
        server,
        lasting,
        write,
        wait,
    } = args;
    let message = state_message(state, server, lasting.lasting, write);
    let mut client = Client::connect(target).await?;
    let request = client.request(message);
    let written = answer(client.admin.set_server_state(request).await)?;
    let done = match state {
        v1::ServerState::Drain => format!("{server} drains"),
        _ => format!("{server} is in maintenance"),
    };
    conclude(client, &written, &done, (write, wait), printer).await
}

fn state_message(
    state: v1::ServerState,
    server: &ServerPath,
    lasting: Option<Duration>,
    write: &OverrideArgs,
) -> v1::SetServerStateRequest {
    v1::SetServerStateRequest {
        backend: server.backend.clone(),
        server: server.server.clone(),
        state: state.into(),
        lasting: lasting.map(duration),
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    }
}

async fn conclude(
    client: Client,
    written: &v1::WriteOverrideResponse,
    done: &str,
    (write, wait): (&OverrideArgs, &WaitArgs),
    printer: Printer,
) -> Result<(), Failure> {
    let finished = finish(written, done, write, printer);
    if let (Some(limit), Some(revision)) = (wait.wait, &written.revision) {
        let revision = revision.revision.parse().map_err(anyhow::Error::from)?;
        wait_for_nodes(client, revision, limit).await?;
    }
    finished
}

/// Waits until the HAProxy of every live node has the overrides of `revision`.
async fn wait_for_nodes(
    mut client: Client,
    revision: Revision,
    limit: Duration,
) -> Result<(), Failure> {
    let words = format!("waiting for every live node to have overrides {revision}");
    let mut progress = Progress::begin(words);
    let deadline = Instant::now() + limit;
    let mut waiting = "every node".to_owned();
    loop {
        let looked = look(&mut client, revision);
        let Ok(looked) = tokio::time::timeout_at(deadline, looked).await else {
            break;
        };
        let (total, missing) = looked?;
        if missing.is_empty() {
            progress.end(&format!("{total} nodes have overrides {revision}"));
            return Ok(());
        }
        waiting = missing.join(", ");
        progress.say(format!("overrides {revision}: waiting for {waiting}"));
        if Instant::now() + LOOK_AGAIN >= deadline {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let message = format!(
        "overrides {revision} are stored, but after {limit:?} it is not known that HAProxy has them on {waiting}"
    );
    Err(Failure::new(Exit::Unreachable, message))
}

/// How many nodes are live, and those of them whose HAProxy is not known to have the overrides of `revision`.
async fn look(client: &mut Client, revision: Revision) -> Result<(usize, Vec<String>), Failure> {
    let request = client.request(v1::GetStatusRequest {});
    let status = answer(client.admin.get_status(request).await)?;
    let (mut total, mut missing) = (0, Vec::new());
    for node in status.nodes {
        if node.liveness() != Liveness::Live || node.witness {
            continue;
        }
        total += 1;
        let node_id = node.id.clone();
        let request = client.request(v1::GetNodeRequest { node_id });
        let detail = client.admin.get_node(request).await;
        let has_it = detail.is_ok_and(|detail| {
            let held = detail.into_inner().overrides_revision.parse::<Revision>();
            held.is_ok_and(|held| held >= revision)
        });
        if !has_it {
            missing.push(node.id);
        }
    }
    Ok((total, missing))
}
