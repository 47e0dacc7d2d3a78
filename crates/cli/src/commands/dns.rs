//! `hafleet dns` and what belongs to it: the names through which clients find the fleet.

use hafleet_api::v1;
use jiff::Timestamp;

use super::dns_args::DnsCommand;
use crate::args::Target;
use crate::client::{Client, answer};
use crate::failure::Failure;
use crate::print::{self, Printer, Tone, plain};

/// The most values that are shown of one name.
const MAX_SHOWN: usize = 8;

/// Shows the names, what would change, or changes who has them.
pub(crate) async fn run(
    command: Option<DnsCommand>,
    target: &Target,
    printer: Printer,
) -> Result<(), Failure> {
    let mut client = Client::connect(target).await?;
    match command {
        None => {
            let request = client.request(v1::ListDnsRequest {});
            let list = answer(client.admin.list_dns(request).await)?;
            printer.answer(&list, |list| for_people(list, Timestamp::now()))
        }
        Some(DnsCommand::Plan) => {
            let request = client.request(v1::PlanDnsRequest {});
            let plan = answer(client.admin.plan_dns(request).await)?;
            printer.answer(&plan, plan_for_people)
        }
        Some(DnsCommand::Adopt { name }) => {
            let request = client.request(v1::AdoptDnsRequest { name: name.clone() });
            let adopted = answer(client.admin.adopt_dns(request).await)?;
            printer.answer(&adopted, |_| {
                format!("{name} is the fleet's; its records become those of the nodes in service")
            })
        }
        Some(DnsCommand::Release { names }) => {
            let request = client.request(v1::ReleaseDnsRequest { names });
            let released = answer(client.admin.release_dns(request).await)?;
            printer.answer(&released, what_went)
        }
    }
}

fn what_went(released: &v1::ReleaseDnsResponse) -> String {
    match released.names.as_slice() {
        [] => "the fleet has no names in the zones of the spec".to_owned(),
        names => format!(
            "given up: {}; take them out of the spec too, or the next leader publishes them again",
            names.join(", ")
        ),
    }
}

fn for_people(list: &v1::ListDnsResponse, now: Timestamp) -> String {
    if list.names.is_empty() {
        return "the spec publishes nothing in DNS".to_owned();
    }
    let names = list.names.iter().map(|name| row(name, now)).collect();
    let header = ["name", "zone", "published", "changed", "held by", "state"];
    let mut parts = vec![print::table(&header, names)];
    let nodes = list.nodes.iter().map(node).collect();
    parts.push(print::table(&["node", "in dns", "why"], nodes));
    let held = list.names.iter().flat_map(|name| {
        let why = name.held_back.iter();
        why.map(move |why| format!("{}: {why}", name.name))
    });
    let majority = (!list.has_majority).then(|| {
        "there is no majority of live nodes: names that another leader wrote are waited for"
            .to_owned()
    });
    let notes: Vec<_> = held.chain(majority).collect();
    if !notes.is_empty() {
        parts.push(notes.join("\n"));
    }
    parts.join("\n\n")
}

fn row(name: &v1::DnsName, now: Timestamp) -> Vec<(String, Tone)> {
    let is_as_wanted = same(&name.wanted, &name.published);
    let state = match (is_as_wanted, name.held_back.is_empty()) {
        (true, true) => ("as wanted".to_owned(), Tone::Good),
        (true, false) => ("as wanted, see below".to_owned(), Tone::Warning),
        (false, true) => ("is being changed".to_owned(), Tone::Warning),
        (false, false) => ("held back".to_owned(), Tone::Bad),
    };
    let changed = match (&name.changed_at, &name.in_sync_at) {
        (Some(at), Some(_)) => format!("{}, in sync", ago(at, now)),
        (Some(at), None) => format!("{}, on its way", ago(at, now)),
        (None, _) => "not by this leader".to_owned(),
    };
    let holder = name.holder.as_ref().map_or_else(
        || "nobody".to_owned(),
        |holder| format!("{} in term {}", holder.leader, holder.term),
    );
    vec![
        plain(&name.name),
        plain(&name.zone),
        plain(values(&name.published)),
        plain(changed),
        plain(holder),
        state,
    ]
}

fn node(node: &v1::DnsNode) -> Vec<(String, Tone)> {
    use v1::dns_node::Standing;
    let standing = match node.standing() {
        Standing::InService => ("in service".to_owned(), Tone::Good),
        Standing::Draining => ("drained".to_owned(), Tone::Warning),
        Standing::Out => ("out".to_owned(), Tone::Bad),
        Standing::Doubtful | Standing::Unspecified => ("as it was".to_owned(), Tone::Warning),
    };
    vec![plain(&node.id), standing, plain(&node.reason)]
}

