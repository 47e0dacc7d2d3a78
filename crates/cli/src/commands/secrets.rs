//! `hafleet secrets rotate-key`: another key for the fleet's certificates and their keys.

use hafleet_api::v1;

use crate::args::{SecretsCommand, Target};
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::Printer;

/// Does one of the `secrets` commands.
pub(crate) async fn run(
    command: SecretsCommand,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let SecretsCommand::RotateKey { write } = command;
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::RotateSecretsKeyRequest {
        comment: write.comment.clone(),
        force_without_majority: write.force_without_majority,
    });
    let written = answer(client.admin.rotate_secrets_key(request).await)?;
    printer.answer(&written, for_people)?;
    if written.committed {
        return Ok(());
    }
    Failure::not_committed(
        written.stored_by.len(),
        written.known_nodes,
        write.force_without_majority,
    )
}

fn for_people(written: &v1::WriteCertificateResponse) -> String {
    let revision = written.revision.clone().unwrap_or_default();
    format!(
        "revision {} of the certificates ({}) stored by {} of {} nodes: {}",
        revision.revision,
        revision.comment,
        written.stored_by.len(),
        written.known_nodes,
        written.stored_by.join(", ")
    )
}
