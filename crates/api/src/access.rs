//! Who may call what: one table, one place.

use hafleet_identity::{Caller, Principal, Role};

use crate::Failure;

/// The least role for each method of the `Admin` service. A method that is not here may be called by nobody, and a
/// test compares the table with the service's descriptor.
pub const METHODS: [(&str, Role); 16] = [
    ("GetStatus", Role::Viewer),
    ("WatchStatus", Role::Viewer),
    ("GetNode", Role::Viewer),
    ("CheckSpec", Role::Viewer),
    ("RenderSpec", Role::Viewer),
    ("PlanSpec", Role::Viewer),
    ("ApplySpec", Role::Admin),
    ("RollbackSpec", Role::Admin),
    ("GetSpec", Role::Viewer),
    ("ListSpecHistory", Role::Viewer),
    ("DiffSpec", Role::Viewer),
    ("GetSpecSchema", Role::Viewer),
    ("ListCertificates", Role::Viewer),
    ("GetCertificate", Role::Viewer),
    ("PutCertificate", Role::Admin),
    ("RemoveCertificate", Role::Admin),
];

/// Lets `caller` through to `method`, or says why not. Nodes may call everything, since they forward what people
/// were allowed to ask elsewhere.
///
/// # Errors
/// [`Failure::Denied`] with the role that is needed.
pub fn allow(caller: &Caller, method: &'static str) -> Result<(), Failure> {
    let needed = METHODS
        .iter()
        .find(|(name, _)| *name == method)
        .map(|(_, role)| *role);
    let is_allowed = match &caller.identity.principal {
        Principal::Node(_) => needed.is_some(),
        Principal::Person { role, .. } => needed.is_some_and(|needed| *role >= needed),
    };
    if is_allowed {
        return Ok(());
    }
    let caller = caller.identity.principal.to_string();
    tracing::warn!(caller, method, "call denied");
    Err(Failure::Denied {
        caller,
        method,
        needed: needed.map_or("none", Role::as_str),
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
    fn each_role_may_call_what_the_table_says_and_nothing_else() {
        for (method, needed) in METHODS {
            for role in Role::ALL {
                let name = hafleet_identity::PersonName::new("ada").unwrap();
                let allowed = allow(&caller(Principal::Person { name, role }), method).is_ok();
                assert_eq!(allowed, role >= needed, "{role} {method}");
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
