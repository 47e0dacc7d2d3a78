//! What a client is told once.

use std::fmt;
use std::time::Duration;

/// How EC2 is asked. The default leaves all to the SDK's own sources: environment, profiles, web identity, and the roles
/// of containers and instances (AWS SDKs and Tools Reference Guide, "Standardized credential providers").
#[derive(Debug, Clone, PartialEq)]
pub struct Ec2Settings {
    /// How long one attempt of one call may take.
    pub timeout: Duration,
    /// How often one call is tried before it has failed, with growing pauses and jitter between. At least 1.
    pub attempts: u32,
    /// How often each account is asked in each region, at most.
    pub rate: Rate,
    /// Instances on a page, 5 to 1000 (Amazon EC2 API Reference, `DescribeInstances`, `MaxResults`).
    pub page_size: u16,
    /// Where all of AWS is, in place of the SDK's `AWS_ENDPOINT_URL` and of AWS itself.
    pub endpoint: Option<String>,
    /// The region of queries that name none, in place of the environment's.
    pub region: Option<String>,
    /// A key in place of the SDK's own sources.
    pub key: Option<StaticKey>,
    /// Ask Auto Scaling where instances of its groups stand. Without it, [`Instance::lifecycle`](crate::Instance::lifecycle)
    /// is none.
    pub lifecycle: bool,
}

impl Default for Ec2Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            attempts: 3,
            rate: Rate::default(),
            page_size: 1000,
            endpoint: None,
            region: None,
            key: None,
            lifecycle: true,
        }
    }
}

/// A limit of calls, as EC2 has them itself: a bucket of tokens that fills again (Amazon EC2 Developer Guide, "Request
/// throttling for the Amazon EC2 API").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// So many calls in a row.
    pub burst: u32,
    /// So many calls each second after those. Above 0.
    pub per_second: f64,
}

impl Default for Rate {
    /// Half of what EC2 grants to paged `Describe*` calls: other programs of the account need theirs.
    fn default() -> Self {
        Self {
            burst: 50,
            per_second: 10.0,
        }
    }
}

/// An access key that was written down.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKey {
    /// The public part, `AKIA…`.
    pub id: String,
    /// The secret part. Never printed.
    pub secret: String,
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
