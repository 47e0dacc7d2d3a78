//! What an issuer can do, and what it cannot.

use hafleet_model::NodeId;

use super::*;
use crate::credentials::{Credentials, IdentityFiles};
use crate::handshake_tests::{ada, authority, issue, node, serve};
use crate::verify::{Expected, Refusal};
use crate::{ConnectError, connect};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn issuer(authority: &Authority) -> NodeIssuer {
    let directory = tempfile::tempdir().unwrap();
    let made = authority
        .make_issuer("lb1", 90 * DAY, SystemTime::now())
        .unwrap();
    made.save_issuer(directory.path()).unwrap();
    load(authority.fleet(), directory.path()).unwrap()
}

fn load(fleet: &FleetName, directory: &Path) -> Result<NodeIssuer, AuthorityError> {
    let (certificate, key) = (directory.join(ISSUER_FILE), directory.join(ISSUER_KEY_FILE));
    NodeIssuer::load(fleet, &certificate, &key)
}

fn certified(authority: &Authority, chain: String, key: &KeyRequest) -> Credentials {
    let issued = key.certified(chain);
    let pem = [
        authority.certificate_pem(),
        &issued.certificate_pem,
        &issued.key_pem,
    ];
    let files = IdentityFiles::from_directory("test".as_ref());
    Credentials::from_pem(pem.map(str::as_bytes), &files, SystemTime::now()).unwrap()
}

fn lb9() -> IssueRequest {
    IssueRequest::node(
        NodeId::new("lb9").unwrap(),
        vec!["10.0.0.9".parse().unwrap()],
    )
}

#[tokio::test]
async fn a_node_that_an_issuer_certified_is_one_of_the_fleet() {
    let shop = authority("shop");
    let (issuer, key) = (issuer(&shop), KeyRequest::make().unwrap());
    let chain = issuer
        .certify(key.request(), &lb9(), SystemTime::now())
        .unwrap();
    let joined = certified(&shop, chain, &key);
    assert_eq!(joined.identity().to_string(), "node lb9 of fleet shop");
    assert_eq!(joined.facts().addresses, lb9().addresses);

    for (client, server) in [
        (&joined, &issue(&shop, node("lb1"))),
        (&issue(&shop, ada()), &joined),
    ] {
        let serving = serve(server).await;
        connect(client, &serving.address.to_string(), Expected::AnyNode)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_issuer_that_is_taken_back_takes_its_nodes_along() {
    let shop = authority("shop");
    let (issuer, key) = (issuer(&shop), KeyRequest::make().unwrap());
    let chain = issuer
        .certify(key.request(), &lb9(), SystemTime::now())
        .unwrap();
    let joined = certified(&shop, chain, &key);
    let server = issue(&shop, node("lb1"));
    let serial = issuer.facts().serial.clone();
    let list = shop.revoke(None, &[serial], SystemTime::now()).unwrap();
    server.revoke(list.as_bytes()).unwrap();
    let serving = serve(&server).await;
    let error = connect(&joined, &serving.address.to_string(), Expected::AnyNode)
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
}

#[tokio::test]
async fn a_person_by_an_issuers_key_is_refused() {
    let shop = authority("shop");
    let issuer = issuer(&shop);
    // As somebody would who has the issuer's key and not this code.
    let key = KeyPair::generate().unwrap();
    let params = params_of(shop.fleet(), &IssueRequest::new(ada()), SystemTime::now()).unwrap();
    let signer = Issuer::from_ca_cert_pem(&issuer.certificate_pem, &issuer.key).unwrap();
    let certificate = params.signed_by(&key, &signer).unwrap().pem();
    let pem = [
        shop.certificate_pem().to_owned(),
        format!("{certificate}{}", issuer.certificate_pem),
        key.serialize_pem(),
    ];
    let files = IdentityFiles::from_directory("test".as_ref());
    let pem = [pem[0].as_bytes(), pem[1].as_bytes(), pem[2].as_bytes()];
    let forged = Credentials::from_pem(pem, &files, SystemTime::now()).unwrap();
    let server = issue(&shop, node("lb1"));
    let serving = serve(&server).await;
    let refused = connect(&forged, &serving.address.to_string(), Expected::AnyNode).await;
    assert!(
        matches!(refused, Err(ConnectError::RefusedByThem { .. })),
        "{refused:?}"
    );
    assert_eq!(serving.counts.accepted(), 0);
}

#[test]
fn an_issuer_certifies_nodes_with_keys_of_their_own_for_as_long_as_it_lives() {
    let shop = authority("shop");
    let (issuer, key, now) = (
        issuer(&shop),
        KeyRequest::make().unwrap(),
        SystemTime::now(),
    );
    let long = IssueRequest {
        valid_for: 1000 * DAY,
        ..lb9()
    };
    let chain = issuer.certify(key.request(), &long, now).unwrap();
    let facts = certificate::describe(&chain).unwrap();
    assert!(facts.not_after <= issuer.facts().not_after);
    for (request, wanted, at) in [
        (key.request(), IssueRequest::new(ada()), now),
        (key.request(), lb9(), now + 100 * DAY),
        (b"nonsense", lb9(), now),
        (&key.request()[1..], lb9(), now),
    ] {
        let refused = issuer.certify(request, &wanted, at);
        assert!(
            matches!(refused, Err(AuthorityError::BadRequest { .. })),
            "{refused:?}"
        );
    }
    let mut forged = key.request().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(issuer.certify(&forged, &lb9(), now).is_err());
}

#[test]
fn an_issuer_is_of_its_fleet_and_an_authority_is_none() {
    let shop = authority("shop");
    let directory = tempfile::tempdir().unwrap();
    let made = shop.make_issuer("lb1", DAY, SystemTime::now()).unwrap();
    made.save_issuer(directory.path()).unwrap();
    assert!(
        made.save_issuer(directory.path()).is_err(),
        "nothing is overwritten"
    );
    assert!(load(shop.fleet(), directory.path()).is_ok());
    let refused = load(&FleetName::new("sho").unwrap(), directory.path());
    assert!(
        matches!(refused, Err(AuthorityError::NotAnIssuer { .. })),
        "{refused:?}"
    );

    let own = tempfile::tempdir().unwrap();
    shop.save(own.path()).unwrap();
    let (certificate, key) = (own.path().join("ca.pem"), own.path().join("ca-key.pem"));
    let refused = NodeIssuer::load(shop.fleet(), &certificate, &key);
    assert!(
        matches!(refused, Err(AuthorityError::NotAnIssuer { .. })),
        "{refused:?}"
    );
    let renamed = tempfile::tempdir().unwrap();
    std::fs::copy(
        directory.path().join(ISSUER_FILE),
        renamed.path().join("ca.pem"),
    )
    .unwrap();
    std::fs::copy(
        directory.path().join(ISSUER_KEY_FILE),
        renamed.path().join("ca-key.pem"),
    )
    .unwrap();
    assert!(matches!(
        Authority::load(renamed.path()),
        Err(AuthorityError::NotAnAuthority { .. })
    ));
}
