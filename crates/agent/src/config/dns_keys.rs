//! The section `dns_keys`: with what updates of name servers are signed (TSIG).

use std::collections::BTreeMap;
use std::path::PathBuf;

use hafleet_dns::rfc2136::UpdateKey;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsKeySection {
    #[serde(default = "default_algorithm")]
    algorithm: String,
    secret_file: PathBuf,
}

fn default_algorithm() -> String {
    "hmac-sha256".to_owned()
}

/// The keys by their names, which are those that the name servers have for them. What cannot be read is a fault.
pub(super) fn read(
    sections: &BTreeMap<String, DnsKeySection>,
    faults: &mut Vec<String>,
) -> BTreeMap<String, UpdateKey> {
    let mut keys = BTreeMap::new();
    for (name, section) in sections {
        let file = section.secret_file.display();
        let secret = match std::fs::read_to_string(&section.secret_file) {
            Ok(secret) => secret,
            Err(error) => {
                faults.push(format!("dns_keys.{name}.secret_file: {file}: {error}"));
                continue;
            }
        };
        match UpdateKey::new(name, &section.algorithm, &secret) {
            Ok(key) => drop(keys.insert(name.clone(), key)),
            Err(error) => faults.push(format!("dns_keys.{name}: {error}")),
        }
    }
    keys
}
