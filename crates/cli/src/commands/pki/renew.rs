//! `hafleet pki renew` and `hafleet pki issuer`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use hafleet_identity::{Authority, Credentials, IdentityFiles, IssueRequest, certificate};
use serde::Serialize;

use super::args::{IssuerArgs, RenewArgs};
use super::{Made, ledger};
use crate::failure::Failure;
use crate::print::Printer;

/// What was renewed.
#[derive(Serialize)]
struct Renewed {
    directory: PathBuf,
    identity: String,
    serial: String,
    not_after: String,
    replaced_serial: String,
    replaced_not_after: String,
}

/// Puts a new certificate and key in place of those in a directory. Everything is checked before anything is replaced.
pub(super) fn renew(args: &RenewArgs, printer: Printer) -> Result<(), Failure> {
    let authority = Authority::load(&args.authority).map_err(Failure::invalid)?;
    let files = IdentityFiles::from_directory(&args.dir);
    let before = certificate::describe(&read(&files.certificate)?).map_err(|error| {
        Failure::invalid(format_args!("{}: {error}", files.certificate.display()))
    })?;
    let holder = before.identity.as_ref().map(|identity| &identity.fleet);
    if holder != Some(authority.fleet()) {
        return Err(Failure::invalid(format_args!(
            "{} is not of fleet {}: it can be renewed by its own authority alone",
            files.certificate.display(),
            authority.fleet()
        )));
    }
    let request = IssueRequest::like(&before, args.valid_for).map_err(Failure::invalid)?;
    let issued = authority.issue(&request).map_err(anyhow::Error::from)?;
    let authorities = read(&files.ca)?;
    let pem = [&authorities, &issued.certificate_pem, &issued.key_pem];
    let after = Credentials::from_pem(pem.map(String::as_bytes), &files, SystemTime::now())
        .map_err(Failure::invalid)?
        .facts();
    ledger::note(&args.authority, &issued)?;
    issued.replace(&files).map_err(anyhow::Error::from)?;
    let renewed = Renewed {
        directory: args.dir.clone(),
        identity: request.principal.to_string(),
        serial: after.serial.to_string(),
        not_after: after.not_after.to_string(),
        replaced_serial: before.serial.to_string(),
        replaced_not_after: before.not_after.to_string(),
    };
    printer.answer(&renewed, |renewed| {
        format!(
            "certificate of {} in {} renewed, until {}; an agent that has its files there uses it at once",
            renewed.identity,
            renewed.directory.display(),
            renewed.not_after
        )
    })
}

/// Makes an issuer for a node.
pub(super) fn issuer(args: &IssuerArgs, printer: Printer) -> Result<(), Failure> {
    let authority = Authority::load(&args.authority).map_err(Failure::invalid)?;
    let issuer = authority
        .make_issuer(args.node.as_str(), args.valid_for, SystemTime::now())
        .map_err(anyhow::Error::from)?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    issuer.save_issuer(&args.out).map_err(Failure::invalid)?;
    let made = Made::new(&args.out, &["issuer.pem", "issuer-key.pem"]);
    printer.answer(&made, |made| {
        format!(
            "issuer of node {} in {}\nwhoever has issuer-key.pem can be any node of the fleet: give it to this node alone, and \
             name both files in the part [issuer] of its agent.toml",
            args.node,
            made.directory.display()
        )
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::invalid(format_args!("{}: {error}", path.display())))
}
