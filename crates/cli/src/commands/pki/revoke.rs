//! `hafleet pki revoke` and `hafleet pki publish-revocations`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use hafleet_api::v1;
use hafleet_identity::certificate::{self, Serial};
use hafleet_identity::revocation::MAX_LIST_LEN;
use hafleet_identity::{Authority, Principal};
use serde::Serialize;

use super::args::RevokeArgs;
use super::ledger;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::Printer;

/// The authority's list.
#[derive(Serialize)]
struct Listed {
    file: PathBuf,
    number: u64,
    revoked: Vec<String>,
}

/// Makes the authority's next list, with some certificates more.
pub(super) async fn revoke(
    args: &RevokeArgs,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let authority = Authority::load(&args.authority).map_err(Failure::invalid)?;
    let file = args.authority.join("revocations.pem");
    let before = match std::fs::read(&file) {
        Ok(list) => Some(
            authority
                .examine(&list)
                .map_err(|error| Failure::invalid(format_args!("{}: {error}", file.display())))?,
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::invalid(format_args!(
                "{}: {error}",
                file.display()
            )));
        }
    };
    let serials = serials(args)?;
    let list = authority
        .revoke(before.as_ref(), &serials, SystemTime::now())
        .map_err(anyhow::Error::from)?;
    replace(&file, &list)?;
    let listed = authority
        .examine(list.as_bytes())
        .map_err(Failure::invalid)?;
    let listed = Listed {
        number: listed.number(),
        revoked: listed
            .revoked()
            .iter()
            .map(|revoked| revoked.serial.to_string())
            .collect(),
        file,
    };
    if args.publish {
        return publish(&listed.file, target, printer).await;
    }
    printer.answer(&listed, |listed| {
        format!(
            "list {} in {}: {} certificates are revoked\ngive it to the fleet with `hafleet pki publish-revocations {}`",
            listed.number,
            listed.file.display(),
            listed.revoked.len(),
            listed.file.display()
        )
    })
}

fn serials(args: &RevokeArgs) -> Result<Vec<Serial>, Failure> {
    let mut serials = args.serial.clone();
    let mut of = |what: &str, found: Vec<Serial>| {
        if found.is_empty() {
            return Err(Failure::invalid(format_args!(
                "{}: no certificate of {what} is in issued.jsonl; name it with --serial or --certificate",
                args.authority.display()
            )));
        }
        serials.extend(found);
        Ok(())
    };
    for node in &args.node {
        let found = ledger::issued_to(
            &args.authority,
            |principal| matches!(principal, Principal::Node(id) if id == node),
        )?;
        of(&format!("node {node}"), found)?;
    }
    for person in &args.person {
        let found = ledger::issued_to(
            &args.authority,
            |principal| matches!(principal, Principal::Person { name, .. } if name == person),
        )?;
        of(&format!("person {person}"), found)?;
    }
    for file in &args.certificate {
        let bad = |error: &dyn std::fmt::Display| {
            Failure::invalid(format_args!("{}: {error}", file.display()))
        };
        let pem = std::fs::read_to_string(file).map_err(|error| bad(&error))?;
        serials.push(
            certificate::describe(&pem)
                .map_err(|error| bad(&error))?
                .serial,
        );
    }
    Ok(serials)
}

fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let directory = file.parent().unwrap_or(file);
    let write = || {
        let mut beside = tempfile::NamedTempFile::new_in(directory)?;
        beside.write_all(text.as_bytes())?;
        beside.as_file().sync_all()?;
        beside.persist(file).map_err(|error| error.error)?;
        Ok::<_, std::io::Error>(())
    };
    Ok(write().with_context(|| file.display().to_string())?)
}

/// Gives a list to the fleet.
pub(super) async fn publish(file: &Path, target: &Target, printer: Printer) -> Result<(), Failure> {
    let list = std::fs::read(file)
        .map_err(|error| Failure::invalid(format_args!("{}: {error}", file.display())))?;
    if list.len() > MAX_LIST_LEN {
        return Err(Failure::invalid(format_args!(
            "{}: {} bytes are too many: {MAX_LIST_LEN} are allowed",
            file.display(),
            list.len()
        )));
    }
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::PublishRevocationsRequest { list });
    let published = answer(client.admin.publish_revocations(request).await)?;
    printer.answer(&published, |published| {
        let v1::PublishRevocationsResponse {
            authority,
            number,
            revoked,
            unchanged,
        } = published;
        if *unchanged {
            format!("the fleet has list {number} of authority {authority} already, or a later one")
        } else {
            format!(
                "list {number} of authority {authority} counts: {revoked} certificates are revoked. The other nodes have it in \
                 some seconds; `hafleet status --output json` shows the number of each"
            )
        }
    })
}
