use std::time::{Duration, SystemTime};

use hafleet_identity::{Authority, IdentityFiles, IssueRequest};
use hafleet_model::{FleetName, NodeId};

use super::*;

fn machine(data: PathBuf) -> Machine {
    hafleet_identity::install_default_provider();
    let authority = Authority::create(FleetName::new("shop").unwrap()).unwrap();
    let request = IssueRequest::node(NodeId::new("n1").unwrap(), Vec::new());
    let issued = authority.issue(&request).unwrap();
    let pem = [
        authority.certificate_pem(),
        &issued.certificate_pem,
        &issued.key_pem,
    ]
    .map(str::as_bytes);
    let files = IdentityFiles::from_directory(&data);
    let credentials = Credentials::from_pem(pem, &files, SystemTime::now()).unwrap();
    Machine {
        data,
        credentials: Arc::new(credentials),
    }
}

#[test]
fn where_nothing_can_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(machine(directory.path().to_owned()).no_room(), None);
    let gone = directory.path().join("gone");
    let Some(Inability::Refused(reason)) = machine(gone.clone()).no_room() else {
        panic!("a directory that is not there has room");
    };
    assert!(reason.contains(gone.to_str().unwrap()), "{reason}");
}

#[test]
fn a_clock_by_which_the_own_certificate_is_not_valid_is_named() {
    let machine = machine(PathBuf::from("/"));
    let now = Timestamp::now();
    assert_eq!(machine.out_of_time(now), None);
    let day = Duration::from_secs(86_400);
    for wrong in [now - day, now + day * 800] {
        let Some(Inability::Refused(reason)) = machine.out_of_time(wrong) else {
            panic!("{wrong} is within the certificate's time");
        };
        assert!(reason.contains(&wrong.to_string()), "{reason}");
    }
}
