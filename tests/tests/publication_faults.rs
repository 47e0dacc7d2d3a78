//! Whatever befalls the leader, its network or Route53: DNS has the nodes in service, and no write of a superseded leader is
//! ever applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_api::v1;
use hafleet_tests::aws::{Dns, KEY, Passage, Witness};
use hafleet_tests::{Fleet, can_make_namespaces, wait_for};
use rustix::process::Signal;

const ZONE: &str = "example.com";
const NAME: &str = "www.example.com";

/// The shortest lease there is.
const LEASE: Duration = Duration::from_secs(20);

/// How long anything may take here: the shortest lease runs out in it.
const PATIENCE: Duration = Duration::from_secs(50);

/// Route53 and its witness, on the host's own side of all networks.
struct Service {
    dns: Dns,
    witness: Witness,
    zone: String,
}

/// A fleet whose leader publishes there.
struct Published {
    fleet: Fleet,
    service: Arc<Service>,
}

impl Service {
    fn start() -> Arc<Self> {
        let dns = Dns::start_at([127, 0, 0, 1].into());
        let (witness, zone) = (Witness::before(&dns.endpoint()), dns.add_zone(ZONE));
        Arc::new(Self { dns, witness, zone })
    }
}

impl Published {
    /// A fleet of three that publishes one name, with `more` said of it.
    fn start(more: &str) -> Self {
        let published = Self::prepare("shop", 3, Service::start());
        published.apply(&format!("[{{zone: {ZONE}, name: {NAME}, ttl: 5s{more}}}]"));
        published.wait_published(&[1, 2, 3]);
        published
    }

    /// A fleet that publishes nothing yet.
    fn prepare(name: &str, nodes: u8, service: Arc<Service>) -> Self {
        let mut fleet = Fleet::builder().named(name).nodes(nodes).prepare();
        let address = fleet.outside_address().into();
        let door = fleet.outside().run(|| Witness::door_at(address));
        let endpoint = service.witness.open(door);
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        for number in fleet.numbers() {
            let settings = fleet.node_mut(number).settings_mut();
            settings.environment.extend(environment.clone());
            fleet.node(number).start_agent();
        }
        fleet.wait_formed();
        Self { fleet, service }
    }

    fn apply(&self, records: &str) {
        let spec = self.fleet.spec("first");
        let spec = format!(
            "{spec}dns: {{lease_ttl: {}s, records: {records}}}\n",
            LEASE.as_secs()
        );
        self.fleet.apply(1, &spec);
    }

    fn witness(&self) -> &Witness {
        &self.service.witness
    }

    /// What becomes of node `number`'s calls to Route53.
    fn set(&self, number: usize, passage: Passage) {
        let address = self.fleet.node(number).address();
        self.witness().set(address, passage);
    }

    /// All nodes but `number`.
    fn others(&self, number: usize) -> Vec<usize> {
        let mut numbers = self.fleet.numbers();
        numbers.retain(|found| *found != number);
        numbers
    }

    /// The machine of node `number` is gone: its agent and its HAProxy.
    fn lose(&self, number: usize) {
        self.fleet.kill_agent(number);
        for process in self.fleet.node(number).haproxies() {
            process.signal(Signal::KILL);
        }
    }

    /// Drains node `number`, or no longer, through the nodes `through`.
    #[track_caller]
    fn drain(&self, verb: &str, number: usize, through: &[usize]) {
        let id = self.fleet.node(number).id();
        wait_for("a node is drained", PATIENCE, || {
            let client = self.fleet.client_as("ada", through);
            let finished = client.run(&["node", verb, id]);
            match finished.code {
                Some(0) => Ok(()),
                _ => Err(finished),
            }
        });
    }

    /// Term and leader of the last write, as the zone has them.
    fn holder(&self) -> (u64, String) {
        let ownership = self.service.dns.ownership(&self.service.zone, NAME);
        let word = |name: &str| ownership.get(name).cloned().unwrap_or_default();
        (word("term").parse().unwrap_or(0), word("leader"))
    }

    /// Waits until one of the nodes `numbers` holds the name in a higher term than `term`.
    #[track_caller]
    fn wait_holder(&self, numbers: &[usize], term: u64) {
        let is_one = |id: &str| {
            let mut numbers = numbers.iter();
            numbers.any(|number| self.fleet.node(*number).id() == id)
        };
        wait_for("the next leader holds the name", PATIENCE, || {
            let (found, holder) = self.holder();
            match found > term && is_one(&holder) {
                true => Ok(()),
                false => Err(format!("{holder} in term {found}, after {term}")),
            }
        });
    }

