//! A fleet that publishes names in Route53, past a witness.

use std::sync::Arc;
use std::time::Duration;

use hafleet_api::v1;
use rustix::process::Signal;

use crate::agent::Settings;
use crate::aws::{Dns, KEY, Passage, Set, Witness};
use crate::{Fleet, wait_for};

/// The zone's name.
pub const ZONE: &str = "example.com";
/// The name that is published.
pub const NAME: &str = "www.example.com";

/// The shortest lease there is.
pub const LEASE: Duration = Duration::from_secs(20);

/// How long anything may take here: the shortest lease runs out in it.
pub const PATIENCE: Duration = Duration::from_secs(50);

/// Route53 and its witness, on the host's own side of all networks.
pub struct Service {
    /// Route53 itself.
    pub dns: Dns,
    /// What stands before it.
    pub witness: Witness,
    /// The id of the zone.
    pub zone: String,
}

/// A fleet whose leader publishes there.
pub struct Published {
    /// The fleet.
    pub fleet: Fleet,
    /// Where it publishes.
    pub service: Arc<Service>,
}

impl Service {
    /// One with the zone [`ZONE`].
    pub fn start() -> Arc<Self> {
        let dns = Dns::start_at([127, 0, 0, 1].into());
        let (witness, zone) = (Witness::before(&dns.endpoint()), dns.add_zone(ZONE));
        Arc::new(Self { dns, witness, zone })
    }
}

impl Published {
    /// A fleet of three that publishes one name, with `more` said of it.
    pub fn start(more: &str) -> Self {
        let published = Self::prepare("shop", 3, Service::start());
        published.apply(&format!("[{{zone: {ZONE}, name: {NAME}, ttl: 5s{more}}}]"));
        published.wait_published(&[1, 2, 3]);
        published
    }

    /// A fleet that publishes nothing yet.
    pub fn prepare(name: &str, nodes: u8, service: Arc<Service>) -> Self {
        Self::prepare_with(name, nodes, service, |_, _| {})
    }

    /// The same, with what `adjust` makes of each node's settings.
    pub fn prepare_with(
        name: &str,
        nodes: u8,
        service: Arc<Service>,
        adjust: impl Fn(usize, &mut Settings),
    ) -> Self {
        let mut fleet = Fleet::builder().named(name).nodes(nodes).prepare();
        let address = fleet.outside_address().into();
        let door = fleet.outside().run(|| Witness::door_at(address));
        let endpoint = service.witness.open(door);
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        for number in fleet.numbers() {
            let settings = fleet.node_mut(number).settings_mut();
            settings.environment.extend(environment.clone());
            adjust(number, settings);
            fleet.node(number).start_agent();
        }
        fleet.wait_formed();
        Self { fleet, service }
    }

    /// Has the fleet publish `records`.
    pub fn apply(&self, records: &str) {
        let spec = self.fleet.spec("first");
        let spec = format!(
            "{spec}dns: {{lease_ttl: {}s, records: {records}}}\n",
            LEASE.as_secs()
        );
        self.fleet.apply(1, &spec);
    }

    /// What stands before Route53.
    pub fn witness(&self) -> &Witness {
        &self.service.witness
    }

    /// What becomes of node `number`'s calls to Route53.
    pub fn set(&self, number: usize, passage: Passage) {
        let address = self.fleet.node(number).address();
        self.witness().set(address, passage);
    }

    /// All nodes but `number`.
    pub fn others(&self, number: usize) -> Vec<usize> {
        let mut numbers = self.fleet.numbers();
        numbers.retain(|found| *found != number);
        numbers
    }

    /// The machine of node `number` is gone: its agent and its HAProxy.
    pub fn lose(&self, number: usize) {
        self.fleet.kill_agent(number);
        for process in self.fleet.node(number).haproxies() {
            process.signal(Signal::KILL);
        }
    }

    /// Drains node `number`, or no longer, through the nodes `through`.
    #[track_caller]
    pub fn drain(&self, verb: &str, number: usize, through: &[usize]) {
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

    /// Waits until node `number` says in its status why it is unfit to lead, in words that contain `words`.
    #[track_caller]
    pub fn wait_unfit(&self, number: usize, words: &str) {
        let id = self.fleet.node(number).id();
        wait_for("a node says why it does not lead", PATIENCE, || {
            let status = self.fleet.status_of(number)?;
            let mut nodes = status.nodes.iter();
            let unfit = nodes.find(|node| node.id == id).map(|node| &node.unfit);
            match unfit {
                Some(unfit) if unfit.contains(words) => Ok(()),
                _ => Err(format!("{status:#?}")),
            }
        });
    }

    /// Term and leader of the last write, as the zone has them.
    pub fn holder(&self) -> (u64, String) {
        let ownership = self.service.dns.ownership(&self.service.zone, NAME);
        let word = |name: &str| ownership.get(name).cloned().unwrap_or_default();
        (word("term").parse().unwrap_or(0), word("leader"))
    }

    /// Waits until one of the nodes `numbers` holds the name in a higher term than `term`.
    #[track_caller]
    pub fn wait_holder(&self, numbers: &[usize], term: u64) {
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

    /// All sets of the name, without its ownership record.
    pub fn sets(&self) -> Vec<Set> {
        let (dns, zone) = (&self.service.dns, &self.service.zone);
        let mut sets = dns.sets(zone);
        sets.retain(|set| set.name == format!("{NAME}."));
        sets
    }

    /// Waits until clients get exactly the nodes `numbers`.
    #[track_caller]
    pub fn wait_published(&self, numbers: &[usize]) {
        self.wait_published_at(NAME, numbers);
    }

    /// The same at the name `name`.
    #[track_caller]
    pub fn wait_published_at(&self, name: &str, numbers: &[usize]) {
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
    pub fn wait_held_back(&self, number: usize, words: &str) {
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
    pub fn wait_under_way(&self, number: usize) {
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
    pub fn wait_refused(&self, number: usize) {
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
