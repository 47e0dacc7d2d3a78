//! A cluster of three, some of which fail.

use hafleet_discovery::etcd::Etcd;

use crate::following::{Following, SETTINGS};
use crate::world::{EtcdWorld, PREFIX};

#[tokio::test]
async fn a_leader_that_dies_is_no_loss() {
    let mut world = EtcdWorld::cluster(3).await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    for server in ["b", "c"] {
        world.kill_leader().await;
        world
            .change("a", &format!("192.0.2.{}:80", server.len()))
            .await;
        world.add(server, "192.0.2.7:80").await;
        let wanted = format!("{server}=192.0.2.7:80");
        following.has(&wanted).await;
        world.mend().await;
        world.remove(server).await;
        following.servers_are(&["a=192.0.2.1:80"]).await;
    }
    following.stop().await;
}

#[tokio::test]
async fn a_leader_that_stands_still_is_no_loss() {
    let world = EtcdWorld::cluster(3).await;
    let mut following = Following::servers(&world);
    following.servers_are(&[]).await;
    world.freeze_leader().await;
    world.add("a", "192.0.2.1:80").await;
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.thaw();
    following.stop().await;
}

#[tokio::test]
async fn a_member_without_a_majority_is_not_believed() {
    let mut world = EtcdWorld::cluster(3).await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world.kill_leader().await;
    world.kill_leader().await;
    following.error().await;
    world.mend().await;
    following.servers_are(&["a=192.0.2.1:80"]).await;
    following.stop().await;
}

#[tokio::test]
async fn sources_of_a_cluster_share_a_connection_and_leave_none() {
    let world = EtcdWorld::cluster(3).await;
    world.add("a", "192.0.2.1:80").await;
    let etcd = Etcd::new(world.settings());
    let mut all: Vec<_> = (0..5)
        .map(|_| Following::of(etcd.servers(&world.query(PREFIX), SETTINGS)))
        .collect();
    for following in &mut all {
        following.servers_are(&["a=192.0.2.1:80"]).await;
    }
    world.connections_are(1).await;
    for following in all {
        following.stop().await;
    }
    world.connections_are(0).await;
}