fn plan_for_people(plan: &v1::PlanDnsResponse) -> String {
    if plan.names.is_empty() {
        return "the spec publishes nothing in DNS".to_owned();
    }
    let mut lines = Vec::new();
    for name in &plan.names {
        let words = match name.changes.as_slice() {
            [] => "nothing would change",
            _ => "would change:",
        };
        lines.push(format!("{} (zone {}): {words}", name.name, name.zone));
        lines.extend(name.changes.iter().map(change));
        let held = name.held_back.iter();
        lines.extend(held.map(|why| format!("  held back: {why}")));
    }
    lines.join("\n")
}

fn change(change: &v1::DnsChange) -> String {
    use v1::dns_change::Action;
    let sign = match change.action() {
        Action::Create => "+",
        Action::Delete => "-",
        Action::Replace | Action::Unspecified => "~",
    };
    let record = change.record.clone().unwrap_or_default();
    let weight = record.weight.map(|weight| format!(" weight {weight}"));
    let identifier = match record.identifier.as_str() {
        "" => String::new(),
        identifier => format!(" [{identifier}{}]", weight.unwrap_or_default()),
    };
    let (kind, ttl) = (&record.r#type, record.ttl);
    let ttl = if ttl > 0 {
        format!(" {ttl} s")
    } else {
        String::new()
    };
    format!(
        "  {sign} {kind}{ttl}{identifier} {}",
        values(std::slice::from_ref(&record))
    )
}

/// The values of all sets, without those of weight 0.
fn values(sets: &[v1::DnsRecord]) -> String {
    let sets = sets.iter().filter(|set| set.weight != Some(0));
    let all = sets.flat_map(|set| {
        let alias = (!set.alias.is_empty()).then_some(&set.alias);
        set.values.iter().chain(alias).cloned()
    });
    let all: Vec<_> = all.collect();
    let shown = all.get(..MAX_SHOWN).unwrap_or(&all).join(" ");
    match all.len().saturating_sub(MAX_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn same(one: &[v1::DnsRecord], other: &[v1::DnsRecord]) -> bool {
    one.len() == other.len() && one.iter().all(|set| other.contains(set))
}

fn ago(at: &pbjson_types::Timestamp, now: Timestamp) -> String {
    match now.as_second().saturating_sub(at.seconds) {
        ..=0 => "now".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7_199 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str], weight: Option<u32>) -> v1::DnsRecord {
        v1::DnsRecord {
            name: "www.example.com".into(),
            r#type: "A".into(),
            ttl: 30,
            values: values.iter().map(ToString::to_string).collect(),
            weight,
            ..v1::DnsRecord::default()
        }
    }

    #[test]
    fn names_show_what_is_there_who_has_them_and_what_is_held_back() {
        let at = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        let name = v1::DnsName {
            zone: "Z1".into(),
            name: "www.example.com".into(),
            wanted: vec![set(&["192.0.2.1"], None)],
            published: vec![set(&["192.0.2.1", "192.0.2.2"], None)],
            changed_at: at(40),
            in_sync_at: at(50),
            holder: Some(v1::DnsHolder {
                leader: "lb1".into(),
                term: 4,
                ..Default::default()
            }),
            held_back: vec!["min_published is 2".into()],
            ..v1::DnsName::default()
        };
        let list = v1::ListDnsResponse {
            names: vec![name],
            nodes: vec![v1::DnsNode {
                id: "lb2".into(),
                standing: v1::dns_node::Standing::Out.into(),
                reason: "it is dead".into(),
            }],
            ..v1::ListDnsResponse::default()
        };
        let text = for_people(&list, Timestamp::from_second(100).unwrap());
        for words in [
            "192.0.2.1 192.0.2.2",
            "60 s ago, in sync",
            "lb1 in term 4",
            "held back",
            "it is dead",
            "www.example.com: min_published is 2",
            "no majority",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_plan_shows_each_set() {
        let change = |action: v1::dns_change::Action, record| v1::DnsChange {
            action: action.into(),
            record: Some(record),
        };
        use v1::dns_change::Action::{Create, Replace};
        let plan = v1::PlanDnsResponse {
            names: vec![v1::DnsNamePlan {
                zone: "Z1".into(),
                name: "www.example.com".into(),
                changes: vec![
                    change(Create, set(&["192.0.2.1"], None)),
                    change(
                        Replace,
                        v1::DnsRecord {
                            identifier: "hafleet-shop-lb1".into(),
                            ..set(&["192.0.2.2"], Some(5))
                        },
                    ),
                ],
                held_back: Vec::new(),
            }],
        };
        let text = plan_for_people(&plan);
        for words in [
            "+ A 30 s 192.0.2.1",
            "~ A 30 s [hafleet-shop-lb1 weight 5] 192.0.2.2",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }
}
