use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::principal::{PersonName, Role};

fn authority() -> Authority {
    Authority::create(FleetName::new("shop").unwrap()).unwrap()
}

#[test]
fn an_authority_reads_back_as_saved_and_its_key_is_private() {
    let directory = tempfile::tempdir().unwrap();
    authority().save(directory.path()).unwrap();
    let loaded = Authority::load(directory.path()).unwrap();
    assert_eq!(loaded.fleet().as_str(), "shop");
    let mode = std::fs::metadata(directory.path().join(AUTHORITY_KEY_FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn where_there_is_none_it_is_said_what_to_name() {
    let directory = tempfile::tempdir().unwrap();
    let error = Authority::load(directory.path()).unwrap_err().to_string();
    let named = directory.path().display().to_string();
    assert!(
        error.contains(&named) && error.contains("--authority"),
        "{error}"
    );
}

#[test]
fn an_authority_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let first = authority();
    first.save(directory.path()).unwrap();
    let error = authority().save(directory.path()).unwrap_err();
    assert!(
        error.to_string().contains("ca.pem exists already"),
        "{error}"
    );
    assert_eq!(
        Authority::load(directory.path()).unwrap().certificate_pem(),
        first.certificate_pem()
    );
}

#[test]
fn a_key_of_another_authority_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    authority().save(directory.path()).unwrap();
    authority().save(other.path()).unwrap();
    std::fs::copy(
        other.path().join(AUTHORITY_KEY_FILE),
        directory.path().join(AUTHORITY_KEY_FILE),
    )
    .unwrap();
    assert!(matches!(
        Authority::load(directory.path()),
        Err(AuthorityError::WrongKey { .. })
    ));
}

#[test]
fn a_nodes_certificate_names_it_in_every_way_that_clients_check() {
    let request = IssueRequest {
        host_names: vec!["lb1.example.com".into()],
        ..IssueRequest::node(
            NodeId::new("lb1").unwrap(),
            vec!["10.0.0.1".parse().unwrap()],
        )
    };
    let issued = authority().issue(&request).unwrap();
    let facts = certificate::describe(&issued.certificate_pem).unwrap();
    assert_eq!(
        facts.sans,
        [
            "URI:spiffe://shop/node/lb1",
            "DNS:lb1",
            "DNS:lb1.example.com",
            "IP:10.0.0.1"
        ]
    );
    assert!(!facts.is_authority);
    assert_eq!(
        facts.identity.unwrap().to_string(),
        "node lb1 of fleet shop"
    );
    let days = facts.not_after.duration_since(facts.not_before).as_hours() / 24;
    assert_eq!(days, 365);
}

#[test]
fn an_issued_identity_is_ready_for_use_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let issued = authority
        .issue(&IssueRequest::node(NodeId::new("lb1").unwrap(), Vec::new()))
        .unwrap();
    let files = issued
        .save(authority.certificate_pem(), directory.path())
        .unwrap();
    assert_eq!(
        crate::Credentials::load(&files)
            .unwrap()
            .identity()
            .to_string(),
        "node lb1 of fleet shop"
    );
    let again = issued
        .save(authority.certificate_pem(), directory.path())
        .unwrap_err();
    assert!(
        matches!(again, AuthorityError::IdentityExists { .. }),
        "{again}"
    );
}

#[test]
fn a_person_is_named_with_their_role() {
    let principal = Principal::Person {
        name: PersonName::new("ada").unwrap(),
        role: Role::Operator,
    };
    let issued = authority()
        .issue(&IssueRequest::new(principal.clone()))
        .unwrap();
    let facts = certificate::describe(&issued.certificate_pem).unwrap();
    assert_eq!(facts.identity.unwrap().principal, principal);
}
