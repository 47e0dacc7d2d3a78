//! Instances of EC2, polled. The client is one for all queries, so that its limits and its count of calls are the agent's.
//!
//! What an instance has in its tags is left to [`mapping`](crate::mapping): a tag's meaning differs between backends, and the
//! question does not.

use std::net::IpAddr;

use async_trait::async_trait;
use hafleet_ec2::{Ec2, Ec2Error, Instance, InstanceQuery};
use tokio::time::{sleep, timeout};

use crate::answer::{Address, AddressKind, Answer, Condition, Found, SourceError};
use crate::pauses::Pauses;
use crate::query::Ec2Query;
use crate::source::{Answers, Source, SourceSettings};

/// One question to EC2.
#[derive(Debug)]
pub struct Ec2Source {
    client: Ec2,
    query: InstanceQuery,
    name: String,
    settings: SourceSettings,
}

impl Ec2Source {
    /// The source that asks `query` of `client`, of which there should be one for all sources.
    pub fn new(client: Ec2, query: Ec2Query, settings: SourceSettings) -> Self {
        Self {
            client,
            name: format!("ec2{query}"),
            query: question(query),
            settings,
        }
    }

    async fn poll(&self, answers: &Answers) {
        let mut pauses = Pauses::new(self.settings.interval);
        loop {
            let pause = match self.ask().await {
                Ok(answer) => {
                    answers.put(Ok(answer));
                    pauses.after_answer()
                }
                Err(error) => {
                    let pause = match error {
                        // To ask again soon is what the account suffers from.
                        SourceError::Throttled { .. } => pauses.after_answer(),
                        _ => pauses.after_error(),
                    };
                    answers.put(Err(error));
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    async fn ask(&self) -> Result<Answer, SourceError> {
        let limit = self.settings.timeout;
        let found = timeout(limit, self.client.instances(&self.query)).await;
        let found = found.map_err(|_| SourceError::Unreachable {
            what: self.name.clone(),
            why: format!("there was no whole answer within {limit:?}"),
        })?;
        let found = found.map_err(failed)?;
        Ok(Answer {
            found: found.into_iter().map(Found::from).collect(),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Source for Ec2Source {
    async fn run(self: Box<Self>, answers: Answers) {
        tokio::select! {
            () = answers.stopped() => {}
            () = self.poll(&answers) => {}
        }
    }
}

fn question(query: Ec2Query) -> InstanceQuery {
    let Ec2Query {
        security_groups,
        tags,
        auto_scaling_groups,
        vpc,
        filters,
        regions,
        roles,
    } = query;
    InstanceQuery {
        security_groups,
        tags,
        auto_scaling_groups,
        vpc,
        filters,
        regions,
        roles,
    }
}

impl From<Instance> for Found {
    fn from(instance: Instance) -> Self {
        let condition = if instance.is_in_service() {
            Condition::InService
        } else {
            Condition::SetAside
        };
        let address = |kind, ip| Address { kind, ip };
        let private = instance.private_ip.map(IpAddr::from);
        let public = instance.public_ip.map(IpAddr::from);
        let ipv6 = instance.ipv6.into_iter().map(IpAddr::from);
        let addresses = private
            .map(|ip| address(AddressKind::Private, ip))
            .into_iter()
            .chain(public.map(|ip| address(AddressKind::Public, ip)))
            .chain(ipv6.map(|ip| address(AddressKind::Ipv6, ip)));
        Self {
            id: instance.id,
            addresses: addresses.collect(),
            port: None,
            weight: None,
            zone: instance.zone,
            condition,
            labels: instance.tags,
        }
    }
}

fn failed(error: Ec2Error) -> SourceError {
    match error {
        Ec2Error::Unreachable { what, why } => SourceError::Unreachable { what, why },
        Ec2Error::Refused { what, why } => SourceError::Refused { what, why },
        Ec2Error::Throttled { what, why } => SourceError::Throttled { what, why },
        Ec2Error::Malformed { what, why } => SourceError::Malformed { what, why },
        Ec2Error::Unconfigured { what, why } => SourceError::Unconfigured { what, why },
    }
}
