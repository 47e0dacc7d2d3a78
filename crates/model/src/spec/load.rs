//! From text to a valid spec, or to findings that name the place of each fault.

use serde_saphyr::Spanned;

use super::finding::{Finding, Findings};
use super::located::{Node, Positions};
use super::{Spec, validate};

/// The longest text of a spec, in bytes.
pub const MAX_SPEC_BYTES: usize = 16 * 1024 * 1024;

/// A valid spec, with the memory of where each of its parts was written.
#[derive(Debug, Clone)]
pub struct LoadedSpec {
    /// The spec itself.
    pub spec: Spec,
    positions: Positions,
}

impl LoadedSpec {
    /// Ties a finding that was made later (by a template, or by HAProxy) to the line of its path.
    pub fn locate(&self, finding: Finding) -> Finding {
        located(finding, &self.positions)
    }
}

/// Reads a spec from YAML, or from JSON, which is YAML too, and validates it.
///
/// # Errors
/// Everything found wrong. Faults of the notation or of types end the reading, so they come alone; faults between
/// parts (a route to a missing backend, two frontends on one bind) come all together.
pub fn load(text: &str) -> Result<LoadedSpec, Findings> {
    if text.len() > MAX_SPEC_BYTES {
        let message = format!(
            "the text has {} bytes; at most {MAX_SPEC_BYTES} are allowed",
            text.len()
        );
        return Err(Finding::new("", message).into());
    }
    let root: Spanned<Node> = parse(text)?;
    let (value, positions) = Node::split(root);
    if !value.is_object() {
        let message = "a mapping is expected that begins with `version: 1` and has `frontends` and `backends`";
        return Err(Finding {
            line: Some(1),
            ..Finding::new("", message)
        }
        .into());
    }
    let spec: Spec = serde_path_to_error::deserialize(value)
        .map_err(|error| located(type_fault(&error), &positions))?;
    let findings = validate::validate(&spec);
    if findings.is_empty() {
        return Ok(LoadedSpec { spec, positions });
    }
    Err(Findings(
        findings
            .into_iter()
            .map(|finding| located(finding, &positions))
            .collect(),
    ))
}

fn parse(text: &str) -> Result<Spanned<Node>, Findings> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let position = error.location();
        Finding {
            path: String::new(),
            line: position.map(|position| position.line()),
            column: position.map(|position| position.column()),
            message: first_sentence(&error.to_string()),
        }
        .into()
    })
}

/// The reader's own words without the position that it puts before or after them.
fn first_sentence(text: &str) -> String {
    let line = text
        .lines()
        .next()
        .unwrap_or(text)
        .trim_start_matches("error: ");
    let line = line
        .split_once(": ")
        .filter(|(head, _)| head.starts_with("line "))
        .map_or(line, |(_, rest)| rest);
    let line = line.split(" at line ").next().unwrap_or(line);
    line.split(", set ").next().unwrap_or(line).to_owned()
}

fn located(mut finding: Finding, positions: &Positions) -> Finding {
    if finding.line.is_none() {
        (finding.line, finding.column) = positions.nearest(&finding.path).unzip();
    }
    finding
}

fn type_fault(error: &serde_path_to_error::Error<serde_json::Error>) -> Finding {
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    let message = error.inner().to_string();
    Finding::new(path, with_nearest(&with_range(&message)))
}

/// Says which numbers a type of Rust's holds, since people do not know its name.
fn with_range(message: &str) -> String {
    let ranges = [
        ("u16", u64::from(u16::MAX)),
        ("u32", u64::from(u32::MAX)),
        ("u64", u64::MAX),
    ];
    let named = ranges.into_iter().find_map(|(name, most)| {
        let head = message.strip_suffix(name)?.strip_suffix("expected ")?;
        Some(format!("{head}expected a whole number from 0 to {most}"))
    });
    named.unwrap_or_else(|| message.to_owned())
}

/// Adds the nearest allowed word to serde's "unknown field" and "unknown variant".
fn with_nearest(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let (true, Some(found)) = (is_unknown, words.next()) else {
        return message.to_owned();
    };
    let nearest = words
        .max_by(|a, b| strsim::jaro_winkler(found, a).total_cmp(&strsim::jaro_winkler(found, b)));
    match nearest.filter(|word| strsim::jaro_winkler(found, word) > 0.7) {
        Some(word) => format!("{message}; did you mean `{word}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
