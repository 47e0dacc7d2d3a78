//! Certificates that are replaced and taken back while connections are open, in real handshakes on loopback.

use std::time::{Duration, SystemTime};

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::certificate::Serial;
use crate::connect::{ConnectError, connect, connect_lazy};
use crate::credentials::Credentials;
use crate::handshake_tests::{ada, authority, issue, issue_at, node, serve};
use crate::revocation::{RevocationError, RevocationList};
use crate::verify::{Expected, Refusal};

const NO_SERIALS: [Serial; 0] = [];

async fn is_answered(client: &mut HealthClient<tonic::transport::Channel>) -> bool {
    let answer = client.check(HealthCheckRequest::default()).await;
    answer.is_ok()
}

fn list(authority: &crate::Authority, before: Option<&RevocationList>, whom: &[Serial]) -> String {
    authority.revoke(before, whom, SystemTime::now()).unwrap()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_what_was_set_up_before() {
    let shop = authority("shop");
    let server = issue(&shop, node("lb1"));
    let serving = serve(&server).await;
    let client = issue(&shop, node("lb2"));
    let target = serving.address.to_string();
    let lazy = connect_lazy(&client, &target, Expected::AnyNode).unwrap();
    let open = connect(&client, &target, Expected::AnyNode).await.unwrap();

    let (old_server, old_client) = (server.facts().serial, client.facts().serial);
    server.replace(&issue(&shop, node("lb1"))).unwrap();
    client.replace(&issue(&shop, node("lb2"))).unwrap();
    assert_ne!(server.facts().serial, old_server);
    // Whoever still showed an old one would be refused now.
    let old = list(&shop, None, &[old_server.clone(), old_client.clone()]);
    let fresh = issue(&shop, node("lb3"));
    assert!(fresh.revoke(old.as_bytes()).unwrap());
    assert!(
        is_answered(&mut HealthClient::new(open.channel)).await,
        "open connections go on"
    );
    connect(&fresh, &target, Expected::AnyNode).await.unwrap();

    assert!(server.revoke(old.as_bytes()).unwrap());
    assert!(is_answered(&mut HealthClient::new(lazy)).await);
    connect(&client, &target, Expected::AnyNode).await.unwrap();
}

#[test]
fn the_certificate_of_somebody_else_takes_no_place() {
    let shop = authority("shop");
    let own = issue(&shop, node("lb1"));
    let serial = own.facts().serial;
    let error = own.replace(&issue(&shop, node("lb2"))).unwrap_err();
    assert!(error.to_string().contains("node lb2"), "{error}");
    assert_eq!(own.facts().serial, serial);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_by_either_side_and_both_say_why() {
    let shop = authority("shop");
    let (fresh, revoked) = (issue(&shop, node("lb1")), issue(&shop, node("lb2")));
    let taken_back = list(&shop, None, &[revoked.facts().serial]);
    assert!(fresh.revoke(taken_back.as_bytes()).unwrap());

    let serving = serve(&revoked).await;
    let target = serving.address.to_string();
    let error = connect(&fresh, &target, Expected::AnyNode)
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ConnectError::RefusedByUs {
                refusal: Refusal::Revoked,
                ..
            }
        ),
        "{error}"
    );
    let serving = serve(&fresh).await;
    let target = serving.address.to_string();
    let error = connect(&revoked, &target, Expected::AnyNode)
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ConnectError::RefusedByThem {
                refusal: Refusal::Revoked,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(serving.counts.accepted(), 0);
    assert!(error.to_string().contains("has been revoked"), "{error}");
}

#[tokio::test]
async fn open_connections_of_the_revoked_break_on_both_sides_and_no_others() {
    let shop = authority("shop");
    let server = issue(&shop, node("lb1"));
    let serving = serve(&server).await;
    let target = serving.address.to_string();
    let (leaving, staying) = (issue(&shop, node("lb2")), issue(&shop, node("lb3")));
    let mut clients = Vec::new();
    for client in [&leaving, &staying] {
        let connected = connect(client, &target, Expected::AnyNode).await.unwrap();
        clients.push(HealthClient::new(connected.channel));
    }
    assert!(is_answered(&mut clients[0]).await && is_answered(&mut clients[1]).await);

    let first = list(&shop, None, &[leaving.facts().serial]);
    assert!(server.revoke(first.as_bytes()).unwrap());
    assert!(
        !is_answered(&mut clients[0]).await,
        "it cannot connect again either"
    );
    assert!(is_answered(&mut clients[1]).await);

    // Now the one who stays learns that the server itself is not to be trusted any more.
    let known = server.revocations();
    let known = known.lists().next().unwrap();
    let second = list(&shop, Some(known), &[server.facts().serial]);
    assert!(staying.revoke(second.as_bytes()).unwrap());
    assert!(!is_answered(&mut clients[1]).await);
}

#[test]
fn lists_are_believed_if_signed_and_taken_if_newer() {
    let (shop, other) = (authority("shop"), authority("shop"));
    let own = issue(&shop, node("lb1"));
    let [one, two] = [issue(&shop, node("lb2")), issue(&shop, node("lb3"))];
    let first = list(&shop, None, &[one.facts().serial]);
    assert_eq!(
        own.revoke(list(&other, None, &NO_SERIALS).as_bytes()),
        Err(RevocationError::NotSigned)
    );
    assert_eq!(own.revoke(b"nonsense"), Err(RevocationError::NotAList));
    assert_eq!(own.revoke(b""), Err(RevocationError::NotAList));
    assert_eq!(
        own.revoke(shop.certificate_pem().as_bytes()),
        Err(RevocationError::NotAList)
    );
    let mut forged = pem_of(&first);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(own.revoke(&forged), Err(RevocationError::NotSigned));

    assert_eq!(own.revoke(first.as_bytes()), Ok(true));
    assert_eq!(own.revoke(first.as_bytes()), Ok(false), "the same again");
    let known = own.revocations().lists().next().unwrap().clone();
    let second = list(&shop, Some(&known), &[two.facts().serial]);
    assert_eq!(own.revoke(second.as_bytes()), Ok(true));
    assert_eq!(own.revoke(first.as_bytes()), Ok(false), "an older one");
    let revocations = own.revocations();
    assert!(
        revocations.is_revoked(&one.facts().serial),
        "lists only grow"
    );
    assert!(revocations.is_revoked(&two.facts().serial));
    assert!(!revocations.is_revoked(&own.facts().serial));
    assert_eq!(revocations.numbers().into_values().collect::<Vec<_>>(), [2]);
}

fn pem_of(list: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateRevocationListDer;
    use rustls::pki_types::pem::PemObject as _;
    let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap();
    der.as_ref().to_vec()
}

#[test]
fn a_person_is_vouched_for_while_their_certificate_counts() {
    let shop = authority("shop");
    let own = issue(&shop, node("lb1"));
    let der = |credentials: &Credentials| credentials.shared().material().certified.cert[0].clone();
    let person = issue(&shop, ada());
    assert_eq!(
        own.vouch_for_person(&der(&person)).unwrap().principal,
        ada()
    );
    let old = issue_at(
        &shop,
        ada(),
        SystemTime::now() - Duration::from_secs(400 * 86_400),
    );
    assert_eq!(own.vouch_for_person(&der(&old)), Err(Refusal::Expired));
    let revoked = list(&shop, None, &[person.facts().serial]);
    own.revoke(revoked.as_bytes()).unwrap();
    assert_eq!(own.vouch_for_person(&der(&person)), Err(Refusal::Revoked));
}

#[test]
fn serial_numbers_are_read_as_people_write_them() {
    let serial: Serial = "0a:Ff:00:01".parse().unwrap();
    assert_eq!(serial.to_string(), "0aff0001");
    assert_eq!(serial, Serial::new(&[0, 0, 0x0a, 0xff, 0, 1]));
    let zero: Serial = "00:00".parse().unwrap();
    assert_eq!(
        (zero.to_string().as_str(), zero.as_bytes()),
        ("00", &[0][..])
    );
    for bad in ["", "a", "xy", "+1", "0a 0b", &"00".repeat(21), "ä1"] {
        assert!(bad.parse::<Serial>().is_err(), "{bad}");
    }
}
