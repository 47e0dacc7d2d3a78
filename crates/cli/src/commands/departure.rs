//! What keeps a drained node from being stopped: names in DNS, answers that resolvers still keep, and clients.
//!
//! Pure: it is told what the leader and the node say and what time it is, and says how far the node is.

use std::collections::BTreeMap;
use std::time::Duration;

use hafleet_api::v1;
use hafleet_model::NodeId;
use tokio::time::Instant;

/// How long name servers get to have a change of which this leader does not know when they had it. Route53 propagates
/// changes within 60 s under normal conditions (Developer Guide, "Adding records").
const UNSEEN_SYNC: Duration = Duration::from_secs(60);

/// A node on its way out.
#[derive(Debug)]
pub(crate) struct Departure {
    node: String,
    /// By zone and name.
    seen: BTreeMap<(String, String), NameSeen>,
    names: Names,
    clients: Clients,
}

/// What is remembered of a name, so that nothing depends on two machines' clocks being equal.
#[derive(Debug, Default)]
struct NameSeen {
    /// The longest TTL that was seen of its addresses.
    ttl: Duration,
    /// Since when all name servers are without the node; none while they are not.
    out_since: Option<Instant>,
}

/// How far the node is with DNS.
#[derive(Debug, PartialEq, Eq)]
enum Names {
    /// Not known; why.
    Unknown(String),
    /// It is published yet; where, and what holds that.
    Published(String),
    /// Name servers are being told; of which name.
    OnTheirWay(String),
    /// Resolvers may keep it for so long.
    Kept(Duration),
    Out,
    /// The fleet has no names.
    NothingPublished,
}

#[derive(Debug, PartialEq, Eq)]
enum Clients {
    /// Not known; why.
    Unknown(String),
    Connected(u64),
}

impl Departure {
    /// Nothing is known of it yet.
    pub(crate) fn of(node: &NodeId) -> Self {
        Self {
            node: node.to_string(),
            seen: BTreeMap::new(),
            names: Names::Unknown("the leader has not answered".to_owned()),
            clients: Clients::Unknown("it has not answered".to_owned()),
        }
    }

    /// The node's id.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Takes in how the names stand at `now`.
    pub(crate) fn see_names(&mut self, list: &v1::ListDnsResponse, now: Instant) {
        if list.names.is_empty() {
            self.names = Names::NothingPublished;
            return;
        }
        let mut names = Names::Out;
        for name in list.names.iter().filter(|name| has_addresses(name)) {
            let of_this = self.see_name(name, now);
            names = names.or(of_this);
        }
        let is_in_service = list.nodes.iter().any(|node| {
            node.id == self.node && node.standing() == v1::dns_node::Standing::InService
        });
        self.names = match is_in_service {
            true => Names::Published("the leader still counts it as in service".to_owned()),
            false => names,
        };
    }

    fn see_name(&mut self, name: &v1::DnsName, now: Instant) -> Names {
        let key = (name.zone.clone(), name.name.clone());
        let seen = self.seen.entry(key).or_default();
        let sets = name.published.iter().chain(&name.wanted);
        let ttls = sets.filter(|set| is_address(set)).map(|set| set.ttl);
        let ttl = Duration::from_secs(ttls.max().unwrap_or(0).into());
        seen.ttl = seen.ttl.max(ttl);
        if name.nodes.contains(&self.node) {
            seen.out_since = None;
            return Names::Published(with_reasons(&name.name, &name.held_back));
        }
        if name.published.is_empty() && name.changed_at.is_none() {
            seen.out_since = None;
            let words = format!("{} was not read yet", name.name);
            return Names::Unknown(with_reasons(&words, &name.held_back));
        }
        let since = match (seen.out_since, &name.changed_at, &name.in_sync_at) {
            (Some(since), _, _) => since,
            (None, Some(_), None) => return Names::OnTheirWay(name.name.clone()),
            (None, Some(_), Some(_)) => now,
            (None, None, _) => now + UNSEEN_SYNC,
        };
        seen.out_since = Some(since);
        let left = (since + seen.ttl).saturating_duration_since(now);
        match left.is_zero() {
            true => Names::Out,
            false => Names::Kept(left),
        }
    }

    /// Nobody says how the names stand.
    pub(crate) fn names_unknown(&mut self, why: String) {
        self.names = Names::Unknown(why);
    }

