//! What only one kind of source can go through.

mod dns;
mod dns_answers;
mod docker;
mod file;

use std::time::Duration;

use hafleet_discovery::SourceSettings;

/// Nothing happens by the interval with these: what is found is found for another reason.
const RARELY: SourceSettings = SourceSettings {
    interval: Duration::from_secs(3600),
    timeout: Duration::from_secs(5),
};
