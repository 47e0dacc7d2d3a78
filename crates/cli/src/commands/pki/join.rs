//! `hafleet pki join`: a new node obtains its certificate by a token. Its key is made here and stays here.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use hafleet_api::join::{self, v1};
use hafleet_identity::{Credentials, Identity, IdentityFiles, JoinToken, KeyRequest, join_channel};
use hafleet_model::secrets::Confidential;
use serde::Serialize;

use super::args::JoinArgs;
use crate::args::Target;
use crate::client::no_endpoint;
use crate::commands::read_at_most;
use crate::failure::Failure;
use crate::print::Printer;

/// The variable that may hold the token.
const VARIABLE: &str = "HAFLEET_JOIN_TOKEN";
/// More than any token has.
const MAX_TOKEN_LEN: usize = 8192;

/// What was obtained.
#[derive(Serialize)]
struct Joined {
    directory: PathBuf,
    identity: String,
    addresses: Vec<String>,
    serial: String,
    not_after: String,
}

/// Obtains the certificate of this node.
pub(super) async fn run(args: &JoinArgs, target: &Target, printer: Printer) -> Result<(), Failure> {
    let token = token(args.token_file.as_deref())?;
    let files = IdentityFiles::from_directory(&args.out);
    // Before the token is used up.
    for file in [&files.ca, &files.certificate, &files.key] {
        if file.symlink_metadata().is_ok() {
            return Err(Failure::invalid(format_args!(
                "{} exists already: use another directory, or move it away first",
                file.display()
            )));
        }
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let key = KeyRequest::make().map_err(anyhow::Error::from)?;
    let issuer = args
        .issuer
        .clone()
        .unwrap_or_else(|| token.issuer.to_string());
    let channel = join_channel(&token, &issuer)
        .await
        .map_err(|error| no_endpoint(&[error]))?;
    let mut request = tonic::Request::new(v1::JoinRequest {
        fleet: token.fleet.to_string(),
        token_id: token.id.clone(),
        secret: token.secret.expose().to_owned(),
        node_id: args
            .node
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        addresses: args.address.iter().map(ToString::to_string).collect(),
        request: key.request().to_vec(),
    });
    request.set_timeout(target.call_timeout());
    let answer = join::client(channel).join(request).await?.into_inner();
    let issued = key.certified(answer.certificate_pem);
    let pem = [
        &answer.authorities_pem,
        &issued.certificate_pem,
        &issued.key_pem,
    ];
    let credentials = Credentials::from_pem(pem.map(String::as_bytes), &files, SystemTime::now())
        .map_err(|error| {
        Failure::invalid(format_args!(
            "what the issuer answered is not usable: {error}"
        ))
    })?;
    check(&credentials, &token, args)?;
    issued
        .save(&answer.authorities_pem, &args.out)
        .map_err(anyhow::Error::from)?;
    let facts = credentials.facts();
    let joined = Joined {
        directory: args.out.clone(),
        identity: credentials.identity().principal.to_string(),
        addresses: facts.addresses.iter().map(ToString::to_string).collect(),
        serial: facts.serial.to_string(),
        not_after: facts.not_after.to_string(),
    };
    printer.answer(&joined, |joined| {
        format!(
            "certificate of {} for {} in {}, until {}; the agent renews it by itself",
            joined.identity,
            joined.addresses.join(", "),
            joined.directory.display(),
            joined.not_after
        )
    })
}

fn token(file: Option<&Path>) -> Result<JoinToken, Failure> {
    let text = match file {
        Some(file) => read_at_most(file, MAX_TOKEN_LEN)?,
        None => std::env::var(VARIABLE).map_err(|_| {
            Failure::invalid(format_args!(
                "no token: give --token-file FILE, - for standard input, or set {VARIABLE}"
            ))
        })?,
    };
    let text = Confidential::new(text);
    text.expose().parse().map_err(Failure::invalid)
}

/// The issuer was known by the token's authority; what it made has to be by the same, and for this node.
fn check(credentials: &Credentials, token: &JoinToken, args: &JoinArgs) -> Result<(), Failure> {
    let wanted = token.node.as_ref().or(args.node.as_ref());
    let expected = wanted.map(|node| Identity::node(token.fleet.clone(), node.clone()));
    let is_expected = expected.as_ref() == Some(credentials.identity());
    if is_expected && credentials.authority_digest() == Some(token.authority) {
        return Ok(());
    }
    Err(Failure::invalid(format_args!(
        "the issuer answered with a certificate of {}, which was not asked for; it is not used",
        credentials.identity()
    )))
}
