//! Which certificates an authority has issued: one line of JSON for each, beside it. So that they can be revoked by whom
//! they name.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hafleet_identity::certificate::{self, Serial};
use hafleet_identity::{Identity, Issued, Principal};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

#[derive(Serialize, Deserialize)]
struct Line {
    serial: String,
    identity: String,
    not_after: String,
}

fn path(authority: &Path) -> PathBuf {
    authority.join("issued.jsonl")
}

/// Notes that the authority in the directory `authority` has issued `issued`.
pub(crate) fn note(authority: &Path, issued: &Issued) -> anyhow::Result<()> {
    let facts = certificate::describe(&issued.certificate_pem)?;
    let line = Line {
        serial: facts.serial.to_string(),
        identity: facts
            .identity
            .as_ref()
            .map(Identity::to_uri)
            .unwrap_or_default(),
        not_after: facts.not_after.to_string(),
    };
    let mut text = serde_json::to_string(&line)?;
    text.push('\n');
    let path = path(authority);
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.with_context(|| path.display().to_string())
}

/// The serial numbers of the certificates that were issued to anybody who `is_meant`, expired ones too.
pub(super) fn issued_to(
    authority: &Path,
    is_meant: impl Fn(&Principal) -> bool,
) -> Result<Vec<Serial>, Failure> {
    let path = path(authority);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Failure::invalid(format_args!(
                "{}: {error}",
                path.display()
            )));
        }
    };
    let mut serials = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bad = |error: &dyn std::fmt::Display| {
            Failure::invalid(format_args!(
                "{}: line {}: {error}",
                path.display(),
                number + 1
            ))
        };
        let line: Line = serde_json::from_str(line).map_err(|error| bad(&error))?;
        let identity = Identity::from_uri(&line.identity).map_err(|error| bad(&error))?;
        if is_meant(&identity.principal) {
            serials.push(line.serial.parse().map_err(|error| bad(&error))?);
        }
    }
    Ok(serials)
}
