//! The instances of the security groups.

use std::collections::BTreeMap;

use hafleet_ec2::{Ec2, Ec2Error, Ec2Settings, Instance, InstanceQuery, StaticKey};

use super::args::UpdateArgs;
use super::warn_of_key;
use crate::failure::{Exit, Failure};

/// What was found, always in the same order.
#[derive(Debug)]
pub(super) struct Found {
    /// All instances by id.
    pub(super) instances: Vec<Instance>,
    /// Those of each group, by its id or name as it was asked for. An instance may be in several.
    pub(super) groups: BTreeMap<String, Vec<Instance>>,
}

/// The client of all updates.
pub(super) fn client(args: &UpdateArgs) -> Ec2 {
    let key = args.access_key.clone().zip(args.secret_key.clone());
    if key.is_some() {
        warn_of_key();
    }
    Ec2::new(Ec2Settings {
        key: key.map(|(id, secret)| StaticKey {
            id,
            secret: secret.0,
        }),
        lifecycle: args.leave_out_standby,
        ..Ec2Settings::default()
    })
}

/// Asks once, for all groups together.
pub(super) async fn instances(args: &UpdateArgs, ec2: &Ec2) -> Result<Found, Failure> {
    let query = InstanceQuery {
        security_groups: args.security_group.iter().cloned().collect(),
        regions: args.region.iter().cloned().collect(),
        ..InstanceQuery::default()
    };
    let found = ec2.instances(&query).await;
    let found = found.map_err(|error| failed(&error))?;
    let instances: Vec<_> = found.into_iter().filter(Instance::is_in_service).collect();
    let groups = args
        .security_group
        .iter()
        .map(|group| (group.clone(), members(&instances, group)))
        .collect();
    Ok(Found { instances, groups })
}

fn members(instances: &[Instance], group: &str) -> Vec<Instance> {
    let is_member = |instance: &&Instance| {
        let mut groups = instance.security_groups.iter();
        groups.any(|own| own.id == group || matches(&own.name, group))
    };
    instances.iter().filter(is_member).cloned().collect()
}

/// Whether `name` is what EC2 finds for `pattern`, in which `*` is any text and `?` any character.
fn matches(name: &str, pattern: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            let mut tails = ends.map(|at| &name[at..]);
            tails.any(|tail| matches(tail, rest.as_str()))
        }
        Some(wanted) => {
            let mut name = name.chars();
            let is_it = name
                .next()
                .is_some_and(|own| wanted == '?' || own == wanted);
            is_it && matches(name.as_str(), rest.as_str())
        }
    }
}

fn failed(error: &Ec2Error) -> Failure {
    let exit = match error {
        Ec2Error::Unreachable { .. } | Ec2Error::Throttled { .. } => Exit::Unreachable,
        Ec2Error::Refused { .. } => Exit::Refused,
        Ec2Error::Malformed { .. } => Exit::Failed,
        Ec2Error::Unconfigured { .. } => Exit::Invalid,
    };
    Failure::new(exit, format_args!("{error}; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_apart_as_ec2_does() {
        for (name, pattern, expected) in [
            ("web", "web", true),
            ("web", "we", false),
            ("web-1", "web*", true),
            ("web-1", "web-?", true),
            ("web-12", "web-?", false),
            ("a-web-b", "*web*", true),
            ("", "*", true),
        ] {
            assert_eq!(matches(name, pattern), expected, "{name} {pattern}");
        }
    }
}
