use std::sync::Arc;

use hafleet_cluster::machines::blank_report;
use hafleet_cluster::{LinkState, Standing};
use hafleet_dns::service;
use hafleet_model::report::{DataPlane, NodeReport};
use hafleet_model::spec::NodeAddress;

use super::*;

fn member(id: &str, liveness: Liveness) -> Member {
    let address: IpAddr = [192, 0, 2, 1].into();
    let report = NodeReport {
        addresses: [(NodeAddress::Public, address)].into(),
        weight: 7,
        apply: ApplyState::Applied {
            revision: hafleet_model::Revision::new(Term(1), 1),
            change: hafleet_model::report::Change::Reload,
        },
        data_plane: DataPlane {
            health: DataPlaneHealth::Up,
            ..DataPlane::default()
        },
        ..blank_report(NodeId::new(id).unwrap(), 1, (address, 7440).into())
    };
    Member {
        report: report.into(),
        liveness,
        last_seen_ms: 0,
        is_self: false,
        link: Some(LinkState::Connected),
        lost: BTreeMap::new(),
        is_counted: true,
    }
}

fn suspect(id: &str) -> Member {
    let reason = "no answer".to_owned();
    member(id, Liveness::Suspect { reason })
}

fn sight(others: Vec<Member>) -> Sight {
    let own = Member {
        is_self: true,
        link: None,
        ..member("own", Liveness::Live)
    };
    let view = View {
        members: others.into_iter().chain([own]).collect(),
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing {
            role: Role::Leader(Term(3)),
            leader: None,
            term: Term(3),
        },
    };
    Sight::of(&view, &[NodeId::new("drained").unwrap()].into())
}

fn standing(sight: &Sight, id: &str, probe: Probe) -> service::Standing {
    let seen = &sight.nodes[&NodeId::new(id).unwrap()];
    seen.probed(Some(probe)).standing()
}

#[test]
fn a_broken_connection_counts_while_most_others_hold() {
    let most = sight(vec![suspect("a"), member("b", Liveness::Live)]);
    assert!(matches!(
        standing(&most, "a", Probe::Fails),
        service::Standing::Out(_)
    ));
    assert_eq!(
        standing(&most, "b", Probe::Answers),
        service::Standing::InService
    );

    let few = sight(vec![suspect("a"), suspect("b")]);
    assert!(few.has_majority);
    assert!(matches!(
        standing(&few, "a", Probe::Fails),
        service::Standing::Doubtful(_)
    ));
}

#[test]
fn an_agent_that_was_just_started_beside_its_haproxy_takes_no_node_out() {
    let mut waiting = member("a", Liveness::Live);
    let report = Arc::make_mut(&mut waiting.report);
    report.apply = ApplyState::Waiting;
    report.data_plane = DataPlane::default();
    let stamp = hafleet_model::Stamp {
        revision: hafleet_model::Revision::new(Term(1), 1),
        digest: hafleet_model::Digest::of(b"x"),
    };
    let mut holding = waiting.clone();
    let report = Arc::make_mut(&mut holding.report);
    report.held.insert(DocumentKind::Spec, stamp);
    let of = |member: Member| standing(&sight(vec![member]), "a", Probe::Answers);
    assert!(matches!(of(holding), service::Standing::Doubtful(_)));
    assert!(matches!(of(waiting), service::Standing::Out(_)));
}

#[test]
fn what_operators_drained_is_drained() {
    let sight = sight(vec![member("drained", Liveness::Live)]);
    assert_eq!(
        standing(&sight, "drained", Probe::Answers),
        service::Standing::Draining
    );
    assert_eq!(sight.term, Some(Term(3)));
}

#[test]
fn a_node_with_a_configuration_of_its_own_needs_no_spec() {
    let mut own = member("lb2", Liveness::Live);
    Arc::make_mut(&mut own.report).apply = ApplyState::Waiting;
    let without = standing(&sight(vec![own.clone()]), "lb2", Probe::Answers);
    assert_eq!(
        without,
        service::Standing::Out("it has applied no spec yet")
    );
    Arc::make_mut(&mut own.report).own_configuration =
        Some(hafleet_model::report::OwnConfiguration {
            author: "node lb2".into(),
            comment: String::new(),
            since_ms: 1,
            error: None,
        });
    let with = standing(&sight(vec![own]), "lb2", Probe::Answers);
    assert_eq!(with, service::Standing::InService);
}
