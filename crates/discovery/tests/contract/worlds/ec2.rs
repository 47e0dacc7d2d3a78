//! EC2 as moto has it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hafleet_discovery::ec2::Ec2Source;
use hafleet_discovery::query::Ec2Query;
use hafleet_discovery::{Found, Source, SourceSettings};
use hafleet_ec2::{Ec2, Ec2Settings, StaticKey};

use self::aws::{Cloud, Fault, KEY, REGION};
use crate::world::{World, numbered};

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "made for all tests; these need a part of it"
)]
#[path = "../../../../../tests/src/aws/mod.rs"]
mod aws;

/// The security group that all servers are in.
const GROUP: &str = "web";

/// The tag that has a server's number.
const TAG: &str = "server";

/// A cloud, and its instances by their numbers.
pub(crate) struct Ec2World {
    cloud: Cloud,
    group: String,
    instances: BTreeMap<u8, String>,
    changes: usize,
}

impl Ec2World {
    /// One for each source: it keeps connections for as long as it is there.
    fn client(&self) -> Ec2 {
        Ec2::new(Ec2Settings {
            endpoint: Some(self.cloud.endpoint()),
            region: Some(REGION.into()),
            key: Some(StaticKey {
                id: KEY.into(),
                secret: "nobody checks it".into(),
            }),
            attempts: 1,
            ..Ec2Settings::default()
        })
    }
}

#[async_trait(?Send)]
impl World for Ec2World {
    const NAME: &'static str = "EC2";

    async fn start() -> Result<Self, String> {
        let cloud = Cloud::start();
        Ok(Self {
            group: cloud.add_group(GROUP),
            cloud,
            instances: BTreeMap::new(),
            changes: 0,
        })
    }

    fn source(&self, settings: SourceSettings) -> Box<dyn Source> {
        let query = Ec2Query {
            security_groups: [GROUP.to_owned()].into(),
            ..Ec2Query::default()
        };
        Box::new(Ec2Source::new(self.client(), query, settings))
    }

    async fn add(&mut self, number: u8) {
        let tags = [(TAG, &*format!("server-{number}"))];
        let instance = self.cloud.add(&self.group, &tags);
        self.instances.insert(number, instance);
    }

    async fn change(&mut self, number: u8) {
        self.changes += 1;
        let changes = self.changes.to_string();
        self.cloud
            .change(&self.instances[&number], "changes", &changes);
    }

    async fn remove(&mut self, number: u8) {
        let instance = self.instances.remove(&number).unwrap();
        self.cloud.remove(&[&instance]);
    }

    async fn break_down(&mut self) {
        self.cloud.break_down();
    }

    async fn mend(&mut self) {
        self.cloud.mend();
    }

    /// Nothing is watched; connections that were kept are closed.
    async fn interrupt(&mut self) {
        self.cloud.gate().set(Fault::Down);
        self.cloud.mend();
    }

    fn number(found: &Found) -> u8 {
        numbered(&found.labels[TAG])
    }
}
