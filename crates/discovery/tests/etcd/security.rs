//! Passwords and certificates.

use hafleet_discovery::SourceError;
use hafleet_discovery::etcd::{Etcd, EtcdSettings};

use crate::following::{Following, SETTINGS};
use crate::world::{EtcdWorld, PREFIX};

#[tokio::test]
async fn with_a_password_and_never_without() {
    let mut world = EtcdWorld::start().await;
    world.add("a", "192.0.2.1:80").await;
    world.demand_passwords(PREFIX).await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.add("b", "192.0.2.2:80").await;
    following
        .servers_are(&["a=192.0.2.1:80", "b=192.0.2.2:80"])
        .await;

    let refused = |settings: EtcdSettings, prefix: &str| {
        Following::of(Etcd::new(settings).servers(&world.query(prefix), SETTINGS))
    };
    let nobody = EtcdSettings::default();
    for mut other in [
        refused(nobody, PREFIX),
        refused(world.settings(), "/hafleet/other/"),
    ] {
        let error = other.error().await;
        assert!(matches!(error, SourceError::Refused { .. }), "{error}");
        other.stop().await;
    }
    following.stop().await;
}

#[tokio::test]
async fn a_new_password_is_taken_from_its_file() {
    let mut world = EtcdWorld::start().await;
    world.demand_passwords(PREFIX).await;
    let settings = world.settings();
    let mut following = Following::servers(&world);
    following.servers_are(&[]).await;
    world.change_password().await;
    world.break_down();
    world.mend().await;
    let error = following
        .until(|said| matches!(said, Err(SourceError::Refused { .. })))
        .await;
    assert!(!format!("{error:?}").contains("a word of its own"));
    std::fs::write(settings.password_file.unwrap(), "another\n").unwrap();
    following.servers_are(&[]).await;
    following.stop().await;
}

#[tokio::test]
async fn with_certificates_and_never_without() {
    let world = EtcdWorld::with_tls().await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.add("b", "192.0.2.2:80").await;
    following
        .servers_are(&["a=192.0.2.1:80", "b=192.0.2.2:80"])
        .await;

    let with = |settings: EtcdSettings| {
        Following::of(Etcd::new(settings).servers(&world.query(PREFIX), SETTINGS))
    };
    let anonymous = EtcdSettings {
        certificate: None,
        key: None,
        ..world.settings()
    };
    let mut anonymous = with(anonymous);
    let error = anonymous.error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    let mut trusting = with(EtcdSettings::default());
    let error = trusting.error().await;
    assert!(matches!(error, SourceError::Unconfigured { .. }), "{error}");
    let stranger = EtcdWorld::with_tls().await;
    let mut stranger = with(stranger.settings());
    let error = stranger.error().await;
    assert!(error.to_string().contains("certificate"), "{error}");
    for other in [anonymous, trusting, stranger, following] {
        other.stop().await;
    }
}
