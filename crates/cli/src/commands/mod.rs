//! One module for each command, or for a few that show the same thing.

pub(crate) mod agent;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod certificate;
pub(crate) mod check;
pub(crate) mod conflicts;
pub(crate) mod departure;
pub(crate) mod dns;
pub(crate) mod dns_args;
pub(crate) mod leave;
pub(crate) mod manual;
pub(crate) mod members_args;
pub(crate) mod node;
pub(crate) mod node_drain;
pub(crate) mod overrides;
pub(crate) mod pki;
pub(crate) mod plan;
pub(crate) mod questions;
pub(crate) mod roll;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod server_args;
pub(crate) mod sources;
pub(crate) mod spec;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod update;

use std::io::Read as _;
use std::path::Path;

use hafleet_model::spec::MAX_SPEC_BYTES;

use crate::failure::Failure;

/// The text of `file`, or of standard input for `-`, up to the largest size that a spec may have.
fn read_text(file: &Path) -> Result<String, Failure> {
    read_at_most(file, MAX_SPEC_BYTES)
}

/// The text of `file`, or of standard input for `-`. Of one that is longer than `most` bytes, so much that this shows.
fn read_at_most(file: &Path, most: usize) -> Result<String, Failure> {
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::invalid(format_args!("{}: {error}", file.display())))?;
    Ok(text)
}
