//! Route53 of a test's own, behind a gate that can fail.

use std::time::{Duration, Instant};

use aws_sdk_route53::Client;
use aws_sdk_route53::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_route53::types::HostedZoneConfig;
use hafleet_dns::route53::{Route53, Route53Settings};
use hafleet_dns::{Budget, RecordSet, RecordType};
use hafleet_ec2::StaticKey;

use crate::aws::{Gate, KEY, Moto};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) gate: Gate,
    /// Asks past the gate and past all that is tested.
    pub(crate) aside: Client,
    pub(crate) budget: Budget,
    _moto: Moto,
}

impl Stage {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let moto = Moto::start_strict(settings);
        let gate = Gate::before(moto.address());
        let config = aws_sdk_route53::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(KEY, "x", None, None, "tests"))
            .endpoint_url(format!("http://{}", moto.address()))
            .build();
        Self {
            gate,
            aside: Client::from_conf(config),
            budget: Budget::new(1000),
            _moto: moto,
        }
    }

    pub(crate) fn route53(&self) -> Route53 {
        let settings = Route53Settings {
            endpoint: Some(self.gate.endpoint()),
            key: Some(StaticKey {
                id: KEY.into(),
                secret: "nobody checks it".into(),
            }),
            page_size: 3,
            ..Route53Settings::default()
        };
        Route53::new(settings, self.budget.clone())
    }

    /// Makes a zone; its id.
    pub(crate) async fn zone(&self, name: &str, is_private: bool) -> String {
        let request = self
            .aside
            .create_hosted_zone()
            .name(name)
            .caller_reference(format!("{name}{is_private}"));
        let request = match is_private {
            false => request,
            true => {
                let vpc = aws_sdk_route53::types::Vpc::builder()
                    .vpc_region("us-east-1".into())
                    .vpc_id("vpc-1")
                    .build();
                let config = HostedZoneConfig::builder().private_zone(true).build();
                request.hosted_zone_config(config).vpc(vpc)
            }
        };
        let made = request.send().await.unwrap();
        let id = made.hosted_zone().unwrap().id();
        id.trim_start_matches("/hostedzone/").to_owned()
    }
}

pub(crate) fn a(name: &str, value: &str) -> RecordSet {
    RecordSet::simple(name, RecordType::A, 30, [value.to_owned()])
}

/// Asks again until the answer is some.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