    /// Takes in what the node says of itself.
    pub(crate) fn see_node(&mut self, detail: &v1::NodeDetail) {
        let old = detail.old_processes.iter().map(|old| old.connections);
        let of_old: u64 = old.map(u64::from).sum();
        self.clients = match detail.current_connections {
            Some(current) => Clients::Connected(current.saturating_add(of_old)),
            None => Clients::Unknown("its HAProxy does not answer".to_owned()),
        };
    }

    /// The node does not say how many clients it has.
    pub(crate) fn node_unknown(&mut self, why: String) {
        self.clients = Clients::Unknown(why);
    }

    /// Whether neither DNS nor resolvers send anybody there.
    pub(crate) fn is_out_of_dns(&self) -> bool {
        matches!(self.names, Names::Out | Names::NothingPublished)
    }

    /// Whether nothing keeps it from being stopped.
    pub(crate) fn is_over(&self) -> bool {
        self.is_out_of_dns() && self.clients == Clients::Connected(0)
    }

    /// How far it is.
    pub(crate) fn words(&self) -> String {
        let node = &self.node;
        let names = match &self.names {
            Names::Unknown(why) => format!("whether {node} is in DNS is not known ({why})"),
            Names::Published(what) => format!("{node} is in DNS: {what}"),
            Names::OnTheirWay(name) => {
                format!("{node} is out of DNS, and name servers are being told ({name})")
            }
            Names::Kept(left) => format!(
                "{node} is out of DNS, and resolvers may keep it for up to {} s",
                in_steps(*left)
            ),
            Names::Out => format!("{node} is out of DNS"),
            Names::NothingPublished => "the fleet publishes nothing in DNS".to_owned(),
        };
        let clients = match &self.clients {
            Clients::Unknown(why) => format!("its connections are not known ({why})"),
            Clients::Connected(0) => "no connections are left".to_owned(),
            Clients::Connected(1) => "1 connection is left".to_owned(),
            Clients::Connected(count) => format!("{count} connections are left"),
        };
        format!("{names}; {clients}")
    }
}

impl Names {
    /// Of two names, how far the one is that takes longer.
    fn or(self, other: Self) -> Self {
        let (own, others) = (self.rank(), other.rank());
        match (self, other) {
            (Self::Kept(own), Self::Kept(other)) => Self::Kept(own.max(other)),
            (this, _) if own >= others => this,
            (_, other) => other,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NothingPublished => 0,
            Self::Out => 1,
            Self::Kept(_) => 2,
            Self::OnTheirWay(_) => 3,
            Self::Unknown(_) => 4,
            Self::Published(_) => 5,
        }
    }
}

/// Names that only stand for others never have a node.
fn has_addresses(name: &v1::DnsName) -> bool {
    let mut sets = name.published.iter().chain(&name.wanted).peekable();
    sets.peek().is_none() || sets.any(is_address)
}

