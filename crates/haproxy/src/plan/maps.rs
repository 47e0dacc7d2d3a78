//! Maps of routes that differ from what is wanted.

use super::{Draft, Running};
use crate::render::Rendered;

/// Adds the steps that make the maps those of `wanted`.
///
/// # Errors
/// Why only a new process will do.
pub(super) fn compare(
    _draft: &mut Draft,
    _running: &Running,
    _wanted: &Rendered,
    _is_same: bool,
) -> Result<(), String> {
    Ok(())
}
