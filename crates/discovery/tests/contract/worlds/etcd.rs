//! One real etcd.

use async_trait::async_trait;
use hafleet_discovery::etcd::Etcd;
use hafleet_discovery::{Source, SourceSettings};

use crate::world::World;

#[allow(
    dead_code,
    reason = "made for etcd's own tests; these need a part of it"
)]
#[path = "../../etcd/world.rs"]
mod cluster;

/// An etcd of one member, with servers as its keys.
pub(crate) struct EtcdWorld(cluster::EtcdWorld);

fn name(number: u8) -> String {
    format!("server-{number}")
}

#[async_trait(?Send)]
impl World for EtcdWorld {
    const NAME: &'static str = "etcd";

    async fn start() -> Result<Self, String> {
        Ok(Self(cluster::EtcdWorld::start().await))
    }

    fn source(&self, settings: SourceSettings) -> Box<dyn Source> {
        let Self(cluster) = self;
        Etcd::new(cluster.settings()).servers(&cluster.query(cluster::PREFIX), settings)
    }

    async fn add(&mut self, number: u8) {
        let value = format!("192.0.2.{number}:80");
        self.0.add(&name(number), &value).await;
    }

    async fn change(&mut self, number: u8) {
        let value = format!("198.51.100.{number}:80");
        self.0.change(&name(number), &value).await;
    }

    async fn remove(&mut self, number: u8) {
        self.0.remove(&name(number)).await;
    }

    async fn break_down(&mut self) {
        self.0.break_down();
    }

    async fn mend(&mut self) {
        self.0.mend().await;
    }

    /// It is started anew, and has forgotten what was before.
    async fn interrupt(&mut self) {
        self.0.break_down();
        self.0.mend().await;
        // What is forgotten already cannot be forgotten again.
        self.0.put("/elsewhere", "anything").await;
        self.0.compact().await;
    }
}