fn is_address(set: &v1::DnsRecord) -> bool {
    matches!(set.r#type.as_str(), "A" | "AAAA") && set.alias.is_empty()
}

/// Seconds, rounded up to tens, so that a log does not get a line for each of them.
fn in_steps(left: Duration) -> u128 {
    left.as_millis().div_ceil(10_000) * 10
}

fn with_reasons(words: &str, reasons: &[String]) -> String {
    match reasons {
        [] => words.to_owned(),
        reasons => format!("{words} (held back: {})", reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);
    const LAST_MOMENT: Duration = Duration::from_millis(1);

    fn departure() -> Departure {
        let mut departure = Departure::of(&"lb1".parse().unwrap());
        departure.see_node(&v1::NodeDetail {
            current_connections: Some(0),
            ..v1::NodeDetail::default()
        });
        departure
    }

    fn name(nodes: &[&str]) -> v1::DnsName {
        v1::DnsName {
            zone: "Z1".into(),
            name: "www.example.com".into(),
            published: vec![v1::DnsRecord {
                r#type: "A".into(),
                ttl: 30,
                values: vec!["192.0.2.1".into()],
                ..v1::DnsRecord::default()
            }],
            nodes: nodes.iter().map(ToString::to_string).collect(),
            changed_at: Some(pbjson_types::Timestamp::default()),
            in_sync_at: Some(pbjson_types::Timestamp::default()),
            ..v1::DnsName::default()
        }
    }

    fn list(names: Vec<v1::DnsName>) -> v1::ListDnsResponse {
        v1::ListDnsResponse {
            names,
            ..v1::ListDnsResponse::default()
        }
    }

    #[test]
    fn it_is_over_when_it_is_out_in_sync_and_the_ttl_has_passed() {
        let (mut departure, start) = (departure(), Instant::now());
        departure.see_names(&list(vec![name(&["lb1", "lb2"])]), start);
        assert!(departure.words().contains("is in DNS: www.example.com"));
        let on_its_way = v1::DnsName {
            in_sync_at: None,
            ..name(&["lb2"])
        };
        departure.see_names(&list(vec![on_its_way]), start);
        assert!(departure.words().contains("being told"), "{departure:?}");
        departure.see_names(&list(vec![name(&["lb2"])]), start);
        assert!(departure.words().contains("keep it for up to 30 s"));
        // Another change of the name, such as that of another node, does not begin it anew.
        let changed = v1::DnsName {
            in_sync_at: None,
            ..name(&[])
        };
        departure.see_names(&list(vec![changed]), start + TTL - LAST_MOMENT);
        assert!(!departure.is_over(), "{departure:?}");
        departure.see_names(&list(vec![name(&[])]), start + TTL);
        assert!(departure.is_over(), "{departure:?}");
        // One that comes back does.
        departure.see_names(&list(vec![name(&["lb1"])]), start + TTL);
        departure.see_names(&list(vec![name(&[])]), start + TTL);
        assert!(!departure.is_over(), "{departure:?}");
    }

    #[test]
    fn a_change_that_another_leader_made_gets_the_time_that_route53_takes() {
        let (mut departure, start) = (departure(), Instant::now());
        let unchanged = || {
            list(vec![v1::DnsName {
                changed_at: None,
                in_sync_at: None,
                ..name(&["lb2"])
            }])
        };
        departure.see_names(&unchanged(), start);
        departure.see_names(&unchanged(), start + UNSEEN_SYNC + TTL - LAST_MOMENT);
        assert!(!departure.is_over(), "{departure:?}");
        departure.see_names(&unchanged(), start + UNSEEN_SYNC + TTL);
        assert!(departure.is_over(), "{departure:?}");
    }

    #[test]
    fn the_slowest_name_counts_and_names_that_stand_for_others_do_not() {
        let (mut departure, start) = (departure(), Instant::now());
        let mut longer = name(&[]);
        longer.name = "api.example.com".into();
        longer.published[0].ttl = 40;
        let mut alias = name(&[]);
        alias.name = "example.com".into();
        alias.published[0].alias = "www.example.com".into();
        alias.in_sync_at = None;
        let names = list(vec![name(&[]), longer, alias]);
        departure.see_names(&names, start);
        assert!(departure.words().contains("40 s"), "{departure:?}");
        departure.see_names(&names, start + Duration::from_secs(40));
        assert!(departure.is_over(), "{departure:?}");
    }

    #[test]
    fn what_is_not_known_is_waited_for() {
        let (mut departure, start) = (departure(), Instant::now());
        let unread = v1::DnsName {
            published: Vec::new(),
            changed_at: None,
            held_back: vec!["no credentials".into()],
            ..name(&[])
        };
        departure.see_names(&list(vec![unread]), start);
        assert!(
            departure.words().contains("no credentials"),
            "{departure:?}"
        );
        let mut in_service = list(vec![name(&[])]);
        in_service.nodes.push(v1::DnsNode {
            id: "lb1".into(),
            standing: v1::dns_node::Standing::InService.into(),
            ..v1::DnsNode::default()
        });
        departure.see_names(&in_service, start + TTL);
        departure.see_names(&in_service, start + TTL + TTL);
        assert!(!departure.is_over(), "{departure:?}");
    }

    #[test]
    fn clients_of_old_processes_count_and_a_fleet_without_names_has_nothing_else() {
        let mut departure = departure();
        departure.see_names(&list(Vec::new()), Instant::now());
        assert!(departure.is_over(), "{departure:?}");
        departure.see_node(&v1::NodeDetail {
            current_connections: Some(1),
            old_processes: vec![v1::OldProcess {
                connections: 2,
                ..v1::OldProcess::default()
            }],
            ..v1::NodeDetail::default()
        });
        assert!(!departure.is_over());
        assert_eq!(
            departure.words(),
            "the fleet publishes nothing in DNS; 3 connections are left"
        );
        departure.see_node(&v1::NodeDetail::default());
        assert!(departure.words().contains("not known"), "{departure:?}");
    }
}
