//! moto behind a gate, and the few words that most tests need.

use std::net::{IpAddr, Ipv4Addr};

use super::gate::{Fault, Gate};
use super::moto::{Moto, texts};

/// The region of calls that say none.
pub const REGION: &str = "eu-west-1";

/// An image that moto has in every region.
const IMAGE: &str = "ami-12c6146b";

/// EC2 and Auto Scaling of a test's own, at [`Cloud::endpoint`]. What tests do to it goes past the gate.
#[derive(Debug)]
pub struct Cloud {
    moto: Moto,
    gate: Gate,
}

impl Cloud {
    /// Starts one that has no instances.
    ///
    /// # Panics
    /// When moto does not start.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into())
    }

    /// The same, to be reached at `address`.
    ///
    /// # Panics
    /// When moto does not start, or that is no address of this place.
    pub fn start_at(address: IpAddr) -> Self {
        let moto = Moto::start();
        let gate = Gate::at(address, moto.address());
        Self { moto, gate }
    }

    /// What `AWS_ENDPOINT_URL` should be.
    pub fn endpoint(&self) -> String {
        self.gate.endpoint()
    }

    /// What fails, and what was called.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// moto itself, for calls that have no word here.
    pub fn moto(&self) -> &Moto {
        &self.moto
    }

    /// From now on nothing is reached.
    pub fn break_down(&self) {
        self.gate.set(Fault::Down);
    }

    /// From now on all is well.
    pub fn mend(&self) {
        self.gate.set(Fault::None);
    }

    /// Makes a security group; its id.
    pub fn add_group(&self, name: &str) -> String {
        self.add_group_in(REGION, name)
    }

    /// The same in another region.
    pub fn add_group_in(&self, region: &str, name: &str) -> String {
        let parameters = [
            ("Action", "CreateSecurityGroup"),
            ("GroupName", name),
            ("GroupDescription", name),
        ];
        one(&self.moto.call(region, "ec2", &parameters), "groupId")
    }

    /// Starts an instance in the security group `group` (its id), with tags; its id.
    pub fn add(&self, group: &str, tags: &[(&str, &str)]) -> String {
        self.add_in(REGION, group, tags)
    }

    /// The same in another region.
    pub fn add_in(&self, region: &str, group: &str, tags: &[(&str, &str)]) -> String {
        let zone = format!("{region}a");
        let mut parameters = vec![
            ("Action".to_owned(), "RunInstances".to_owned()),
            ("ImageId".to_owned(), IMAGE.to_owned()),
            ("MinCount".to_owned(), "1".to_owned()),
            ("MaxCount".to_owned(), "1".to_owned()),
            ("SecurityGroupId.1".to_owned(), group.to_owned()),
            ("Placement.AvailabilityZone".to_owned(), zone),
        ];
        if !tags.is_empty() {
            let instance = "instance".to_owned();
            parameters.push(("TagSpecification.1.ResourceType".to_owned(), instance));
        }
        for (number, (name, value)) in (1..).zip(tags) {
            let tag = format!("TagSpecification.1.Tag.{number}");
            parameters.push((format!("{tag}.Key"), (*name).to_owned()));
            parameters.push((format!("{tag}.Value"), (*value).to_owned()));
        }
        one(&self.call(region, "ec2", &parameters), "instanceId")
    }

    /// Terminates instances.
    pub fn remove(&self, ids: &[&str]) {
        self.on_instances("TerminateInstances", ids);
    }

    /// Stops instances: they are there, and not running.
    pub fn stop(&self, ids: &[&str]) {
        self.on_instances("StopInstances", ids);
    }

    /// Gives an instance a tag, or another value of it.
    pub fn change(&self, id: &str, tag: &str, value: &str) {
        let parameters = [
            ("Action", "CreateTags"),
            ("ResourceId.1", id),
            ("Tag.1.Key", tag),
            ("Tag.1.Value", value),
        ];
        self.moto.call(REGION, "ec2", &parameters);
    }

    /// The private address of an instance.
    pub fn private_ip(&self, id: &str) -> String {
        let parameters = [("Action", "DescribeInstances"), ("InstanceId.1", id)];
        one(
            &self.moto.call(REGION, "ec2", &parameters),
            "privateIpAddress",
        )
    }

    /// Makes an Auto Scaling group of so many instances, in a security group of the same name; their ids.
    pub fn add_auto_scaling_group(&self, name: &str, instances: u32) -> Vec<String> {
        let size = instances.to_string();
        let security_group = self.add_group(name);
        let launch = [
            ("Action", "CreateLaunchConfiguration"),
            ("LaunchConfigurationName", name),
            ("ImageId", IMAGE),
            ("InstanceType", "t2.micro"),
            ("SecurityGroups.member.1", &security_group),
        ];
        self.moto.call(REGION, "autoscaling", &launch);
        let zone = format!("{REGION}a");
        let group = [
            ("Action", "CreateAutoScalingGroup"),
            ("AutoScalingGroupName", name),
            ("LaunchConfigurationName", name),
            ("MinSize", "0"),
            ("MaxSize", &size),
            ("DesiredCapacity", &size),
            ("AvailabilityZones.member.1", &zone),
        ];
        self.moto.call(REGION, "autoscaling", &group);
        let parameters = [
            ("Action", "DescribeAutoScalingGroups"),
            ("AutoScalingGroupNames.member.1", name),
        ];
        texts(
            &self.moto.call(REGION, "autoscaling", &parameters),
            "InstanceId",
        )
    }

    /// Puts an instance of an Auto Scaling group in Standby.
    pub fn set_aside(&self, group: &str, id: &str) {
        let parameters = [
            ("Action", "EnterStandby"),
            ("AutoScalingGroupName", group),
            ("InstanceIds.member.1", id),
            ("ShouldDecrementDesiredCapacity", "true"),
        ];
        self.moto.call(REGION, "autoscaling", &parameters);
    }

    /// A role of another account, by its ARN, and an instance that runs there in the group `default`, by its id.
    pub fn add_account(&self, number: &str) -> (String, String) {
        let role = format!("arn:aws:iam::{number}:role/hafleet");
        let assume = [
            ("Action", "AssumeRole"),
            ("RoleArn", role.as_str()),
            ("RoleSessionName", "test"),
        ];
        let key = one(&self.moto.call(REGION, "sts", &assume), "AccessKeyId");
        let run = [
            ("Action", "RunInstances"),
            ("ImageId", IMAGE),
            ("MinCount", "1"),
            ("MaxCount", "1"),
        ];
        let started = self.moto.call_as(&key, REGION, "ec2", &run);
        (role, one(&started, "instanceId"))
    }

    fn on_instances(&self, action: &str, ids: &[&str]) {
        let mut parameters = vec![("Action".to_owned(), action.to_owned())];
        let numbered = (1..).zip(ids);
        parameters.extend(
            numbered.map(|(number, id)| (format!("InstanceId.{number}"), (*id).to_owned())),
        );
        self.call(REGION, "ec2", &parameters);
    }

    fn call(&self, region: &str, service: &str, parameters: &[(String, String)]) -> String {
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.moto.call(region, service, &parameters)
    }
}

/// The text of the first element `name`.
fn one(xml: &str, name: &str) -> String {
    let mut found = texts(xml, name).into_iter();
    found.next().unwrap_or_else(|| panic!("no {name} in {xml}"))
}
