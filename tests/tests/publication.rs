//! Names in DNS follow the nodes in service, whoever dies, and nothing of others is touched.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use hafleet_api::v1;
use hafleet_api::v1::dns_node::Standing;
use hafleet_tests::aws::{Dns, KEY};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};
use rustix::process::Signal;

const ZONE: &str = "example.com";
const NAME: &str = "www.example.com";

/// A fleet whose leader publishes.
struct Published {
    /// Goes before the network that it is in.
    dns: Dns,
    fleet: Fleet,
    /// The zone's id.
    zone: String,
}

impl Published {
    /// A fleet of three that publishes one name, with `more` said of it.
    fn start(more: &str) -> Self {
        let published = Self::prepare();
        published.apply(more);
        published.wait_published(&[1, 2, 3]);
        published
    }

    /// The same before it has a spec.
    fn prepare() -> Self {
        let mut fleet = Fleet::builder().prepare();
        let outside = fleet.outside_address();
        let (dns, zone) = fleet.outside().run(|| {
            let dns = Dns::start_at(outside.into());
            let zone = dns.add_zone(ZONE);
            (dns, zone)
        });
        let environment = [
            ("AWS_ENDPOINT_URL", dns.endpoint()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        for number in fleet.numbers() {
            link(&fleet, number);
            let binary = binary(&fleet, number);
            let settings = fleet.node_mut(number).settings_mut();
            settings.haproxy.push(format!("binary = {binary:?}"));
            settings.environment.extend(environment.clone());
            fleet.node(number).start_agent();
        }
        fleet.wait_formed();
        Self { dns, fleet, zone }
    }

    fn apply(&self, more: &str) {
        let spec = self.fleet.spec("first");
        let record = format!("{{zone: {ZONE}, name: {NAME}, ttl: 5s{more}}}");
        let spec = format!("{spec}dns: {{records: [{record}]}}\n");
        self.fleet.apply(1, &spec);
    }

    /// The addresses that clients get.
    fn addresses(&self) -> Vec<String> {
        let (dns, zone) = (&self.dns, &self.zone);
        self.fleet.outside().run(|| dns.addresses(zone, NAME))
    }

    fn term(&self) -> (u64, String) {
        let (dns, zone) = (&self.dns, &self.zone);
        let ownership = self.fleet.outside().run(|| dns.ownership(zone, NAME));
        let word = |name: &str| ownership.get(name).cloned().unwrap_or_default();
        (word("term").parse().unwrap_or(0), word("leader"))
    }

    /// Waits until clients get exactly the nodes `numbers`.
    #[track_caller]
    fn wait_published(&self, numbers: &[usize]) {
        let address = |number: &usize| self.fleet.node(*number).address().to_string();
        let mut wanted: Vec<_> = numbers.iter().map(address).collect();
        wanted.sort();
        wait_for("DNS has the nodes in service", PATIENCE, || {
            let found = self.addresses();
            match found == wanted {
                true => Ok(()),
                false => Err(format!("{found:?}, not {wanted:?}: {}", self.table())),
            }
        });
    }

    /// Waits until `hafleet dns`, asked of node `number`, satisfies `condition`.
    #[track_caller]
    fn wait_list(
        &self,
        number: usize,
        condition: impl Fn(&v1::ListDnsResponse) -> bool,
    ) -> v1::ListDnsResponse {
        wait_for("publication says what it has to", PATIENCE, || {
            let finished = self
                .fleet
                .client_of(number)
                .run(&["dns", "--output", "json"]);
            if finished.code != Some(0) {
                return Err(finished.to_string());
            }
            let list: v1::ListDnsResponse = finished.json();
            match condition(&list) {
                true => Ok(list),
                false => Err(format!("{list:#?}")),
            }
        })
    }

    fn table(&self) -> String {
        self.fleet.client().run(&["dns"]).to_string()
    }

    /// No HAProxy runs on node `number`, and none can be started until [`Published::mend_haproxy`].
    fn break_haproxy(&self, number: usize) {
        let _ = std::fs::remove_file(binary(&self.fleet, number));
        for process in self.fleet.node(number).haproxies() {
            process.signal(Signal::KILL);
        }
    }

    fn mend_haproxy(&self, number: usize) {
        link(&self.fleet, number);
    }
}

/// Where the agent of node `number` finds HAProxy's program.
fn binary(fleet: &Fleet, number: usize) -> PathBuf {
    fleet.node(number).settings().home.join("haproxy")
}

/// Puts HAProxy's program there.
fn link(fleet: &Fleet, number: usize) {
    let linked = symlink("/usr/sbin/haproxy", binary(fleet, number));
    assert!(linked.is_ok(), "{linked:?}");
}

fn standing(list: &v1::ListDnsResponse, id: &str) -> Standing {
    let node = list.nodes.iter().find(|node| node.id == id);
    node.map_or(Standing::Unspecified, v1::DnsNode::standing)
}

/// All that is held back of all names.
fn held_back(list: &v1::ListDnsResponse) -> String {
    let why = list.names.iter().flat_map(|name| name.held_back.clone());
    why.collect::<Vec<_>>().join("; ")
}

#[test]
fn names_follow_the_nodes_that_serve() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let follower = fleet.follower();
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != follower)
        .collect();

