//! `hafleet node drain` and `hafleet node undrain`: a node out of DNS and back, its HAProxy serving all the while.

use hafleet_api::overrides::duration;
use hafleet_api::v1;
use hafleet_model::NodeId;

use super::overrides::finish;
use super::server_args::{LastingArgs, OverrideArgs};
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::Printer;

/// Drains a node.
pub(crate) async fn drain(
    node: &NodeId,
    lasting: &LastingArgs,
    write: &OverrideArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::DrainNodeRequest {
        node_id: node.to_string(),
        lasting: lasting.lasting.map(duration),
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    });
    let written = answer(client.admin.drain_node(request).await)?;
    finish(&written, &format!("{node} is drained"), write, printer)
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
