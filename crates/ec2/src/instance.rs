//! An instance as its readers need it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

/// A running instance of EC2. Ordered by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Instance {
    /// Its id, `i-…`: unique in all regions and accounts.
    pub id: String,
    /// The region it was found in.
    pub region: String,
    /// Its availability zone, such as `eu-west-1a`.
    pub zone: Option<String>,
    /// Its VPC.
    pub vpc: Option<String>,
    /// Its private IPv4 address, of its first network interface.
    pub private_ip: Option<Ipv4Addr>,
    /// Its public IPv4 address, an Elastic IP if it has one.
    pub public_ip: Option<Ipv4Addr>,
    /// Its IPv6 addresses, those of the first network interface first.
    pub ipv6: Vec<Ipv6Addr>,
    /// Its security groups, by id.
    pub security_groups: Vec<SecurityGroup>,
    /// Its tags, those that AWS itself sets (`aws:…`) too.
    pub tags: BTreeMap<String, String>,
    /// Where it stands in its Auto Scaling group; none if it is in none, or that was not asked for.
    pub lifecycle: Option<Lifecycle>,
}

impl Instance {
    /// The tag that Auto Scaling puts on the instances of its groups (Amazon EC2 Auto Scaling User Guide, "Tag Auto
    /// Scaling groups and instances").
    pub const GROUP_TAG: &str = "aws:autoscaling:groupName";

    /// The Auto Scaling group that its tag names.
    pub fn auto_scaling_group(&self) -> Option<&str> {
        self.tags.get(Self::GROUP_TAG).map(String::as_str)
    }

    /// Whether it is meant to serve, as far as Auto Scaling has a word in it.
    pub fn is_in_service(&self) -> bool {
        self.lifecycle.as_ref().is_none_or(Lifecycle::is_in_service)
    }
}

/// A security group of an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SecurityGroup {
    /// Its id, `sg-…`.
    pub id: String,
    /// Its name, unique in its VPC.
    pub name: String,
}

/// The state of an instance in its Auto Scaling group, in AWS's own words: `InService`, `Standby`, `Terminating:Wait` …
/// (Amazon EC2 Auto Scaling API Reference, `Instance.LifecycleState`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Lifecycle(pub String);

impl Lifecycle {
    /// Whether it is `InService`. All other states are before it, after it, or beside it.
    pub fn is_in_service(&self) -> bool {
        self.0 == "InService"
    }
}
