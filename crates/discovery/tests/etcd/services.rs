//! Services in the layout of confd users.

use std::sync::Arc;

use hafleet_discovery::etcd::Etcd;
use hafleet_discovery::services::Certificates;
use hafleet_model::secrets::{CertificateName, Confidential};

use crate::following::{Following, SETTINGS};
use crate::world::EtcdWorld;

/// Believes every PEM, and has no certificate.
#[derive(Debug)]
struct Believing;

impl Certificates for Believing {
    fn read(&self, pem: &Confidential) -> Result<Confidential, String> {
        Ok(pem.clone())
    }

    fn has(&self, _: &CertificateName) -> bool {
        false
    }
}

#[tokio::test]
async fn services_come_and_go_key_by_key() {
    let world = EtcdWorld::start().await;
    let etcd = Etcd::new(world.settings());
    // Without the slash at its end, as people write it.
    let query = world.query("/haproxy-test");
    let mut following = Following::of(etcd.services(&query, SETTINGS, Arc::new(Believing)));
    let names_are = async |following: &mut Following, wanted: &[&str]| {
        let names = following.until(|said| {
            said.as_ref().is_ok_and(|said| {
                let services = said.services.iter();
                services
                    .map(|service| service.name.as_str())
                    .collect::<Vec<_>>()
                    == wanted
            })
        });
        names.await.result.unwrap()
    };
    names_are(&mut following, &[]).await;
    world
        .put("/haproxy-test/services/shop/domain", "shop.test")
        .await;
    world
        .put("/haproxy-test/tcp-services/db/external_port", "1")
        .await;
    world
        .put("/haproxy-test/tcp-services/db/internal_port", "2")
        .await;
    let answer = names_are(&mut following, &["db"]).await;
    assert_eq!(answer.left_out[0].what, "/haproxy-test/services/shop");
    world.put("/haproxy-test/services/shop/port", "80").await;
    world
        .put(
            "/haproxy-test/services/shop/cert",
            "-----BEGIN CERTIFICATE-----",
        )
        .await;
    let is_whole = following.until(|said| {
        said.as_ref()
            .is_ok_and(|said| said.services.len() == 2 && !said.certificates.is_empty())
    });
    let answer = is_whole.await.result.unwrap();
    assert_eq!(answer.left_out, []);
    world.delete_below("/haproxy-test/services/shop/").await;
    let answer = names_are(&mut following, &["db"]).await;
    assert!(answer.certificates.is_empty());
    following.stop().await;
}
