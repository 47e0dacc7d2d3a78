//! Instances and containers as servers, in whole fleets. What each source does by itself is tested where it is.

use std::net::SocketAddr;
use std::process::Command;

use hafleet_api::v1;
use hafleet_tests::aws::{Cloud, KEY, REGION};
use hafleet_tests::backend::Backend;
use hafleet_tests::docker::{CONTAINERS, Docker};
use hafleet_tests::listed::spec_of;
use hafleet_tests::{Fleet, can_make_namespaces};

fn ip(words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(words);
    command
}

/// A fleet whose agents find EC2 at a cloud outside, where its instances are, too.
fn cloudy() -> (Fleet, Cloud) {
    let mut fleet = Fleet::builder().prepare();
    let outside = fleet.outside_address();
    let local = [
        "route",
        "add",
        "local",
        "10.0.0.0/8",
        "dev",
        "lo",
        "table",
        "main",
    ];
    fleet.outside().output(&mut ip(&local));
    let cloud = fleet.outside().run(|| Cloud::start_at(outside.into()));
    let environment = [
        ("AWS_ENDPOINT_URL", cloud.endpoint()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    let own = environment.map(|(name, value)| (name.to_owned(), value));
    for number in fleet.numbers() {
        let way = ["route", "add", "10.0.0.0/8", "via", &outside.to_string()];
        fleet.node(number).namespace().output(&mut ip(&way));
        let settings = fleet.node_mut(number).settings_mut();
        settings.environment.extend(own.clone());
        fleet.node(number).start_agent();
    }
    fleet.wait_formed();
    (fleet, cloud)
}

/// An instance and what serves on it.
#[expect(
    clippy::expect_used,
    reason = "a test ends where its world is not as it says"
)]
fn instance(fleet: &Fleet, cloud: &Cloud, group: &str, port: u16) -> (String, Backend) {
    let (id, address) = fleet.outside().run(|| {
        let id = cloud.add(group, &[("port", &port.to_string())]);
        let address = cloud.private_ip(&id);
        (id, address)
    });
    let address = SocketAddr::new(address.parse().expect("an address"), port);
    let server = Backend::start(fleet.outside(), address, &format!("s{port}"));
    (id, server)
}

fn fails(sources: &v1::ListSourcesResponse) -> bool {
    sources
        .sources
        .iter()
        .any(|source| !source.error.is_empty())
}

#[test]
fn instances_are_servers_and_an_ec2_that_fails_takes_none_away() {
    if !can_make_namespaces() {
        return;
    }
    let (fleet, cloud) = cloudy();
    let group = fleet.outside().run(|| cloud.add_group("app"));
    let (ids, mut servers): (Vec<_>, Vec<_>) = (8101..8104)
        .map(|port| instance(&fleet, &cloud, &group, port))
        .unzip();
    fleet.apply(
        1,
        &spec_of("ec2: { security_groups: [app], port_tag: port }", &[]),
    );
    fleet.wait_served_from(&fleet.numbers(), &servers);
    servers.push(instance(&fleet, &cloud, &group, 8104).1);
    fleet.wait_served_from(&fleet.numbers(), &servers);
    fleet.outside().run(|| cloud.remove(&[&ids[0]]));
    fleet.wait_served_from(&fleet.numbers(), &servers[1..]);

    let before = fleet.endpoints(fleet.follower());
    cloud.break_down();
    fleet.wait_sources(fleet.follower(), "the error is told", fails);
    let leader = fleet.leader();
    fleet.kill_agent(leader);
    let next = fleet.leader();
    fleet.wait_sources(next, "another leader has asked", fails);
    for number in fleet.numbers() {
        fleet.assert_served_from(number, &servers[1..]);
    }
    assert_eq!(fleet.endpoints(next), before);
    cloud.mend();
    fleet.wait_sources(next, "it answers again", |sources| !fails(sources));
    assert_eq!(fleet.endpoints(next), before);
}

/// Whether the sources have so many containers of node `id`, which is not failing.
fn containers(id: &str, count: u32) -> impl Fn(&v1::ListSourcesResponse) -> bool {
    move |sources| {
        let mut own = sources.sources.iter().filter(|source| source.node_id == id);
        own.any(|source| source.found == count && source.error.is_empty())
    }
}

#[test]
fn containers_of_a_node_are_servers_of_all_and_outlive_its_agent() {
    if !can_make_namespaces() {
        return;
    }
    let mut fleet = Fleet::builder().start();
    let host = fleet.follower();
    let docker = match Docker::start(fleet.node(host).namespace()) {
        Ok(docker) => docker,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let part = format!("[docker]\nendpoint = {:?}", docker.endpoint());
    fleet.node_mut(host).settings_mut().parts.push(part);
    fleet.restart(host);
    fleet.wait_formed();
    let gateway = fleet.node(host).address().to_string();
    for number in fleet.numbers().into_iter().filter(|number| *number != host) {
        let way = ["route", "add", CONTAINERS, "via", &gateway];
        fleet.node(number).namespace().output(&mut ip(&way));
    }
    for name in ["s1", "s2"] {
        docker.run(name, &["hafleet.backend=app"]);
    }
    fleet.apply(1, &spec_of("docker: { port: 80 }", &[]));
    fleet.wait_answered_by(&fleet.numbers(), &["s1", "s2"]);
    docker.run("s3", &["hafleet.backend=app"]);
    fleet.wait_answered_by(&fleet.numbers(), &["s1", "s2", "s3"]);

    // The next leader is told of them, too; what it has not been told of yet stays.
    let (leader, before) = (fleet.leader(), fleet.endpoints(host));
    fleet.kill_agent(leader);
    let next = fleet.leader();
    let id = fleet.node(host).id().to_owned();
    fleet.wait_sources(next, "the next leader is told", containers(&id, 3));
    assert_eq!(fleet.endpoints(next), before);
    fleet.restart(leader);
    fleet.wait_formed();

    // Nobody says that they are gone when only the agent is.
    fleet.kill_agent(host);
    let leader = fleet.leader();
    docker.remove("s3");
    fleet.wait_sources(leader, "they stay servers", |sources| {
        let app = sources.backends.iter().find(|state| state.backend == "app");
        app.is_some_and(|state| state.servers == 3)
    });
    assert_eq!(fleet.endpoints(leader), before);
    fleet.restart(host);
    fleet.wait_answered_by(&fleet.numbers(), &["s1", "s2"]);
}
