//! Who may call what: one table for every service that an agent serves.

use hafleet_identity::{Caller, Principal, Role};

use crate::Failure;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Whoever has a certificate of the fleet.
    Anyone,
    /// People with this role or a higher one. A node may hand on what such a person has asked of it.
    Role(Role),
    /// Nodes in their own name, and no person.
    Node,
    /// Nodes in their own name, and people with this role or a higher one.
    NodeOr(Role),
}

impl Needed {
    /// The word for it in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "none",
            Self::Role(role) | Self::NodeOr(role) => role.as_str(),
            Self::Node => "node",
        }
    }

    /// Whether what is done goes into the audit log even if it was allowed: what changes something.
    pub fn is_audited(self) -> bool {
        match self {
            Self::Role(role) | Self::NodeOr(role) => role > Role::Viewer,
            Self::Anyone | Self::Node => false,
        }
    }

    fn allows(self, caller: &Principal) -> bool {
        match (self, caller) {
            (Self::Anyone, _) | (Self::Node | Self::NodeOr(_), Principal::Node(_)) => true,
            (Self::Role(needed) | Self::NodeOr(needed), Principal::Person { role, .. }) => {
                *role >= needed
            }
            (Self::Role(_), Principal::Node(_)) | (Self::Node, Principal::Person { .. }) => false,
        }
    }
}

const VIEWER: Needed = Needed::Role(Role::Viewer);
const OPERATOR: Needed = Needed::Role(Role::Operator);
const ADMIN: Needed = Needed::Role(Role::Admin);

/// The methods of one service, and who may call each.
type Methods = &'static [(&'static str, Needed)];

/// Who may call each method of each service. A method that is not here may be called by nobody, and a test compares the
/// table with the descriptors of all services.
pub const SERVICES: [(&str, Methods); 6] = [
    ("hafleet.v1.Admin", ADMIN_METHODS),
    ("hafleet.v1.Query", QUERY_METHODS),
    ("hafleet.v1.Peer", PEER_METHODS),
    ("grpc.health.v1.Health", HEALTH_METHODS),
    ("grpc.reflection.v1.ServerReflection", REFLECTION_METHODS),
    (
        "grpc.reflection.v1alpha.ServerReflection",
        REFLECTION_METHODS,
    ),
];

const ADMIN_METHODS: Methods = &[
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
    ("RotateSecretsKey", ADMIN),
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
    ("ForgetNode", ADMIN),
    ("LeaveFleet", OPERATOR),
    ("FollowFleet", OPERATOR),
    ("DismissConflict", ADMIN),
    ("AcceptLeave", OPERATOR),
    ("PublishFound", Needed::Node),
    ("ListAudit", OPERATOR),
    ("PublishRevocations", ADMIN),
    ("GetRevocations", Needed::NodeOr(Role::Viewer)),
    ("CreateJoinToken", ADMIN),
    ("ListJoinTokens", ADMIN),
    ("RemoveJoinToken", ADMIN),
    ("RenewCertificate", Needed::Node),
];

const QUERY_METHODS: Methods = &[
    ("Check", VIEWER),
    ("Evaluate", VIEWER),
    ("GetPart", Needed::NodeOr(Role::Viewer)),
];

/// What agents say to each other (`proto/hafleet/v1/peer.proto`).
const PEER_METHODS: Methods = &[
    ("Gossip", Needed::Node),
    ("Heads", Needed::Node),
    ("StoreDocument", Needed::Node),
    ("FetchDocument", Needed::Node),
    ("Conflicts", Needed::Node),
    ("ShareKey", Needed::Node),
];

const HEALTH_METHODS: Methods = &[("Check", Needed::Anyone), ("Watch", Needed::Anyone)];

const REFLECTION_METHODS: Methods = &[("ServerReflectionInfo", Needed::Anyone)];

/// What callers of lb-agent ask for ([`crate::lb_agent`]): to change what the whole fleet serves, as `ApplySpec` does.
pub const RELOAD_FLEET: Method = Method {
    name: "POST /reloadHaproxy",
    needed: ADMIN,
};
/// To change what this node serves. A node may itself, which is what somebody on its machine is taken for.
pub const RELOAD_NODE: Method = Method {
    name: "POST /reloadHaproxy",
    needed: Needed::NodeOr(Role::Admin),
};
/// To see the states of servers.
pub const GET_BACKENDS: Method = Method {
    name: "/getBackends",
    needed: Needed::NodeOr(Role::Viewer),
};

/// A method in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name without the service's.
    pub name: &'static str,
    /// Who may call it.
    pub needed: Needed,
}

/// Finds the method that a request's path, `/package.Service/Method`, names.
pub fn method(path: &str) -> Option<Method> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = SERVICES.iter().find(|(name, _)| *name == service)?;
    let (name, needed) = methods.iter().find(|(name, _)| *name == method)?;
    Some(Method {
        name,
        needed: *needed,
    })
}

/// Lets `caller` through to `method`, or says why not.
///
/// # Errors
/// [`Failure::Denied`] with the role that is needed.
pub fn allow(caller: &Caller, method: Method) -> Result<(), Failure> {
    if method.needed.allows(&caller.identity.principal) {
        return Ok(());
    }
    Err(Failure::Denied {
        caller: caller.identity.principal.to_string(),
        method: method.name,
        needed: method.needed.as_str(),
    })
}

#[cfg(test)]
#[path = "access_tests.rs"]
pub(crate) mod tests;
