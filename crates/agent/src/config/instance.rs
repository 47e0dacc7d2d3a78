//! The key `instance`: which instance of EC2 the node is.

use hafleet_model::report::InstanceName;

/// Where the instance is known from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceSource {
    /// It is written in the file.
    Given(InstanceName),
    /// EC2's instance metadata service says it.
    Metadata,
}

/// Reads the key; what cannot be is a fault.
pub(super) fn read(given: Option<&str>, faults: &mut Vec<String>) -> Option<InstanceSource> {
    match given? {
        "imds" => Some(InstanceSource::Metadata),
        given => given
            .parse()
            .map(InstanceSource::Given)
            .map_err(|error| faults.push(format!("instance: {error}, or \"imds\"")))
            .ok(),
    }
}
