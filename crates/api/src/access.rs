//! Who may call what: one table, one place.

use hafleet_identity::{Caller, Principal, Role};

use crate::Failure;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// People with this role or a higher one, and nodes, since they forward what people were allowed to ask elsewhere.
    Role(Role),
    /// Nodes only, for themselves.
    Node,
}

impl Needed {
    /// The word for it in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role(role) => role.as_str(),
            Self::Node => "node",
        }
    }
}

const VIEWER: Needed = Needed::Role(Role::Viewer);
const OPERATOR: Needed = Needed::Role(Role::Operator);
const ADMIN: Needed = Needed::Role(Role::Admin);

/// Who may call each method of the `Admin` service. A method that is not here may be called by nobody, and a
/// test compares the table with the service's descriptor.
pub const METHODS: [(&str, Needed); 28] = [
    ("GetStatus", VIEWER),
    ("WatchStatus", VIEWER),
    ("GetNode", VIEWER),
    ("CheckSpec", VIEWER),
    ("RenderSpec", VIEWER),
    ("PlanSpec", VIEWER),
    ("ApplySpec", ADMIN),
    ("RollbackSpec", ADMIN),
    ("GetSpec", VIEWER),
    ("ListSpecHistory", VIEWER),
    ("DiffSpec", VIEWER),
    ("GetSpecSchema", VIEWER),
    ("ListCertificates", VIEWER),
    ("GetCertificate", VIEWER),
    ("PutCertificate", ADMIN),
    ("RemoveCertificate", ADMIN),
    ("ListSources", VIEWER),
    ("ConfirmEndpoints", OPERATOR),
    ("ListOverrides", VIEWER),
    ("DrainNode", OPERATOR),
    ("UndrainNode", OPERATOR),
    ("SetServerState", OPERATOR),
    ("SetServerWeight", OPERATOR),
    ("ListDns", VIEWER),
    ("PlanDns", VIEWER),
    ("AdoptDns", ADMIN),
    ("ReleaseDns", ADMIN),
    ("PublishFound", Needed::Node),
];

/// Lets `caller` through to `method`, or says why not.
///
/// # Errors
/// [`Failure::Denied`] with the role that is needed.
pub fn allow(caller: &Caller, method: &'static str) -> Result<(), Failure> {
    let needed = METHODS
        .iter()
        .find(|(name, _)| *name == method)
        .map(|(_, needed)| *needed);
    let is_allowed = match (&caller.identity.principal, needed) {
        (Principal::Node(_), needed) => needed.is_some(),
        (Principal::Person { role, .. }, Some(Needed::Role(needed))) => *role >= needed,
        (Principal::Person { .. }, Some(Needed::Node) | None) => false,
    };
    if is_allowed {
        return Ok(());
    }
    let caller = caller.identity.principal.to_string();
    tracing::warn!(caller, method, "call denied");
    Err(Failure::Denied {
        caller,
        method,
        needed: needed.map_or("none", Needed::as_str),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hafleet_identity::Identity;
    use hafleet_model::{FleetName, NodeId};
    use prost::Message as _;

    fn caller(principal: Principal) -> Caller {
        Caller {
            identity: Identity {
                fleet: FleetName::new("shop").unwrap(),
                principal,
            },
            remote: ([127, 0, 0, 1], 1).into(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn every_method_is_in_the_table() {
        let mut methods: Vec<_> = METHODS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut served = served_methods();
        methods.sort();
        served.sort();
        assert_eq!(methods, served);
    }

    /// The names of the `Admin` service's methods, read from the descriptors that reflection serves.
    fn served_methods() -> Vec<String> {
        let files = prost_types::FileDescriptorSet::decode(crate::v1::DESCRIPTORS).unwrap();
        let services = files.file.into_iter().flat_map(|file| file.service);
        let admin = services
            .into_iter()
            .find(|service| service.name() == "Admin")
            .unwrap();
        admin
            .method
            .into_iter()
            .map(|method| method.name().to_owned())
            .collect()
    }

    #[test]
    fn viewers_see_what_was_done_by_hand_and_operators_do_it() {
        let who_may = |method: &'static str| {
            Role::ALL.into_iter().filter(move |role| {
                let name = hafleet_identity::PersonName::new("ada").unwrap();
                let role = *role;
                allow(&caller(Principal::Person { name, role }), method).is_ok()
            })
        };
        for method in [
            "DrainNode",
            "UndrainNode",
            "SetServerState",
            "SetServerWeight",
        ] {
            assert!(
                who_may(method).eq([Role::Operator, Role::Admin]),
                "{method}"
            );
        }
        assert!(who_may("ListOverrides").eq([Role::Viewer, Role::Operator, Role::Admin]));
    }

    #[test]
    fn each_role_may_call_what_the_table_says_and_nothing_else() {
        for (method, needed) in METHODS {
            for role in Role::ALL {
                let name = hafleet_identity::PersonName::new("ada").unwrap();
                let allowed = allow(&caller(Principal::Person { name, role }), method).is_ok();
                let expected = match needed {
                    Needed::Role(needed) => role >= needed,
                    Needed::Node => false,
                };
                assert_eq!(allowed, expected, "{role} {method}");
            }
            assert!(
                allow(
                    &caller(Principal::Node(NodeId::new("lb1").unwrap())),
                    method
                )
                .is_ok()
            );
        }
        assert!(
            allow(
                &caller(Principal::Node(NodeId::new("lb1").unwrap())),
                "Missing"
            )
            .is_err()
        );
    }
}
