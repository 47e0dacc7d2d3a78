//! Where the addresses in DNS come from, and servers other than Route53.

use std::net::SocketAddr;
use std::time::Duration;

use hafleet_dns::rfc2136::{NameServer, UpdateKey};
use hafleet_dns::{Ownership, Provider as _, RecordData, RecordSet, RecordType};
use hafleet_tests::aws::InstanceMetadata;
use hafleet_tests::knot::{Knot, SECRET};
use hafleet_tests::published::{NAME, PATIENCE, Published, Service, ZONE};
use hafleet_tests::{Fleet, can_make_namespaces, lasting, wait_for};

#[test]
fn nodes_are_published_with_what_ec2_says_of_their_addresses() {
    if !can_make_namespaces() {
        return;
    }
    let mut published = Published::prepare("shop", 2, Service::start());
    let fleet = &mut published.fleet;
    let outside = fleet.outside_address().into();
    let door = fleet.outside().run(|| InstanceMetadata::door_at(outside));
    let metadata = InstanceMetadata::open(door);
    for number in fleet.numbers() {
        let address = fleet.node(number).address();
        metadata.tell(address, "public-ipv4", &format!("198.51.100.{number}"));
        metadata.tell(address, "local-ipv4", &format!("10.9.9.{number}"));
        if number == 1 {
            metadata.tell(address, "ipv6", "2001:db8::1");
        }
        let settings = fleet.node_mut(number).settings_mut();
        let endpoint = (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(),
            metadata.endpoint(),
        );
        settings.environment.extend([endpoint]);
        let addresses = "[addresses]\npublic = \"imds\"\nprivate = \"imds\"\nipv6 = \"imds\"";
        settings.parts.push(addresses.to_owned());
        fleet.restart(number);
    }
    fleet.wait_formed();
    let kinds = "addresses: [public, ipv6]";
    let private = "inside.example.com";
    published.apply(&format!(
        "[{{zone: {ZONE}, name: {NAME}, ttl: 5s, {kinds}}}, {{zone: {ZONE}, name: {private}, addresses: [private]}}]"
    ));
    wait_values(&published, "A", &["198.51.100.1", "198.51.100.2"]);
    wait_values(&published, "AAAA", &["2001:db8::1"]);
    let (dns, zone) = (&published.service.dns, &published.service.zone);
    assert_eq!(dns.addresses(zone, private), ["10.9.9.1", "10.9.9.2"]);

    // A public address is another one from one day to the next. It is asked for each minute.
    if lasting(Duration::ZERO, Duration::from_secs(1)) > Duration::ZERO {
        metadata.tell(
            published.fleet.node(2).address(),
            "public-ipv4",
            "198.51.100.77",
        );
        let begun = std::time::Instant::now();
        hafleet_tests::while_it_lasts(begun, Duration::from_secs(60), || {});
        wait_values(&published, "A", &["198.51.100.1", "198.51.100.77"]);
    }
}

/// Waits until the name has exactly `wanted` in its set of type `kind`.
#[track_caller]
fn wait_values(published: &Published, kind: &str, wanted: &[&str]) {
    wait_for("DNS has what EC2 says", PATIENCE, || {
        let sets = published.sets();
        let found = sets.iter().filter(|set| set.kind == kind);
        let mut found: Vec<_> = found.flat_map(|set| set.values.clone()).collect();
        found.sort();
        match found == wanted {
            true => Ok(()),
            false => Err(format!("{sets:#?}")),
        }
    });
}

/// A fleet that publishes in a name server by dynamic updates.
struct Updating {
    fleet: Fleet,
    server: SocketAddr,
    /// Goes before the network that it is in.
    _knot: Knot,
}

impl Updating {
    fn start() -> Self {
        let mut fleet = Fleet::builder().prepare();
        let outside = fleet.outside_address();
        let knot = fleet.outside().run(|| Knot::start_at(outside));
        for number in fleet.numbers() {
            let secret = fleet.scratch().file("key", SECRET);
            let settings = fleet.node_mut(number).settings_mut();
            let key = format!("[dns_keys.fleet]\nsecret_file = {secret:?}");
            settings.parts.push(key);
            fleet.node(number).start_agent();
        }
        fleet.wait_formed();
        let server = knot.address();
        let provider = format!("provider: {{rfc2136: {{server: \"{server}\", key: fleet}}}}");
        let spec = fleet.spec("first")
            + &format!("dns: {{records: [{{zone: {ZONE}, name: {NAME}, ttl: 5s, {provider}}}]}}\n");
        fleet.apply(1, &spec);
        Self {
            fleet,
            server,
            _knot: knot,
        }
    }

    /// All that the zone has, transferred.
    #[allow(clippy::expect_used, reason = "a helper of a test may end it")]
    fn records(&self) -> Vec<RecordSet> {
        let server = self.server;
        self.fleet.outside().run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let key = UpdateKey::new("fleet", "hmac-sha256", SECRET).expect("a key");
                let server = NameServer::new(server, ZONE, Some(key)).expect("a server");
                server.records().await.unwrap_or_default()
            })
        })
    }

    /// Waits until the name has the nodes `numbers`, and says who wrote that.
    #[track_caller]
    fn wait_published(&self, numbers: &[usize]) -> Ownership {
        let address = |number: &usize| self.fleet.node(*number).address().to_string();
        let wanted: Vec<_> = numbers.iter().map(address).collect();
        wait_for("the server has the nodes in service", PATIENCE, || {
            let records = self.records();
            let of = |name: &str, kind| {
                let mut records = records.iter();
                let set = records.find(|set| set.key.name == name && set.key.record_type == kind);
                match set.map(|set| &set.data) {
                    Some(RecordData::Values { values, .. }) => values.iter().cloned().collect(),
                    _ => Vec::new(),
                }
            };
            let owner = of(&Ownership::record_name(NAME), RecordType::Txt);
            let owner = owner.first().map(|text| text.trim_matches('"').parse());
            match (of(NAME, RecordType::A) == wanted, owner) {
                (true, Some(Ok(owner))) => Ok(owner),
                _ => Err(format!("not {wanted:?}: {records:#?}")),
            }
        })
    }
}

#[test]
fn names_in_a_name_server_follow_the_nodes_by_dynamic_updates() {
    if !can_make_namespaces() {
        return;
    }
    let updating = Updating::start();
    let fleet = &updating.fleet;
    let first = updating.wait_published(&[1, 2, 3]);
    let (leader, follower) = (fleet.leader(), fleet.follower());
    assert_eq!(first.leader.as_str(), fleet.node(leader).id());

    let id = fleet.node(follower).id().to_owned();
    fleet.client().run(&["node", "drain", &id]).expect_code(0);
    let mut others = fleet.numbers();
    others.retain(|number| *number != follower);
    let second = updating.wait_published(&others);
    assert!(second.sequence > first.sequence, "{second} after {first}");

    fleet.kill_agent(leader);
    for process in fleet.node(leader).haproxies() {
        process.signal(rustix::process::Signal::KILL);
    }
    others.retain(|number| *number != leader);
    let last = updating.wait_published(&others);
    assert!(last.term > second.term, "{last} after {second}");
    assert_ne!(last.leader, second.leader);
    let table = fleet.client_of(follower).run(&["dns"]).expect_code(0);
    assert!(table.stdout.contains("as wanted"), "{table}");
}
