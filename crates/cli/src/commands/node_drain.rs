//! `hafleet node drain` and `hafleet node undrain`: a node out of DNS and back, its HAProxy serving all the while.

use std::time::Duration;

use hafleet_api::overrides::duration;
use hafleet_api::v1;
use hafleet_model::NodeId;
use tokio::time::Instant;
use tonic::Status;

use super::departure::Departure;
use super::overrides::finish;
use super::server_args::OverrideArgs;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::{Exit, Failure};
use crate::print::Printer;
use crate::progress::Progress;

/// Between two looks at DNS and at the node.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is asked of a node.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Which one.
    pub node: NodeId,
    /// When it is over by itself.
    pub lasting: Option<Duration>,
    /// Words and conditions.
    pub write: OverrideArgs,
    /// How long to wait until it can be stopped, if at all.
    pub wait: Option<Duration>,
}

/// Drains a node, and waits until it can be stopped.
pub(crate) async fn drain(drain: &Drain, target: &Target, printer: Printer) -> Result<(), Failure> {
    let Drain { node, write, .. } = drain;
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::DrainNodeRequest {
        node_id: node.to_string(),
        lasting: drain.lasting.map(duration),
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    });
    let written = answer(client.admin.drain_node(request).await)?;
    finish(&written, &format!("{node} is drained"), write, printer)?;
    match drain.wait {
        Some(limit) => wait(&mut client, node, limit, Until::Stoppable).await,
        None => Ok(()),
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Neither DNS nor resolvers send anybody there.
    OutOfDns,
    /// And nobody is there.
    Stoppable,
}

/// Waits until `node` is as far as that.
pub(crate) async fn wait(
    client: &mut Client,
    node: &NodeId,
    limit: Duration,
    until: Until,
) -> Result<(), Failure> {
    let begun = match until {
        Until::OutOfDns => format!("waiting until {node} is out of DNS"),
        Until::Stoppable => format!("waiting until {node} can be stopped"),
    };
    let mut progress = Progress::begin(begun);
    let deadline = Instant::now() + limit;
    let mut departure = Departure::of(node);
    loop {
        let looked = look(client, &mut departure);
        let Ok(looked) = tokio::time::timeout_at(deadline, looked).await else {
            break;
        };
        looked?;
        let is_there = match until {
            Until::OutOfDns => departure.is_out_of_dns(),
            Until::Stoppable => departure.is_over(),
        };
        if is_there {
            progress.end(&departure.words());
            return Ok(());
        }
        progress.say(departure.words());
        if Instant::now() + LOOK_AGAIN >= deadline {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    drop(progress);
    let words = departure.words();
    Err(Failure::new(
        Exit::Unreachable,
        format!("after {limit:?} it is not safe to stop the node: {words}"),
    ))
}

/// Asks the leader for the names and the node for its connections. What does not answer now is asked again.
async fn look(client: &mut Client, departure: &mut Departure) -> Result<(), Failure> {
    let request = client.request(v1::ListDnsRequest {});
    match passing(client.admin.list_dns(request).await)? {
        Ok(list) => departure.see_names(&list, Instant::now()),
        Err(why) => departure.names_unknown(why),
    }
    let node_id = departure.node().to_owned();
    let request = client.request(v1::GetNodeRequest { node_id });
    match passing(client.admin.get_node(request).await)? {
        Ok(detail) => departure.see_node(&detail),
        Err(why) => departure.node_unknown(why),
    }
    Ok(())
}

/// An answer, or the words of a failure that may be over soon.
fn passing<T>(result: Result<tonic::Response<T>, Status>) -> Result<Result<T, String>, Failure> {
    match result {
        Ok(response) => Ok(Ok(response.into_inner())),
        Err(status) => {
            let failure = Failure::from(&status);
            match failure.exit {
                Exit::Unreachable => Ok(Err(failure.to_string())),
                _ => Err(failure),
            }
        }
    }
}

/// Takes a drain back.
pub(crate) async fn undrain(
    node: &NodeId,
    write: &OverrideArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::UndrainNodeRequest {
        node_id: node.to_string(),
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    });
    let written = answer(client.admin.undrain_node(request).await)?;
    finish(&written, &format!("{node} is not drained"), write, printer)
}