    /// Waits until clients get exactly the nodes `numbers`.
    #[track_caller]
    fn wait_published(&self, numbers: &[usize]) {
        self.wait_published_at(NAME, numbers);
    }

    #[track_caller]
    fn wait_published_at(&self, name: &str, numbers: &[usize]) {
        let address = |number: &usize| self.fleet.node(*number).address().to_string();
        let wanted: Vec<_> = numbers.iter().map(address).collect();
        wait_for("DNS has the nodes in service", PATIENCE, || {
            let found = self.service.dns.addresses(&self.service.zone, name);
            match found == wanted {
                true => Ok(()),
                false => Err(format!("{name}: {found:?}, not {wanted:?}")),
            }
        });
    }

    /// Waits until `hafleet dns`, asked of node `number`, says `words` of what is held back.
    #[track_caller]
    fn wait_held_back(&self, number: usize, words: &str) {
        wait_for("publication says what it has to", PATIENCE, || {
            let client = self.fleet.client_of(number);
            let finished = client.run(&["dns", "--output", "json"]);
            if finished.code != Some(0) {
                return Err(finished.to_string());
            }
            let list: v1::ListDnsResponse = finished.json();
            let mut reasons = list.names.iter().flat_map(|name| &name.held_back);
            match reasons.any(|reason| reason.contains(words)) {
                true => Ok(()),
                false => Err(format!("{list:#?}")),
            }
        });
    }

    /// Waits until something of node `number`'s is held at the witness.
    #[track_caller]
    fn wait_under_way(&self, number: usize) {
        let address = self.fleet.node(number).address();
        wait_for("a write is under way", PATIENCE, || {
            match self.witness().holds(address) {
                true => Ok(()),
                false => Err("none came"),
            }
        });
    }

    /// Waits until the server has refused a batch of node `number`.
    #[track_caller]
    fn wait_refused(&self, number: usize) {
        let address = self.fleet.node(number).address();
        wait_for("the server refuses a late write", PATIENCE, || {
            let batches = self.witness().batches();
            let is_refused = batches
                .iter()
                .any(|batch| batch.from == address && !batch.is_applied);
            match is_refused {
                true => Ok(()),
                false => Err(format!("{batches:#?}")),
            }
        });
    }
}

#[test]
fn a_leader_dies_after_its_write_was_applied_and_before_it_knows() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.set(leader, Passage::AnswersHeld);
    published.drain("drain", follower, &others);
    published.wait_under_way(leader);
    published.lose(leader);
    let mut left = others.clone();
    left.retain(|number| *number != follower);
    published.wait_published(&left);
    published.wait_holder(&others, term);
    published.set(leader, Passage::Open);

    fleet.restart(leader);
    published.drain("undrain", follower, &others);
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn the_last_write_of_a_leader_that_died_comes_late_and_is_refused() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.set(leader, Passage::BatchesHeld);
    published.drain("drain", follower, &others);
    published.wait_under_way(leader);
    fleet.kill_agent(leader);
    published.wait_holder(&others, term);
    published.drain("undrain", follower, &others);
    published.wait_published(&fleet.numbers());

    // Its HAProxy serves on, so that all three are in service.
    published.set(leader, Passage::Open);
    published.wait_refused(leader);
    fleet.restart(leader);
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn a_leader_that_stood_still_in_a_write_wakes_and_does_no_harm() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.set(leader, Passage::BatchesHeld);
    published.drain("drain", follower, &others);
    published.wait_under_way(leader);
    fleet.stop(leader);
    published.wait_holder(&others, term);
    published.drain("undrain", follower, &others);
    published.wait_published(&fleet.numbers());

    // Its write comes when it wakes, and what it does then follows.
    published.set(leader, Passage::Open);
    fleet.go_on(leader);
    published.wait_refused(leader);
    fleet.wait_formed();
    published.drain("drain", follower, &others);
    let mut left = fleet.numbers();
    left.retain(|number| *number != follower);
    published.wait_published(&left);
    published.witness().assert_fenced();
}