    // Without its HAProxy it is of no use to clients, though its agent is well.
    published.break_haproxy(follower);
    published.wait_published(&others);
    published.mend_haproxy(follower);
    published.wait_published(&fleet.numbers());

    // With HAProxy, and drained.
    let id = fleet.node(follower).id().to_owned();
    fleet.client().run(&["node", "drain", &id]).expect_code(0);
    published.wait_published(&others);
    fleet.client().run(&["node", "undrain", &id]).expect_code(0);
    published.wait_published(&fleet.numbers());

    let list = published.wait_list(follower, |list| {
        let is_in_sync =
            |name: &v1::DnsName| name.in_sync_at.is_some() && name.changed_at.is_some();
        list.names.iter().all(is_in_sync) && list.nodes.len() == 3
    });
    assert_eq!(list.leader, fleet.node(fleet.leader()).id());
    assert_eq!(held_back(&list), "");
    assert_eq!(list.names[0].nodes, ["n1", "n2", "n3"]);
    let table = fleet.client().run(&["dns"]).expect_code(0);
    for words in [NAME, "as wanted", "in sync", "in service"] {
        assert!(table.stdout.contains(words), "{words:?} is not in {table}");
    }
    let plan = fleet.client().run(&["dns", "plan"]).expect_code(0);
    assert!(plan.stdout.contains("nothing would change"), "{plan}");
}

#[test]
fn a_node_that_is_gone_leaves_and_one_that_only_lost_its_agent_stays() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let id = fleet.node(follower).id().to_owned();

    // Its HAProxy serves on, which the leader sees for itself.
    fleet.kill_agent(follower);
    let list = published.wait_list(leader, |list| standing(list, &id) == Standing::Doubtful);
    assert!(list.names[0].nodes.contains(&id), "{list:#?}");
    assert_eq!(published.addresses().len(), 3);

    for process in fleet.node(follower).haproxies() {
        process.signal(Signal::KILL);
    }
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != follower)
        .collect();
    published.wait_published(&others);
    let list = published.wait_list(leader, |list| standing(list, &id) == Standing::Out);
    assert_eq!(held_back(&list), "");

    fleet.restart(follower);
    published.wait_published(&fleet.numbers());
}

#[test]
fn the_next_leader_goes_on_in_a_higher_term() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    let (term, holder) = published.term();
    assert_eq!(holder, fleet.node(leader).id());

    fleet.kill_agent(leader);
    for process in fleet.node(leader).haproxies() {
        process.signal(Signal::KILL);
    }
    let others: Vec<_> = fleet
        .numbers()
        .into_iter()
        .filter(|number| *number != leader)
        .collect();
    published.wait_published(&others);
    let next = fleet.leader_among(&others);
    wait_for("the next leader holds the name", PATIENCE, || {
        let (found, holder) = published.term();
        match found > term && holder == fleet.node(next).id() {
            true => Ok(()),
            false => Err(format!("{holder} in term {found}, after {term}")),
        }
    });
    fleet.restart(leader);
    published.wait_published(&fleet.numbers());
}

