//! Where the instances of Auto Scaling groups stand. Asked by group, not by instance: a group answers for all its
//! instances at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Ec2Error;
use crate::instance::{Instance, Lifecycle};
use crate::pages::Pages;
use crate::place::Place;

/// Names in one call, at most (Amazon EC2 Auto Scaling API Reference, `DescribeAutoScalingGroups`).
const MAX_GROUPS: usize = 50;

/// Fills in the lifecycle of the instances that carry a group's tag. One that its group does not list keeps none: the tag
/// stays on instances that were taken out of their group, and they are nobody's to set aside.
pub(crate) async fn fill_in(
    place: &Place,
    instances: &mut BTreeMap<String, Instance>,
) -> Result<(), Ec2Error> {
    let groups = instances.values().filter_map(Instance::auto_scaling_group);
    let groups: BTreeSet<_> = groups.map(str::to_owned).collect();
    let groups: Vec<_> = groups.into_iter().collect();
    for some in groups.chunks(MAX_GROUPS) {
        for (id, lifecycle) in of_groups(place, some).await? {
            if let Some(instance) = instances.get_mut(&id) {
                instance.lifecycle = Some(lifecycle);
            }
        }
    }
    Ok(())
}

async fn of_groups(place: &Place, groups: &[String]) -> Result<Vec<(String, Lifecycle)>, Ec2Error> {
    let what = place.call("Auto Scaling DescribeAutoScalingGroups");
    let mut states = Vec::new();
    let mut pages = Pages::default();
    loop {
        place.turn().await;
        let page = place
            .auto_scaling
            .describe_auto_scaling_groups()
            .set_auto_scaling_group_names(Some(groups.to_vec()))
            .set_next_token(pages.token())
            .send();
        let page = Box::pin(page)
            .await
            .map_err(|error| Ec2Error::of_call(&what, &error))?;
        for group in page.auto_scaling_groups() {
            states.extend(group.instances().iter().filter_map(|instance| {
                let state = instance.lifecycle_state()?.as_str().to_owned();
                Some((instance.instance_id()?.to_owned(), Lifecycle(state)))
            }));
        }
        if !pages.go_on(&what, page.next_token())? {
            return Ok(states);
        }
    }
}
