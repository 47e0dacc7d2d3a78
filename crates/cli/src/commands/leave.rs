//! `hafleet node leave` and `hafleet node forget`: a node that goes, and one that will not return.

use std::time::Duration;

use hafleet_api::v1;
use hafleet_model::NodeId;
use tonic::Request;

use super::members_args::{ForgetArgs, LeaveArgs};
use super::node_drain::{self, Until};
use super::overrides::finish;
use super::server_args::OverrideArgs;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::Printer;
use crate::progress::Progress;

/// A node may take a while to yield, and another to begin to lead: more than other calls may take by default.
const LEAVING: Duration = Duration::from_secs(30);

/// Takes a node out of DNS and has it leave the fleet.
pub(crate) async fn leave(
    args: &LeaveArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let node_id = args.node.as_ref().map(NodeId::to_string);
    let request = client.request(v1::GetNodeRequest {
        node_id: node_id.unwrap_or_default(),
    });
    let detail = answer(client.admin.get_node(request).await)?;
    let node = detail.node.unwrap_or_default();
    let id: NodeId = node.id.parse().map_err(Failure::invalid)?;
    if !args.now && !node.witness {
        drain(&mut client, &id, args).await?;
    }
    let progress = Progress::begin(format!("{id} leaves the fleet"));
    let mut request = Request::new(v1::LeaveFleetRequest {
        node_id: id.to_string(),
        comment: args.write.comment.clone(),
        force_without_majority: args.write.force_without_majority,
        stop_haproxy: args.stop_haproxy,
    });
    request.set_timeout(target.call_timeout().max(LEAVING));
    let written = answer(client.admin.leave_fleet(request).await);
    drop(progress);
    let write = conditions(&args.write);
    finish(&written?, &format!("{id} has left"), &write, printer)
}

/// Takes the node out of DNS, where the fleet publishes anything, and waits until resolvers have forgotten it.
async fn drain(client: &mut Client, id: &NodeId, args: &LeaveArgs) -> Result<(), Failure> {
    let request = client.request(v1::ListDnsRequest {});
    let list = answer(client.admin.list_dns(request).await)?;
    if list.names.is_empty() && !args.stop_haproxy {
        return Ok(());
    }
    let request = client.request(v1::DrainNodeRequest {
        node_id: id.to_string(),
        lasting: None,
        comment: args.write.comment.clone(),
        force_without_majority: args.write.force_without_majority,
    });
    answer(client.admin.drain_node(request).await)?;
    let until = match args.stop_haproxy {
        true => Until::Stoppable,
        false => Until::OutOfDns,
    };
    let waited = node_drain::wait(client, id, args.wait, until).await;
    waited.map_err(|failure| {
        let exit = failure.exit;
        let words = format!(
            "{failure}; it is in the fleet and drained: `hafleet node leave {id} --now` has it leave all the same, \
             `hafleet node undrain {id}` brings it back"
        );
        Failure::new(exit, words)
    })
}

/// Has the fleet go on without a node that is dead.
pub(crate) async fn forget(
    args: &ForgetArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::ForgetNodeRequest {
        node_id: args.node.to_string(),
        comment: args.write.comment.clone(),
        force_without_majority: args.write.force_without_majority,
    });
    let written = answer(client.admin.forget_node(request).await)?;
    let done = format!("{} is forgotten", args.node);
    finish(&written, &done, &conditions(&args.write), printer)
}

fn conditions(write: &super::members_args::MemberArgs) -> OverrideArgs {
    OverrideArgs {
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    }
}