#[test]
fn what_others_made_is_not_touched_until_it_is_adopted() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::prepare();
    let fleet = &published.fleet;
    let (dns, zone) = (&published.dns, &published.zone);
    let other = "mail.example.com";
    fleet.outside().run(|| {
        dns.add(zone, NAME, "192.0.2.1");
        dns.add(zone, other, "192.0.2.2");
    });
    published.apply("");
    let list = published.wait_list(2, |list| held_back(list).contains("dns adopt"));
    assert_eq!(list.names[0].name, NAME);
    assert_eq!(published.addresses(), ["192.0.2.1"]);
    assert_eq!(published.term().0, 0, "there is no record of ownership");

    // Any agent takes it to the leader, and only for administrators.
    fleet.authority().person("eve", "operator");
    let denied = fleet.client_as("eve", &[1]).run(&["dns", "adopt", NAME]);
    assert_ne!(denied.code, Some(0), "{denied}");
    for number in fleet.numbers() {
        let adopted = fleet.client_of(number).run(&["dns", "adopt", NAME]);
        adopted.expect_code(0);
    }
    published.wait_published(&fleet.numbers());

    let released = fleet.client_of(3).run(&["dns", "release"]).expect_code(0);
    assert!(released.stdout.contains(NAME), "{released}");
    published.wait_published(&[]);
    let left = fleet.outside().run(|| dns.sets(zone));
    let left: Vec<_> = left.into_iter().map(|set| set.name).collect();
    assert_eq!(
        left,
        [format!("{other}.")],
        "only the others' record is left"
    );
}

#[test]
fn fewer_than_are_needed_are_never_published() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start(", min_published: 2");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    for number in fleet.numbers() {
        if number != leader {
            fleet.kill_agent(number);
            published.break_haproxy(number);
        }
    }
    let list = published.wait_list(leader, |list| held_back(list).contains("min_published"));
    // The first of them to die may have left before the second did.
    let stay = list.names[0].nodes.len();
    assert!(stay >= 2, "{list:#?}");
    assert_eq!(published.addresses().len(), stay);
    assert!(!list.has_majority);

    // One of them is enough.
    let back = fleet.numbers().into_iter().find(|number| *number != leader);
    let back = back.expect("three have another one");
    published.mend_haproxy(back);
    fleet.restart(back);
    let mut both = vec![leader, back];
    both.sort_unstable();
    published.wait_published(&both);
}

#[test]
fn what_changed_while_route53_was_away_is_published_when_it_is_back() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start(", routing: weighted");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    published.dns.break_down();
    let id = fleet.node(follower).id().to_owned();
    fleet.client().run(&["node", "drain", &id]).expect_code(0);
    published.wait_list(leader, |list| held_back(list).contains("does not answer"));
    published.dns.mend();
    // Where there are weights, a drained node has none of it.
    wait_for("the drained node weighs nothing", PATIENCE, || {
        let (dns, zone) = (&published.dns, &published.zone);
        let sets = fleet.outside().run(|| dns.sets(zone));
        let set = sets.iter().find(|set| set.identifier.ends_with(&id));
        match set.map(|set| set.weight) {
            Some(Some(0)) => Ok(()),
            _ => Err(format!("{sets:#?}")),
        }
    });
    assert_eq!(published.addresses().len(), 3);
}

/// Drains a follower of a fleet that publishes with `more` and waits until it can be stopped.
#[track_caller]
fn assert_drain_outlasts_resolvers(more: &str) {
    let published = Published::start(more);
    let fleet = &published.fleet;
    let follower = fleet.follower();
    let id = fleet.node(follower).id().to_owned();
    for _ in 0..2 {
        let words = ["node", "drain", &id, "--wait", "80s"];
        let drained = fleet.client().run(&words).expect_code(0);
        // The TTL of the name, from when all name servers are without the node.
        assert!(drained.took >= Duration::from_secs(5), "{drained}");
        for words in ["may keep it for", "is out of DNS; no connections are left"] {
            assert!(
                drained.stderr.contains(words),
                "{words:?} is not in {drained}"
            );
        }
        let list = published.wait_list(follower, |_| true);
        assert!(!list.names[0].nodes.contains(&id), "{list:#?}");
        assert!(list.names[0].in_sync_at.is_some(), "{list:#?}");
    }
}

#[test]
fn a_drain_outlasts_what_resolvers_keep() {
    if !can_make_namespaces() {
        return;
    }
    assert_drain_outlasts_resolvers("");
}

#[test]
fn a_drain_outlasts_what_resolvers_keep_of_a_weight() {
    if !can_make_namespaces() {
        return;
    }
    assert_drain_outlasts_resolvers(", routing: weighted");
}

#[test]
fn a_node_that_cannot_leave_its_names_is_not_said_to_be_safe_to_stop() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start(", min_published: 3");
    let fleet = &published.fleet;
    let id = fleet.node(fleet.follower()).id().to_owned();
    let words = ["node", "drain", &id, "--wait", "8s"];
    let late = fleet.client().run(&words).expect_code(4);
    late.expect_complaint(&["is in DNS", NAME, "min_published"]);
    published.wait_published(&fleet.numbers());
}
