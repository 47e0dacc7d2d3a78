//! etcd goes away, comes back, forgets, and says nothing.

use hafleet_discovery::etcd::Etcd;
use hafleet_discovery::query::EtcdQuery;
use hafleet_discovery::{SourceError, SourceSettings};

use crate::following::{Following, SETTINGS};
use crate::gate::Gate;
use crate::world::{DEADLINE, EtcdWorld, PREFIX};

#[tokio::test]
async fn down_at_start_is_an_error_until_it_is_there() {
    let mut world = EtcdWorld::down(1);
    let mut following = Following::servers(&world);
    let error = following.error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    world.mend().await;
    following.servers_are(&[]).await;
    world.add("a", "192.0.2.1:80").await;
    following.servers_are(&["a=192.0.2.1:80"]).await;
    following.stop().await;
}

#[tokio::test]
async fn down_later_is_an_error_and_what_changed_meanwhile_is_found() {
    let mut world = EtcdWorld::start().await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.break_down();
    let error = following.error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    world.mend().await;
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.add("b", "192.0.2.2:80").await;
    following
        .servers_are(&["a=192.0.2.1:80", "b=192.0.2.2:80"])
        .await;
    following.stop().await;
}

#[tokio::test]
async fn one_that_stands_still_is_an_error_until_it_goes_on() {
    let world = EtcdWorld::start().await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.freeze();
    let error = following.error().await;
    assert!(error.to_string().contains("no answer within"), "{error}");
    world.thaw();
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.remove("a").await;
    following.servers_are(&[]).await;
    following.stop().await;
}

/// Follows the servers of `world` through `gate`.
fn through(gate: &Gate, world: &EtcdWorld, settings: SourceSettings) -> Following {
    let query = EtcdQuery {
        endpoints: [format!("http://{}", gate.address)].into(),
        prefix: PREFIX.to_owned(),
    };
    Following::of(Etcd::new(world.settings()).servers(&query, settings))
}

#[tokio::test]
async fn a_history_that_was_compacted_meanwhile_is_no_loss() {
    let world = EtcdWorld::start().await;
    world.add("changed", "192.0.2.1:80").await;
    world.add("gone", "192.0.2.9:80").await;
    let gate = Gate::before(world.address()).await;
    let mut following = through(&gate, &world, SETTINGS);
    following
        .servers_are(&["changed=192.0.2.1:80", "gone=192.0.2.9:80"])
        .await;
    gate.close();
    following.error().await;
    world.remove("gone").await;
    world.change("changed", "192.0.2.2:80").await;
    world.compact().await;
    world.add("new", "192.0.2.3:80").await;
    gate.open();
    following
        .servers_are(&["changed=192.0.2.2:80", "new=192.0.2.3:80"])
        .await;
    following.stop().await;
}

#[tokio::test]
async fn a_watch_that_fell_behind_a_compaction_is_no_loss() {
    let world = EtcdWorld::start().await;
    world.add("gone", "192.0.2.9:80").await;
    let gate = Gate::before(world.address()).await;
    let patient = SourceSettings {
        timeout: DEADLINE,
        ..SETTINGS
    };
    let mut following = through(&gate, &world, patient);
    following.servers_are(&["gone=192.0.2.9:80"]).await;
    gate.stall();
    world.remove("gone").await;
    // More than the buffers on the way hold, so that etcd itself falls behind with telling.
    let large = |n: usize| {
        format!(
            r#"{{"address": "192.0.2.1:{}", "note": "{}"}}"#,
            n + 1,
            "x".repeat(50_000)
        )
    };
    let key = format!("{PREFIX}large");
    world
        .put_all((0..1_000).map(|n| (key.clone(), large(n))))
        .await;
    world.compact().await;
    gate.open();
    following.servers_are(&["large=192.0.2.1:1000"]).await;
    following.stop().await;
}

#[tokio::test]
async fn it_stops_while_etcd_says_nothing_and_leaves_no_connection() {
    let world = EtcdWorld::start().await;
    let mut following = Following::servers(&world);
    following.servers_are(&[]).await;
    world.freeze();
    following.error().await;
    following.stop().await;
    world.thaw();
    world.connections_are(0).await;
}

#[tokio::test]
async fn no_members_are_a_fault_of_the_spec() {
    let world = EtcdWorld::down(0);
    let mut following = Following::servers(&world);
    let error = following.error().await;
    assert!(matches!(error, SourceError::Unconfigured { .. }), "{error}");
    following.stop().await;
}