#[test]
fn of_two_sides_that_reach_route53_the_majority_publishes() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    let (term, _) = published.holder();
    let others = published.others(leader);

    fleet.cut(leader);
    published.wait_holder(&others, term);
    published.wait_published(&others);
    published.wait_held_back(leader, "in term");

    fleet.heal(leader);
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn a_minority_that_alone_reaches_route53_publishes_itself_until_the_others_are_back() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();

    for other in published.others(leader) {
        published.set(other, Passage::Closed);
    }
    fleet.cut(leader);
    published.wait_published(&[leader]);

    fleet.heal(leader);
    for other in published.others(leader) {
        published.set(other, Passage::Open);
    }
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn a_follower_that_alone_reaches_route53_publishes_itself_only_when_the_lease_is_over() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let follower = fleet.follower();
    let (term, _) = published.holder();
    let written = Instant::now();

    for other in published.others(follower) {
        published.set(other, Passage::Closed);
    }
    fleet.cut(follower);
    published.wait_published(&[follower]);
    published.wait_holder(&[follower], term);
    let lasted = written.elapsed();
    assert!(lasted >= LEASE, "it took the name after {lasted:?}");

    fleet.heal(follower);
    for other in published.others(follower) {
        published.set(other, Passage::Open);
    }
    fleet.wait_formed();
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn what_changed_while_route53_was_away_is_published_by_who_leads_then() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start("");
    let fleet = &published.fleet;
    let leader = fleet.leader();
    let (term, _) = published.holder();
    let others = published.others(leader);

    published.witness().set_all(Passage::Closed);
    published.lose(leader);
    let next = fleet.leader_among(&others);
    published.wait_held_back(next, "does not answer");
    assert_eq!(published.holder().0, term, "nothing could be written");

    published.witness().set_all(Passage::Open);
    published.wait_holder(&others, term);
    published.wait_published(&others);
    fleet.restart(leader);
    published.wait_published(&fleet.numbers());
    published.witness().assert_fenced();
}

#[test]
fn at_one_request_a_second_many_names_follow_all_the_same() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::prepare("shop", 3, Service::start());
    let fleet = &published.fleet;
    let names: Vec<_> = (1..=6).map(|number| format!("w{number}.{ZONE}")).collect();
    let records = names
        .iter()
        .map(|name| format!("{{zone: {ZONE}, name: {name}, ttl: 5s, routing: multivalue}}"));
    let records: Vec<_> = records.collect();
    published.witness().set_rate(1);
    published.apply(&format!("[{}]", records.join(", ")));
    for name in &names {
        published.wait_published_at(name, &fleet.numbers());
    }

    let follower = fleet.follower();
    published.drain("drain", follower, &fleet.numbers());
    for name in &names {
        published.wait_published_at(name, &published.others(follower));
    }
    let batches = published.witness().batches().len();
    assert!(batches <= 12, "{batches} batches for 6 names");
    assert!(published.witness().throttled() > 0, "it was never too fast");
    published.witness().assert_fenced();
}

#[test]
fn of_two_fleets_that_claim_one_name_the_first_has_it() {
    if !can_make_namespaces() {
        return;
    }
    let service = Service::start();
    let shop = Published::prepare("shop", 3, Arc::clone(&service));
    let mall = Published::prepare("mall", 1, service);
    let records = format!("[{{zone: {ZONE}, name: {NAME}, ttl: 5s}}]");
    shop.apply(&records);
    shop.wait_published(&[1, 2, 3]);
    mall.apply(&records);
    mall.wait_held_back(1, "belongs to the fleet shop");

    // It is not the other one's either when its own leader is gone and the next one has to take it.
    let (leader, follower) = (shop.fleet.leader(), shop.fleet.follower());
    shop.fleet.kill_agent(leader);
    shop.drain("drain", follower, &shop.others(leader));
    shop.wait_published(&shop.others(follower));
    mall.wait_held_back(1, "belongs to the fleet shop");
    let batches = shop.witness().batches();
    let values = batches
        .iter()
        .flat_map(|batch| &batch.changes)
        .filter(|change| change.kind == "TXT")
        .flat_map(|change| &change.values);
    for value in values {
        assert!(value.contains(",fleet=shop,"), "{value}: {batches:#?}");
    }
    shop.witness().assert_fenced();
}

#[test]
fn when_two_of_three_die_at_once_the_last_set_stays() {
    if !can_make_namespaces() {
        return;
    }
    let published = Published::start(", min_published: 2");
    let fleet = &published.fleet;
    let (leader, survivor) = (fleet.leader(), fleet.follower());
    for lost in published.others(survivor) {
        published.lose(lost);
    }
    published.wait_held_back(survivor, "min_published");
    published.wait_published(&fleet.numbers());

    fleet.restart(leader);
    let mut both = vec![leader, survivor];
    both.sort_unstable();
    published.wait_published(&both);
    published.witness().assert_fenced();
}
