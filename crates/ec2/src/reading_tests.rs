use aws_sdk_ec2::types::{
    InstanceIpv6Address, InstanceNetworkInterface, InstanceState, Placement, Tag,
};

use super::*;

fn interface(index: i32, addresses: &[&str]) -> InstanceNetworkInterface {
    let addresses = addresses.iter().map(|address| {
        InstanceIpv6Address::builder()
            .ipv6_address(*address)
            .build()
    });
    InstanceNetworkInterface::builder()
        .attachment(
            InstanceNetworkInterfaceAttachment::builder()
                .device_index(index)
                .build(),
        )
        .set_ipv6_addresses(Some(addresses.collect()))
        .build()
}

fn group(id: &str, name: &str) -> GroupIdentifier {
    GroupIdentifier::builder()
        .group_id(id)
        .group_name(name)
        .build()
}

#[test]
fn everything_is_read_in_an_order_of_its_own() {
    let found = SdkInstance::builder()
        .instance_id("i-1")
        .private_ip_address("10.0.0.7")
        .public_ip_address("192.0.2.7")
        .vpc_id("vpc-1")
        .placement(Placement::builder().availability_zone("eu-west-1a").build())
        .network_interfaces(interface(1, &["2001:db8::9"]))
        .network_interfaces(interface(0, &["2001:db8::2", "2001:db8::1"]))
        .ipv6_address("2001:db8::1")
        .security_groups(group("sg-2", "web"))
        .security_groups(group("sg-1", "api"))
        .tags(Tag::builder().key("port").value("81").build())
        .tags(
            Tag::builder()
                .key(Instance::GROUP_TAG)
                .value("blue")
                .build(),
        )
        .build();
    let read = instance(&found, "eu-west-1").unwrap();
    assert_eq!(read.id, "i-1");
    assert_eq!(read.zone.as_deref(), Some("eu-west-1a"));
    assert_eq!(read.private_ip, Some([10, 0, 0, 7].into()));
    assert_eq!(read.public_ip, Some([192, 0, 2, 7].into()));
    let ipv6: Vec<_> = read.ipv6.iter().map(ToString::to_string).collect();
    assert_eq!(ipv6, ["2001:db8::1", "2001:db8::2", "2001:db8::9"]);
    let names: Vec<_> = read
        .security_groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    assert_eq!(names, ["api", "web"]);
    assert_eq!(read.tags["port"], "81");
    assert_eq!(read.auto_scaling_group(), Some("blue"));
    assert!(read.is_in_service());
}

#[test]
fn what_does_not_run_is_no_instance_whatever_the_filter_said() {
    let in_state = |state: InstanceStateName| {
        let state = InstanceState::builder().name(state).build();
        let found = SdkInstance::builder().instance_id("i-1").state(state);
        instance(&found.build(), "eu-west-1").is_some()
    };
    assert!(in_state(InstanceStateName::Running));
    assert!(!in_state(InstanceStateName::ShuttingDown));
    assert!(!in_state(InstanceStateName::Pending));
}
