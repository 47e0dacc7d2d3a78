//! Fleets whose agents find EC2 at a gate outside, as real ones are told: by their environment.

use std::process::Command;
use std::time::Duration;

use hafleet_tests::Fleet;
use hafleet_tests::aws::{Call, Cloud, Gate, KEY, ManyInstances, REGION};
use hafleet_tests::listed::spec_of;

/// Where moto's instances have their private addresses, of which it gives any.
const INSTANCES: &str = "10.0.0.0/8";
/// The call that each poll is, for each page.
pub(super) const POLL: &str = "DescribeInstances";

/// Starts the agents of a fleet that is prepared, and tells them that EC2 is at `gate`. They have not met yet.
pub(super) fn start(mut fleet: Fleet, gate: &Gate) -> Fleet {
    let environment = [
        ("AWS_ENDPOINT_URL", gate.endpoint()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ];
    let own = environment.map(|(name, value)| (name.to_owned(), value));
    for number in fleet.numbers() {
        let settings = fleet.node_mut(number).settings_mut();
        settings.environment.extend(own.clone());
        fleet.node(number).start_agent();
    }
    fleet
}

/// A cloud outside of a fleet, whose instances are there too: whatever address moto gives them is one of that place.
pub(super) fn cloud(fleet: &Fleet) -> Cloud {
    let ip = |words: &[&str]| {
        let mut command = Command::new("ip");
        command.args(words);
        command
    };
    let own = [
        "route", "add", "local", INSTANCES, "dev", "lo", "table", "main",
    ];
    fleet.outside().output(&mut ip(&own));
    let outside = fleet.outside_address().to_string();
    for number in fleet.numbers() {
        let way = ["route", "add", INSTANCES, "via", &outside];
        fleet.node(number).namespace().output(&mut ip(&way));
    }
    let address = fleet.outside_address().into();
    fleet.outside().run(|| Cloud::start_at(address))
}

/// Many instances outside of a fleet, behind a gate, in the form in which moto tells of one.
pub(super) fn many(fleet: &Fleet, count: usize) -> (ManyInstances, Gate) {
    let one = {
        let cloud = Cloud::start();
        let group = cloud.add_group("web");
        cloud.add(
            &group,
            &[("Name", "web"), ("port", "9000"), ("stage", "production")],
        );
        let parameters = [("Action", POLL), ("MaxResults", "1000")];
        cloud.moto().call(REGION, "ec2", &parameters)
    };
    let address = fleet.outside_address().into();
    fleet.outside().run(|| {
        let many = ManyInstances::start(count, &one);
        let gate = Gate::at(address, many.address());
        (many, gate)
    })
}

/// A spec whose servers are the instances of the group `web`, with port and weight by their tags.
pub(super) fn spec() -> String {
    let source = "ec2: { security_groups: [web], port_tag: port, weight_tag: weight }";
    spec_of(source, &[])
}

/// The polls that came through `gate` and were answered, each with the time that it took.
pub(super) fn polls(gate: &Gate) -> Vec<(Call, Duration)> {
    let calls = gate.calls().into_iter();
    calls
        .filter(|call| call.action == POLL)
        .filter_map(|call| call.answered_after.map(|after| (call, after)))
        .collect()
}
