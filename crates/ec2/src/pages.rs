//! All pages of `DescribeInstances`, or none.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aws_sdk_ec2::types::{Filter, InstanceStateName};

use crate::error::Ec2Error;
use crate::instance::Instance;
use crate::place::Place;
use crate::query::Filters;
use crate::reading;

/// The instances that match all `filters`, by id.
pub(crate) async fn instances(
    place: &Place,
    filters: &Filters,
) -> Result<BTreeMap<String, Instance>, Ec2Error> {
    let mut found = BTreeMap::new();
    let take = |_: &str, instance: &aws_sdk_ec2::types::Instance| {
        let read = reading::instance(instance, &place.name.region);
        found.extend(read.map(|instance| (instance.id.clone(), instance)));
    };
    each(place, filters, take).await?;
    Ok(found)
}

/// The ids of those that match all `filters` and that are terminated by the answer's own word.
pub(crate) async fn terminated(
    place: &Place,
    filters: &Filters,
) -> Result<BTreeSet<String>, Ec2Error> {
    let mut found = BTreeSet::new();
    let take = |id: &str, instance: &aws_sdk_ec2::types::Instance| {
        let state = instance.state().and_then(|state| state.name());
        if state == Some(&InstanceStateName::Terminated) {
            found.insert(id.to_owned());
        }
    };
    each(place, filters, take).await?;
    Ok(found)
}

/// Hands each instance of all pages, with its id, to `take`.
async fn each(
    place: &Place,
    filters: &Filters,
    mut take: impl FnMut(&str, &aws_sdk_ec2::types::Instance),
) -> Result<(), Ec2Error> {
    let what = place.call("EC2 DescribeInstances");
    let filters: Vec<_> = filters
        .iter()
        .map(|(name, values)| {
            Filter::builder()
                .name(name)
                .set_values(Some(values.clone()))
                .build()
        })
        .collect();
    let mut pages = Pages::default();
    loop {
        place.turn().await;
        let page = place
            .ec2
            .describe_instances()
            .set_filters(Some(filters.clone()))
            .max_results(place.instances_a_page())
            .set_next_token(pages.token())
            .send();
        let page = Box::pin(page)
            .await
            .map_err(|error| Ec2Error::of_call(&what, &error))?;
        for reservation in page.reservations() {
            for instance in reservation.instances() {
                let Some(id) = instance.instance_id() else {
                    return Err(Ec2Error::malformed(what, "an instance has no id"));
                };
                take(id, instance);
            }
        }
        if !pages.go_on(&what, page.next_token())? {
            return Ok(());
        }
    }
}

/// Where in a row of pages one is. A page may be empty and not be the last; the last has no token.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    token: Option<String>,
    seen: HashSet<String>,
}

impl Pages {
    /// What to ask with.
    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// Takes the token of a page; whether there are more. One that came before would go round for ever.
    pub(crate) fn go_on(&mut self, what: &str, next: Option<&str>) -> Result<bool, Ec2Error> {
        let Some(next) = next.filter(|token| !token.is_empty()) else {
            return Ok(false);
        };
        if !self.seen.insert(next.to_owned()) {
            return Err(Ec2Error::malformed(
                what,
                "its pages lead back to one another",
            ));
        }
        self.token = Some(next.to_owned());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_without_a_token_and_never_go_round() {
        let mut pages = Pages::default();
        assert_eq!(pages.token(), None);
        assert_eq!(pages.go_on("EC2", Some("a")), Ok(true));
        assert_eq!(pages.token().as_deref(), Some("a"));
        assert_eq!(pages.go_on("EC2", Some("b")), Ok(true));
        assert!(matches!(
            pages.go_on("EC2", Some("a")),
            Err(Ec2Error::Malformed { .. })
        ));
        assert_eq!(pages.go_on("EC2", None), Ok(false));
        assert_eq!(pages.go_on("EC2", Some("")), Ok(false));
    }
}
