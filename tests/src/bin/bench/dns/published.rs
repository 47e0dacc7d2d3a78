//! A fleet of three that publishes one name, and what can befall it.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hafleet_tests::fleet::PATIENCE;
use hafleet_tests::published::{NAME, Published as Inner, Service, ZONE};
use hafleet_tests::wait_for;
use rustix::process::Signal;

/// Where HAProxy's program is.
const HAPROXY: &str = "/usr/sbin/haproxy";

/// A fleet whose leader publishes [`NAME`] past a witness.
pub(crate) struct Published {
    pub(crate) inner: Inner,
}

impl Published {
    /// One that has published its three nodes.
    pub(crate) fn start() -> Self {
        let inner = Inner::prepare_with("shop", 3, Service::start(), |_, settings| {
            let binary = program(&settings.home);
            symlink(HAPROXY, &binary).expect("a link in the node's own directory");
            settings.haproxy.push(format!("binary = {binary:?}"));
        });
        let record = format!("{{zone: {ZONE}, name: {NAME}, ttl: 5s}}");
        let spec = inner.fleet.spec("first") + &format!("dns: {{records: [{record}]}}\n");
        inner.fleet.apply(1, &spec);
        let published = Self { inner };
        published.settle();
        published
    }

    /// Waits until all nodes are well and published, by the one that leads.
    pub(crate) fn settle(&self) {
        self.inner.fleet.wait_formed();
        let numbers = self.inner.fleet.numbers().into_iter();
        let mut all: Vec<_> = numbers.map(|number| self.address(number)).collect();
        all.sort_unstable();
        wait_for("all nodes are published by their leader", PATIENCE, || {
            let leader = self.inner.fleet.node(self.inner.fleet.leader()).id();
            let (published, last) = (self.addresses(), self.inner.witness().last());
            let writer = last.as_ref().and_then(|batch| batch.writer());
            match published == all && writer.is_some_and(|(_, id)| id == leader) {
                true => Ok(()),
                false => Err(format!("{published:?} by {writer:?}, and {leader} leads")),
            }
        });
    }

    /// The addresses that are published, sorted.
    fn addresses(&self) -> Vec<IpAddr> {
        let batches = self.inner.witness().batches().into_iter().rev();
        let mut applied = batches.filter(|batch| batch.is_applied);
        let mut published = applied
            .find_map(|batch| batch.addresses(NAME))
            .unwrap_or_default();
        published.sort_unstable();
        published
    }

    /// Waits for a batch after `since` that publishes without node `gone`, and says when its acceptance was answered.
    pub(crate) fn wait_without(&self, gone: usize, since: Instant) -> Instant {
        let gone = self.address(gone);
        wait_for("who is gone leaves DNS", PATIENCE, || {
            let batches = self.inner.witness().batches().into_iter();
            let mut later = batches.filter(|batch| batch.is_applied && batch.answered >= since);
            let is_without = |addresses: Vec<IpAddr>| !addresses.contains(&gone);
            let found = later.find(|batch| batch.addresses(NAME).is_some_and(is_without));
            let found = found.map(|batch| batch.answered);
            found.ok_or_else(|| format!("{:?} are published", self.addresses()))
        })
    }

    /// The address of node `number`.
    fn address(&self, number: usize) -> IpAddr {
        self.inner.fleet.node(number).address().into()
    }

    /// The nodes that do not lead.
    pub(crate) fn followers(&self) -> Vec<usize> {
        self.inner.others(self.inner.fleet.leader())
    }

    /// `hafleet node` `verb` of node `number`.
    pub(crate) fn operate(&self, verb: &str, number: usize) {
        let id = self.inner.fleet.node(number).id();
        let finished = self.inner.fleet.client().run(&["node", verb, id]);
        finished.expect_code(0);
    }

    /// `kill -9` of the HAProxy of node `number`, and when. Its program is not there any more, so that the agent, which
    /// would start it again at once, cannot until [`Published::mend_haproxy`].
    pub(crate) fn break_haproxy(&self, number: usize) -> Instant {
        let node = self.inner.fleet.node(number);
        std::fs::remove_file(program(&node.settings().home)).expect("the link is there");
        let running = node.haproxies();
        let begun = Instant::now();
        running
            .iter()
            .for_each(|process| process.signal(Signal::KILL));
        begun
    }

    /// HAProxy's program is there again.
    pub(crate) fn mend_haproxy(&self, number: usize) {
        let home = &self.inner.fleet.node(number).settings().home;
        symlink(HAPROXY, program(home)).expect("the link is not there");
    }
}

/// Where the agent of the node at `home` finds HAProxy's program.
fn program(home: &Path) -> PathBuf {
    home.join("haproxy")
}
