//! Which instances: a question, and the filters of `DescribeInstances` that it comes down to.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Ec2Error;
use crate::instance::Instance;

/// Values in one filter, at most (Amazon EC2 API Reference, `DescribeInstances`).
const MAX_VALUES: usize = 200;

/// What an instance has to match: all that is given, and of each list any one. Only running instances are found.
/// In all values `*` stands for any text and `?` for any character, as EC2 has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceQuery {
    /// Ids (`sg-…`) and names of security groups, mixed as you like; any one of them.
    pub security_groups: BTreeSet<String>,
    /// Tags and their values.
    pub tags: BTreeMap<String, String>,
    /// Auto Scaling groups by name.
    pub auto_scaling_groups: BTreeSet<String>,
    /// A VPC by id.
    pub vpc: Option<String>,
    /// Other filters of `DescribeInstances`.
    pub filters: BTreeMap<String, BTreeSet<String>>,
    /// Regions, each asked for itself. None: the settings' or the environment's.
    pub regions: BTreeSet<String>,
    /// ARNs of roles, each asked as. None: the client's own credentials.
    pub roles: BTreeSet<String>,
}

/// Filters of one call: names, and values of which any one has to match.
pub(crate) type Filters = BTreeMap<String, Vec<String>>;

impl InstanceQuery {
    /// The calls that it takes; what matches any of them matches the query. EC2 wants all filters of a call to match, so
    /// that ids and names of security groups cannot be in one; and it takes so many values in each.
    ///
    /// # Errors
    /// When EC2 has no filters that would say it.
    pub(crate) fn calls(&self) -> Result<Vec<Filters>, Ec2Error> {
        let mut common = Filters::new();
        let state = "instance-state-name";
        if self.filters.contains_key(state) {
            return Err(Ec2Error::unconfigured(
                "the filter instance-state-name",
                "only running instances are taken: leave it out",
            ));
        }
        common.insert(state.to_owned(), vec!["running".to_owned()]);
        for (tag, value) in &self.tags {
            common.insert(format!("tag:{tag}"), vec![value.clone()]);
        }
        if !self.auto_scaling_groups.is_empty() {
            let name = format!("tag:{}", Instance::GROUP_TAG);
            common.insert(name, self.auto_scaling_groups.iter().cloned().collect());
        }
        common.extend(
            self.vpc
                .iter()
                .map(|vpc| ("vpc-id".to_owned(), vec![vpc.clone()])),
        );
        for (name, values) in &self.filters {
            let values = values.iter().cloned().collect();
            if common.insert(name.clone(), values).is_some() {
                return Err(Ec2Error::unconfigured(
                    format!("the filter {name}"),
                    "it is given twice, and EC2 takes it once",
                ));
            }
        }
        if let Some((name, _)) = common.iter().find(|(_, values)| values.len() > MAX_VALUES) {
            return Err(Ec2Error::unconfigured(
                format!("the filter {name}"),
                format!("it has more than {MAX_VALUES} values, the most that EC2 takes"),
            ));
        }
        Ok(self.by_group(&common))
    }

    /// The calls that find which of the instances `ids` are terminated. As filters, since EC2 refuses a call that names an
    /// id that it does not know.
    pub(crate) fn of_terminated(ids: &BTreeSet<String>) -> Vec<Filters> {
        let ids: Vec<_> = ids.iter().cloned().collect();
        let call = |ids: &[String]| {
            Filters::from([
                ("instance-id".to_owned(), ids.to_vec()),
                (
                    "instance-state-name".to_owned(),
                    vec!["terminated".to_owned()],
                ),
            ])
        };
        ids.chunks(MAX_VALUES).map(call).collect()
    }

    fn by_group(&self, common: &Filters) -> Vec<Filters> {
        if self.security_groups.is_empty() {
            return vec![common.clone()];
        }
        // No name of a group begins like an id (CreateSecurityGroup: "can't start with sg-").
        let groups = self.security_groups.iter().cloned();
        let (ids, names): (Vec<_>, Vec<_>) = groups.partition(|group| group.starts_with("sg-"));
        let mut calls = Vec::new();
        for (filter, groups) in [("instance.group-id", ids), ("instance.group-name", names)] {
            for some in groups.chunks(MAX_VALUES) {
                let mut call = common.clone();
                call.insert(filter.to_owned(), some.to_vec());
                calls.push(call);
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(groups: &[&str]) -> InstanceQuery {
        InstanceQuery {
            security_groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..InstanceQuery::default()
        }
    }

    #[test]
    fn without_anything_all_running_instances_are_meant() {
        let calls = query(&[]).calls().unwrap();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0]["instance-state-name"], ["running"]);
        assert_eq!(calls[0].len(), 1);
    }

    #[test]
    fn ids_and_names_of_groups_are_asked_for_apart_with_all_else_in_common() {
        let mixed = InstanceQuery {
            tags: [("role".to_owned(), "web".to_owned())].into(),
            auto_scaling_groups: ["blue".to_owned()].into(),
            vpc: Some("vpc-1".into()),
            filters: [("instance-type".to_owned(), ["m5.large".to_owned()].into())].into(),
            ..query(&["web", "sg-1", "api"])
        };
        let calls = mixed.calls().unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0]["instance.group-id"], ["sg-1"]);
        assert_eq!(calls[1]["instance.group-name"], ["api", "web"]);
        for call in calls {
            assert_eq!(call["tag:role"], ["web"]);
            assert_eq!(call["tag:aws:autoscaling:groupName"], ["blue"]);
            assert_eq!(call["vpc-id"], ["vpc-1"]);
            assert_eq!(call["instance-type"], ["m5.large"]);
        }
    }

    #[test]
    fn more_groups_than_a_filter_takes_are_asked_for_in_turns() {
        let groups: Vec<_> = (0..201).map(|number| format!("sg-{number}")).collect();
        let groups: Vec<_> = groups.iter().map(String::as_str).collect();
        let calls = query(&groups).calls().unwrap();
        let sizes: Vec<_> = calls
            .iter()
            .map(|call| call["instance.group-id"].len())
            .collect();
        assert_eq!(sizes, [200, 1]);
    }

    #[test]
    fn what_filters_cannot_say_is_refused() {
        let with = |name: &str, values: BTreeSet<String>| InstanceQuery {
            filters: [(name.to_owned(), values)].into(),
            vpc: Some("vpc-1".into()),
            ..query(&[])
        };
        let many = (0..201).map(|number| number.to_string()).collect();
        for (query, word) in [
            (with("instance-state-name", BTreeSet::new()), "running"),
            (with("vpc-id", BTreeSet::new()), "twice"),
            (with("image-id", many), "200"),
        ] {
            let error = query.calls().unwrap_err();
            assert!(matches!(error, Ec2Error::Unconfigured { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
