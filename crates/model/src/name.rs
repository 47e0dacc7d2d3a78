//! Names of fleets and nodes: short, printable, and safe in a file name, a certificate and a log line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest fleet name or node id, in bytes (the length of a DNS label, RFC 1035 section 2.3.4).
pub const MAX_NAME_LEN: usize = 63;

/// A text that cannot be a name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {found:?} is not allowed: use 1 to {MAX_NAME_LEN} of {allowed}, beginning with a letter or a digit"
)]
pub struct NameError {
    what: &'static str,
    allowed: &'static str,
    found: String,
}

fn check(
    what: &'static str,
    allowed: &'static str,
    found: &str,
    is_allowed: fn(char) -> bool,
) -> Result<(), NameError> {
    let begins_well = found
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if begins_well && found.len() <= MAX_NAME_LEN && found.chars().all(is_allowed) {
        return Ok(());
    }
    Err(NameError {
        what,
        allowed,
        found: found.chars().take(80).collect(),
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $allowed:literal, $is_allowed:expr) => {
        $(#[$doc])*
        ///
        /// Cloning is cheap: a node names each other one again and again.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Accepts `text` as a name.
            ///
            /// # Errors
            /// When it is empty, too long, or has a character that is not allowed.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check($what, $allowed, &text, $is_allowed)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.as_str().to_owned()
            }
        }
    };
}

name!(
    /// The name of a fleet: all load balancers that share it and one certificate authority. It is also the
    /// trust domain of the fleet's SPIFFE ids, hence lower case.
    FleetName,
    "fleet name",
    "a-z, 0-9, '.', '_' and '-'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)
);

name!(
    /// The stable name of one agent and its HAProxy: an instance id or a host name.
    NodeId,
    "node id",
    "A-Z, a-z, 0-9, '.', '_' and '-'",
    |c| c.is_ascii_alphanumeric() || "._-".contains(c)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_instances_and_hosts_have_are_accepted() {
        for text in ["i-0123456789abcdef0", "lb1.example.com", "LB_1", "1"] {
            assert_eq!(NodeId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_refused_name_is_shown_with_what_is_allowed() {
        for text in ["", "-lb", "a b", "a/b", "ü", "a\nb", &"x".repeat(64)] {
            let error = NodeId::new(text).unwrap_err().to_string();
            assert!(
                error.contains("node id") && error.contains("A-Z"),
                "{error}"
            );
        }
        assert!(FleetName::new("Shop").is_err());
    }
}
