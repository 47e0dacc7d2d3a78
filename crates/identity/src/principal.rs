//! Nodes and people, and how a certificate names them.
//!
//! The written form is a SPIFFE id (the SPIFFE-ID standard, section 2): `spiffe://<fleet>/node/<id>` or
//! `spiffe://<fleet>/person/<role>/<name>`. It is parsed strictly: no port, no user, no query, no empty or further
//! segments.

use std::fmt;
use std::str::FromStr;

use hafleet_model::name::MAX_NAME_LEN;
use hafleet_model::{FleetName, NodeId};

/// What a person may do, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and changes what is done by hand: server states, drains.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, from least to most.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it in certificates and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| IdentityError::UnknownRole {
            found: shorten(text),
        })
    }
}

/// The name of a person or of a program that acts for people: 1 to 63 of A-Z, a-z, 0-9, '.', '_' and '-', beginning
/// with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonName(String);

impl PersonName {
    /// Accepts `text` as a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that a SPIFFE path segment cannot hold.
    pub fn new(text: impl Into<String>) -> Result<Self, IdentityError> {
        let text = text.into();
        let begins_well = text
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric());
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if begins_well && text.len() <= MAX_NAME_LEN && text.chars().all(is_allowed) {
            return Ok(Self(text));
        }
        Err(IdentityError::BadPersonName {
            found: shorten(&text),
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who, within a fleet. Displayed as authors are shown: `node lb1`, `ada (admin)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// An agent.
    Node(NodeId),
    /// A person, or a program that acts for people.
    Person {
        /// Their name.
        name: PersonName,
        /// What they may do.
        role: Role,
    },
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Person { name, role } => write!(f, "{name} ({role})"),
        }
    }
}

/// Who, and in which fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The fleet whose authority vouches for them.
    pub fleet: FleetName,
    /// Who.
    pub principal: Principal,
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the written form.
    #[error(
        "{found:?} is not an identity: spiffe://FLEET/node/ID or spiffe://FLEET/person/ROLE/NAME is expected"
    )]
    BadForm {
        /// What was there, shortened.
        found: String,
    },
    /// The fleet or node is not a name.
    #[error(transparent)]
    BadName(#[from] hafleet_model::NameError),
    /// No such role.
    #[error("there is no role {found:?}: viewer, operator and admin are known")]
    UnknownRole {
        /// What was there, shortened.
        found: String,
    },
    /// Not a person's name.
    #[error(
        "{found:?} cannot be a person's name: use 1 to {MAX_NAME_LEN} of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"
    )]
    BadPersonName {
        /// What was there, shortened.
        found: String,
    },
}

impl Identity {
    /// The agent `id` of `fleet`.
    pub fn node(fleet: FleetName, id: NodeId) -> Self {
        Self {
            fleet,
            principal: Principal::Node(id),
        }
    }

    /// The node that this is, unless it is a person.
    pub fn node_id(&self) -> Option<&NodeId> {
        match &self.principal {
            Principal::Node(id) => Some(id),
            Principal::Person { .. } => None,
        }
    }

    /// The SPIFFE id, as it stands in certificates.
    pub fn to_uri(&self) -> String {
        match &self.principal {
            Principal::Node(id) => format!("spiffe://{}/node/{id}", self.fleet),
            Principal::Person { name, role } => {
                format!("spiffe://{}/person/{role}/{name}", self.fleet)
            }
        }
    }

    /// Reads a SPIFFE id.
    ///
    /// # Errors
    /// When it is not one of the two written forms, or a part of it is not allowed.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let refused = || IdentityError::BadForm {
            found: shorten(uri),
        };
        let rest = uri.strip_prefix("spiffe://").ok_or_else(refused)?;
        let mut parts = rest.split('/');
        let fleet = FleetName::new(parts.next().ok_or_else(refused)?)?;
        let principal = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("node"), Some(id), None, None) => Principal::Node(NodeId::new(id)?),
            (Some("person"), Some(role), Some(name), None) => Principal::Person {
                role: role.parse()?,
                name: PersonName::new(name)?,
            },
            _ => return Err(refused()),
        };
        Ok(Self { fleet, principal })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of fleet {}", self.principal, self.fleet)
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_as_written() {
        for uri in [
            "spiffe://shop/node/i-0123",
            "spiffe://shop-eu.1/person/admin/ada",
            "spiffe://a/person/viewer/ci.bot",
        ] {
            assert_eq!(Identity::from_uri(uri).unwrap().to_uri(), uri);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let refused = [
            "",
            "shop/node/a",
            "http://shop/node/a",
            "SPIFFE://shop/node/a",
            "spiffe://shop",
            "spiffe://shop/",
            "spiffe://shop/node",
            "spiffe://shop/node/",
            "spiffe://shop/node/a/",
            "spiffe://shop/node/a/b",
            "spiffe://shop/node/a?x=1",
            "spiffe://shop/node/a#x",
            "spiffe://shop:80/node/a",
            "spiffe://u@shop/node/a",
            "spiffe://Shop/node/a",
            "spiffe:///node/a",
            "spiffe://shop/Node/a",
            "spiffe://shop/person/admin",
            "spiffe://shop/person/root/ada",
            "spiffe://shop/person/admin/ada/x",
            "spiffe://shop/person/admin/a%20b",
            "spiffe://shop/person/admin/..",
        ];
        for uri in refused {
            assert!(Identity::from_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn roles_are_ordered_from_least_to_most() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }

    #[test]
    fn authors_are_shown_by_name() {
        let ada = Identity::from_uri("spiffe://shop/person/admin/ada").unwrap();
        assert_eq!(ada.principal.to_string(), "ada (admin)");
        let node = Identity::from_uri("spiffe://shop/node/lb1").unwrap();
        assert_eq!(node.principal.to_string(), "node lb1");
    }
}
