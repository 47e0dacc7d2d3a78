//! A fleet of three that publishes one name, and what can befall it.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;

use hafleet_tests::aws::{Dns, KEY};
use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::{Fleet, wait_for};
use rustix::process::Signal;

use super::batch::NAME;
use super::witness::Witness;

/// Where HAProxy's program is.
const HAPROXY: &str = "/usr/sbin/haproxy";

/// A fleet whose leader publishes [`NAME`] past a witness.
pub(crate) struct Published {
    /// Goes first: its gate ends by a connection to an address that goes with the fleet.
    _dns: Dns,
    pub(crate) witness: Witness,
    pub(crate) fleet: Fleet,
}

impl Published {
    /// One that has published its three nodes.
    pub(crate) fn start() -> Self {
        let mut fleet = Fleet::builder().prepare();
        let outside = IpAddr::from(fleet.outside_address());
        let dns = fleet.outside().run(|| {
            let dns = Dns::start_at(outside);
            dns.add_zone("example.com");
            dns
        });
        let behind = dns.endpoint().trim_start_matches("http://").parse();
        let behind = behind.expect("an endpoint is an address");
        let witness = Witness::start(fleet.outside(), outside, behind);
        let environment = [
            ("AWS_ENDPOINT_URL", witness.endpoint()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "nobody checks it".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        for number in fleet.numbers() {
            let binary = program(&fleet, number);
            symlink(HAPROXY, &binary).expect("a link in the node's own directory");
            let settings = fleet.node_mut(number).settings_mut();
            settings.haproxy.push(format!("binary = {binary:?}"));
            settings.environment.extend(environment.clone());
            fleet.node(number).start_agent();
        }
        fleet.wait_formed();
        let record = format!("{{zone: example.com, name: {NAME}, ttl: 5s}}");
        let spec = fleet.spec("first") + &format!("dns: {{records: [{record}]}}\n");
        fleet.apply(1, &spec);
        let published = Self {
            fleet,
            witness,
            _dns: dns,
        };
        published.settle();
        published
    }

    /// Waits until all nodes are well and published, by the one that leads.
    pub(crate) fn settle(&self) {
        self.fleet.wait_formed();
        let mut all = self.addresses();
        all.sort_unstable();
        wait_for("all nodes are published by their leader", PATIENCE, || {
            let leader = self.fleet.node(self.fleet.leader()).id();
            let (published, last) = (self.witness.published(), self.witness.last());
            let is_by_leader = last.as_ref().is_some_and(|batch| batch.leader == leader);
            match published == all && is_by_leader {
                true => Ok(()),
                false => Err(format!("{published:?} by {last:?}, and {leader} leads")),
            }
        });
    }

    /// The address of node `number`.
    pub(crate) fn address(&self, number: usize) -> IpAddr {
        self.fleet.node(number).address().into()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let numbers = self.fleet.numbers().into_iter();
        numbers.map(|number| self.address(number)).collect()
    }

    /// The nodes that do not lead.
    pub(crate) fn followers(&self) -> Vec<usize> {
        let leader = self.fleet.leader();
        let numbers = self.fleet.numbers().into_iter();
        numbers.filter(|number| *number != leader).collect()
    }

    /// `hafleet node` `verb` of node `number`.
    pub(crate) fn operate(&self, verb: &str, number: usize) {
        let id = self.fleet.node(number).id();
        let finished = self.fleet.client().run(&["node", verb, id]);
        finished.expect_code(0);
    }

    /// `kill -9` of the HAProxy of node `number`, and when. Its program is not there any more, so that the agent, which
    /// would start it again at once, cannot until [`Published::mend_haproxy`].
    pub(crate) fn break_haproxy(&self, number: usize) -> Instant {
        std::fs::remove_file(program(&self.fleet, number)).expect("the link is there");
        let running = self.fleet.node(number).haproxies();
        let begun = Instant::now();
        running
            .iter()
            .for_each(|process| process.signal(Signal::KILL));
        begun
    }

    /// HAProxy's program is there again.
    pub(crate) fn mend_haproxy(&self, number: usize) {
        symlink(HAPROXY, program(&self.fleet, number)).expect("the link is not there");
    }
}

/// Where the agent of node `number` finds HAProxy's program.
fn program(fleet: &Fleet, number: usize) -> PathBuf {
    fleet.node(number).settings().home.join("haproxy")
}
