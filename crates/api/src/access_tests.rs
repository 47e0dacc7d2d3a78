//! The table against the descriptors of everything that an agent serves.

use std::collections::BTreeMap;

use hafleet_identity::PersonName;
use hafleet_model::NodeId;
use prost::Message as _;

use super::*;

/// The methods of all services, read from the descriptors that they are made from.
pub(crate) fn served() -> BTreeMap<String, Vec<String>> {
    let descriptors = [
        crate::v1::DESCRIPTORS,
        include_bytes!(concat!(env!("OUT_DIR"), "/peer.descriptors")),
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let mut served = BTreeMap::new();
    for encoded in descriptors {
        let set = prost_types::FileDescriptorSet::decode(encoded).unwrap();
        for file in set.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                let methods = service.method.iter();
                let mut methods: Vec<_> = methods.map(|method| method.name().to_owned()).collect();
                methods.sort();
                served.insert(name, methods);
            }
        }
    }
    served
}

/// Everybody who can have a certificate of the fleet.
pub(crate) fn everybody() -> Vec<Principal> {
    let person = |role| Principal::Person {
        name: PersonName::new("ada").unwrap(),
        role,
    };
    let mut everybody = vec![Principal::Node(NodeId::new("lb1").unwrap())];
    everybody.extend(Role::ALL.map(person));
    everybody
}

#[test]
fn the_table_has_every_method_of_every_service_and_no_other() {
    let mut table = BTreeMap::new();
    for (service, methods) in SERVICES {
        let mut methods: Vec<_> = methods.iter().map(|(name, _)| (*name).to_owned()).collect();
        methods.sort();
        table.insert(service.to_owned(), methods);
    }
    assert_eq!(table, served());
}

#[test]
fn every_path_is_found_and_nothing_else_is() {
    for (service, methods) in served() {
        for name in methods {
            assert_eq!(method(&format!("/{service}/{name}")).unwrap().name, name);
        }
    }
    for path in [
        "",
        "/",
        "/hafleet.v1.Admin",
        "/hafleet.v1.Admin/",
        "/hafleet.v1.Admin/getstatus",
        "/hafleet.v1.Admin/GetStatus/",
        "//hafleet.v1.Admin/GetStatus",
        "hafleet.v1.Admin/GetStatus",
        "/hafleet.v1.Admin/Heads",
        "/hafleet.v1.Peer/GetStatus",
    ] {
        assert_eq!(method(path), None, "{path}");
    }
}

#[test]
fn who_may_what_in_words() {
    let may = |path: &str| {
        let needed = method(path).unwrap().needed;
        let allowed = everybody().into_iter().filter(|who| needed.allows(who));
        allowed.map(|who| who.to_string()).collect::<Vec<_>>()
    };
    let [node, viewer, operator, admin] =
        ["node lb1", "ada (viewer)", "ada (operator)", "ada (admin)"];
    assert_eq!(
        may("/hafleet.v1.Admin/GetStatus"),
        [viewer, operator, admin]
    );
    assert_eq!(may("/hafleet.v1.Admin/DrainNode"), [operator, admin]);
    assert_eq!(may("/hafleet.v1.Admin/ListAudit"), [operator, admin]);
    assert_eq!(may("/hafleet.v1.Admin/ApplySpec"), [admin]);
    assert_eq!(may("/hafleet.v1.Admin/PublishFound"), [node]);
    assert_eq!(may("/hafleet.v1.Peer/StoreDocument"), [node]);
    assert_eq!(
        may("/grpc.health.v1.Health/Check"),
        [node, viewer, operator, admin]
    );
}

#[test]
fn no_node_may_change_anything_in_its_own_name() {
    let node = &everybody()[0];
    for (name, needed) in ADMIN_METHODS {
        assert!(!(needed.is_audited() && needed.allows(node)), "{name}");
    }
}
