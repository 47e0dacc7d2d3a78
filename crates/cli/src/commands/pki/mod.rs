//! `hafleet pki`: the fleet's authority, and certificates of nodes and people.
//!
//! What needs the authority's key works on files alone; agents are asked for tokens, given lists of revoked certificates, and
//! certify new nodes.

pub(crate) mod args;
mod join;
pub(crate) mod ledger;
mod renew;
mod revoke;
mod token;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hafleet_identity::{Authority, Identity, IssueRequest, Principal, certificate};
use serde::Serialize;

use self::args::{IssueArgs, PkiCommand};
use crate::args::Target;
use crate::failure::Failure;
use crate::print::Printer;

/// Does one of the `pki` commands.
pub(crate) async fn run(
    command: PkiCommand,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    match command {
        PkiCommand::Init { fleet, dir } => {
            let authority = Authority::create(fleet).map_err(anyhow::Error::from)?;
            std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
            authority.save(&dir).map_err(Failure::invalid)?;
            printer.answer(&Made::new(&dir, &["ca.pem", "ca-key.pem"]), |made| {
                format!(
                    "authority of fleet {} in {}\nkeep ca-key.pem off the load balancers: whoever has it can join \
                     the fleet as anyone",
                    authority.fleet(),
                    made.directory.display()
                )
            })
        }
        PkiCommand::Issue(args) => issue(args, printer),
        PkiCommand::Renew(args) => renew::renew(&args, printer),
        PkiCommand::Issuer(args) => renew::issuer(&args, printer),
        PkiCommand::Revoke(args) => revoke::revoke(&args, target, printer).await,
        PkiCommand::PublishRevocations { file } => revoke::publish(&file, target, printer).await,
        PkiCommand::Token(command) => token::run(command, target, printer).await,
        PkiCommand::Join(args) => join::run(&args, target, printer).await,
        PkiCommand::Show { path } => show(&path, printer),
    }
}

/// What was written.
#[derive(Serialize)]
struct Made {
    directory: PathBuf,
    files: Vec<&'static str>,
}

impl Made {
    fn new(directory: &Path, files: &[&'static str]) -> Self {
        Self {
            directory: directory.to_owned(),
            files: files.to_vec(),
        }
    }
}

fn issue(args: IssueArgs, printer: Printer) -> Result<(), Failure> {
    let authority = Authority::load(&args.authority).map_err(Failure::invalid)?;
    let principal = match (args.node, args.person) {
        (Some(node), _) => Principal::Node(node),
        (None, Some(name)) => Principal::Person {
            name,
            role: args.role,
        },
        (None, None) => return Err(Failure::invalid("give --node ID or --person NAME")),
    };
    let request = IssueRequest {
        addresses: args.address,
        valid_for: args.valid_for,
        ..IssueRequest::new(principal.clone())
    };
    let issued = authority.issue(&request).map_err(anyhow::Error::from)?;
    // First of all, so that there is none that could not be revoked by its holder's name.
    ledger::note(&args.authority, &issued)?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    issued
        .save(authority.certificate_pem(), &args.out)
        .map_err(Failure::invalid)?;
    printer.answer(
        &Made::new(&args.out, &["ca.pem", "cert.pem", "key.pem"]),
        |made| format!("certificate of {principal} in {}", made.directory.display()),
    )
}

/// What a certificate says.
#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    subject: String,
    identity: Option<String>,
    spiffe_id: Option<String>,
    is_authority: bool,
    not_before: String,
    not_after: String,
    subject_alternative_names: Vec<String>,
    serial: String,
}

fn show(path: &Path, printer: Printer) -> Result<(), Failure> {
    let file = ["cert.pem", "ca.pem"]
        .into_iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| path.to_owned());
    let explain = |error: &dyn std::fmt::Display| {
        Failure::invalid(format_args!("{}: {error}", file.display()))
    };
    let pem = std::fs::read_to_string(&file).map_err(|error| explain(&error))?;
    let facts = certificate::describe(&pem).map_err(|error| explain(&error))?;
    let shown = Shown {
        subject: facts.subject,
        identity: facts
            .identity
            .as_ref()
            .map(|identity| identity.principal.to_string()),
        spiffe_id: facts.identity.as_ref().map(Identity::to_uri),
        is_authority: facts.is_authority,
        not_before: facts.not_before.to_string(),
        not_after: facts.not_after.to_string(),
        subject_alternative_names: facts.sans,
        serial: facts.serial.to_string(),
        file,
    };
    printer.answer(&shown, |shown| {
        let authority = if shown.is_authority {
            "a fleet's authority"
        } else {
            "nobody of a fleet"
        };
        [
            format!("file        {}", shown.file.display()),
            format!(
                "identity    {}",
                shown.identity.as_deref().unwrap_or(authority)
            ),
            format!("spiffe id   {}", shown.spiffe_id.as_deref().unwrap_or("-")),
            format!("subject     {}", shown.subject),
            format!("valid       {} to {}", shown.not_before, shown.not_after),
            format!("names       {}", shown.subject_alternative_names.join(", ")),
            format!("serial      {}", shown.serial),
        ]
        .join("\n")
    })
}
