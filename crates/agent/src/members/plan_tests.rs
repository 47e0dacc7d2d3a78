use hafleet_cluster::machines::blank_report;
use hafleet_cluster::{LinkState, Standing};
use hafleet_model::Term;
use hafleet_model::overrides::Provenance;

use super::*;

const RETENTION: Duration = Duration::from_secs(60);
const NOW_MS: i64 = 1_000_000;

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn member(name: &str, is_live: bool, is_counted: bool) -> Member {
    let address: std::net::IpAddr = [192, 0, 2, 1].into();
    let report = blank_report(id(name), 5, (address, 7440).into());
    let reason = "gone".to_owned();
    Member {
        report: report.into(),
        liveness: match is_live {
            true => Liveness::Live,
            false => Liveness::Dead { reason },
        },
        last_seen_ms: NOW_MS - 30_000,
        is_self: false,
        link: Some(LinkState::Connected),
        lost: BTreeMap::new(),
        is_counted,
    }
}

fn removed(name: &str, reason: RemovalReason, generation: u64) -> BTreeMap<NodeId, Removal> {
    let provenance = Provenance {
        author: "ada".into(),
        comment: String::new(),
        since_ms: 1,
        until_ms: None,
    };
    let removal = Removal {
        generation,
        reason,
        provenance,
    };
    [(id(name), removal)].into()
}

fn step(
    members: Vec<Member>,
    removed: &BTreeMap<NodeId, Removal>,
    terminated: &[&str],
    now_ms: i64,
) -> Option<Step> {
    let view = View {
        members,
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing {
            role: hafleet_cluster::Role::Leader(Term(1)),
            leader: Some(id("a")),
            term: Term(1),
        },
    };
    let terminated = terminated.iter().map(|name| id(name)).collect();
    next(&view, removed, &terminated, RETENTION, now_ms)
}

#[test]
fn who_is_back_is_taken_in_and_who_says_goodbye_is_not() {
    let back = Some(Step::TakeIn { node: id("b") });
    for (reason, generation, is_back) in [
        (RemovalReason::Left, 5, false),
        (RemovalReason::Left, 4, true),
        (RemovalReason::Forgotten, 5, true),
        (RemovalReason::Expired, 4, true),
    ] {
        let removed = removed("b", reason, generation);
        let members = vec![member("a", true, true), member("b", true, false)];
        let expected = back.clone().filter(|_| is_back);
        assert_eq!(
            step(members, &removed, &[], NOW_MS),
            expected,
            "{removed:?}"
        );
    }
}

#[test]
fn the_dead_are_removed_when_their_time_is_over_or_their_instance_is_terminated() {
    let members = || vec![member("a", true, true), member("b", false, true)];
    let remove = |reason| {
        Some(Step::Remove {
            node: id("b"),
            generation: 5,
            reason,
        })
    };
    let nobody = BTreeMap::new();
    assert_eq!(step(members(), &nobody, &[], NOW_MS), None);
    assert_eq!(
        step(members(), &nobody, &["b"], NOW_MS),
        remove(RemovalReason::Terminated)
    );
    assert_eq!(
        step(members(), &nobody, &[], NOW_MS + 31_000),
        remove(RemovalReason::Expired)
    );
    // The live are not, whatever is said of their instances and clocks.
    let live = vec![member("a", true, true), member("b", true, true)];
    assert_eq!(step(live, &nobody, &["a", "b"], i64::MAX), None);
}

#[test]
fn ec2_is_asked_of_the_dead_that_are_instances() {
    let mut told = member("lb1", false, true);
    std::sync::Arc::make_mut(&mut told.report).instance =
        Some("eu-west-1/i-0123456789abcdef0".parse().unwrap());
    let members = vec![
        told,
        member("i-0fedcba9876543210", false, true),
        member("i-0fedcba987654321f", true, true),
        member("lb2", false, true),
    ];
    let view = View {
        members,
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing {
            role: hafleet_cluster::Role::Leader(Term(1)),
            leader: None,
            term: Term(1),
        },
    };
    let asked = missed_instances(&view);
    let asked: Vec<_> = asked
        .iter()
        .map(|(asked, node)| (asked.region.as_deref(), asked.id.as_str(), node.as_str()))
        .collect();
    assert_eq!(
        asked,
        [
            (None, "i-0fedcba9876543210", "i-0fedcba9876543210"),
            (Some("eu-west-1"), "i-0123456789abcdef0", "lb1"),
        ]
    );
}
