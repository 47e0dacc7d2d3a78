//! Lists that are kept across a restart.

use std::time::SystemTime;

use hafleet_identity::{Authority, IdentityFiles, IssueRequest, Principal};
use hafleet_model::FleetName;

use super::*;

fn credentials(authority: &Authority) -> Arc<Credentials> {
    let node = Principal::Node(NodeId::new("lb1").unwrap());
    let issued = authority.issue(&IssueRequest::new(node)).unwrap();
    let pem = [
        authority.certificate_pem(),
        &issued.certificate_pem,
        &issued.key_pem,
    ];
    let files = IdentityFiles::from_directory("test".as_ref());
    let read = Credentials::from_pem(pem.map(str::as_bytes), &files, SystemTime::now());
    Arc::new(read.unwrap())
}

#[test]
fn a_list_counts_after_a_restart_and_an_older_one_never_replaces_it() {
    let authority = Authority::create(FleetName::new("shop").unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("revocations");
    let open = || {
        let credentials = credentials(&authority);
        (
            RevocationKeeper::open(Arc::clone(&credentials), kept.clone()).unwrap(),
            credentials,
        )
    };
    let (keeper, own) = open();
    let serial = own.facts().serial;
    let first = authority.revoke(None, &[], SystemTime::now()).unwrap();
    let (parsed, is_newer) = keeper.take(first.as_bytes()).unwrap();
    assert!(is_newer);
    let second = authority
        .revoke(
            Some(&parsed),
            std::slice::from_ref(&serial),
            SystemTime::now(),
        )
        .unwrap();
    assert!(keeper.take(second.as_bytes()).unwrap().1);
    assert!(!keeper.take(first.as_bytes()).unwrap().1);

    let (keeper, again) = open();
    assert!(again.revocations().is_revoked(&serial));
    assert!(!keeper.take(first.as_bytes()).unwrap().1);
    let authority_id = parsed.authority().as_str();
    let list = keeper.list(authority_id).unwrap();
    assert_eq!(again.examine(&list).unwrap().number(), 2);
    assert!(keeper.list("0").is_none());
}

#[test]
fn a_list_that_cannot_be_kept_is_not_used() {
    let authority = Authority::create(FleetName::new("shop").unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let own = credentials(&authority);
    let kept = directory.path().join("revocations");
    let keeper = RevocationKeeper::open(Arc::clone(&own), kept.clone()).unwrap();
    std::fs::remove_dir(&kept).unwrap();
    let list = authority
        .revoke(None, &[own.facts().serial], SystemTime::now())
        .unwrap();
    assert!(matches!(
        keeper.take(list.as_bytes()),
        Err(TakeError::Unkept { .. })
    ));
    assert!(!own.revocations().is_revoked(&own.facts().serial));
}

#[test]
fn a_file_that_is_no_list_is_passed_over() {
    let authority = Authority::create(FleetName::new("shop").unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("0.crl"), b"flipped bits").unwrap();
    let keeper = RevocationKeeper::open(credentials(&authority), directory.path().to_owned());
    assert!(keeper.is_ok());
}
