use hafleet_model::{Digest, Stamp, Term};

use super::*;
use crate::overrides::known::KnownNode;

const NOW_MS: i64 = 1_000_000;

fn server(name: &str) -> ServerPath {
    name.parse().unwrap()
}

fn write(change: OverrideChange, comment: &str) -> OverrideWrite {
    OverrideWrite {
        change,
        intent: Intent {
            author: "ada".into(),
            comment: comment.into(),
            expect: None,
            force: false,
            is_forwarded: false,
        },
    }
}

fn state(name: &str, state: ServerState, secs: Option<u64>) -> OverrideWrite {
    let change = OverrideChange::State {
        server: server(name),
        state,
        lasting: secs.map(Duration::from_secs),
    };
    write(change, "disks")
}

fn weight(name: &str, weight: Option<u16>, secs: Option<u64>) -> OverrideWrite {
    let change = OverrideChange::Weight {
        server: server(name),
        weight,
        lasting: secs.map(Duration::from_secs),
    };
    write(change, "")
}

/// What becomes of `holding`, where there are nodes n1 and n2 and no servers but those that something is asked of.
fn after(holding: &Overrides, write: &OverrideWrite) -> Result<Option<Rewrite>, Failure> {
    rewrite(holding.clone(), write, &known(), NOW_MS)
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// n1 is live and n2 is dead; 3.7 lost.
fn known() -> Known {
    let node = |(id, is_live)| KnownNode {
        id: NodeId::new(id).unwrap(),
        generation: 5,
        is_live,
    };
    Known {
        nodes: [("n1", true), ("n2", false)].map(node).into(),
        servers: KnownServers::default(),
        conflicts: vec![(DocumentKind::Spec, lost())],
    }
}

fn lost() -> Stamp {
    Stamp {
        revision: Revision::new(Term(3), 7),
        digest: Digest::of(b"lost"),
    }
}

#[test]
fn only_the_dead_are_forgotten_and_only_once() {
    let forget = |name: &str| {
        let node = NodeId::new(name).unwrap();
        write(OverrideChange::Forget { node }, "its disk died")
    };
    let rewritten = after(&Overrides::default(), &forget("n2"))
        .unwrap()
        .unwrap();
    assert_eq!(rewritten.comment, "forget n2: its disk died");
    let removal = &rewritten.overrides.removed[&id("n2")];
    assert_eq!(
        (removal.generation, removal.reason),
        (5, RemovalReason::Forgotten)
    );
    assert_eq!(removal.provenance.author, "ada");
    assert!(
        after(&rewritten.overrides, &forget("n2"))
            .unwrap()
            .is_none()
    );
    let live = after(&Overrides::default(), &forget("n1")).unwrap_err();
    assert!(matches!(live, Failure::NodeLive(_)), "{live}");
    let unknown = after(&Overrides::default(), &forget("n3")).unwrap_err();
    assert!(
        unknown.to_string().contains("there are n2, n1")
            || unknown.to_string().contains("there are n1, n2"),
        "{unknown}"
    );
}

#[test]
fn the_last_live_node_does_not_leave() {
    let leave = |name: &str| {
        let node = NodeId::new(name).unwrap();
        write(
            OverrideChange::Leave {
                node,
                generation: 9,
            },
            "",
        )
    };
    let rewritten = after(&Overrides::default(), &leave("n2")).unwrap().unwrap();
    assert_eq!(rewritten.comment, "n2 leaves");
    assert_eq!(rewritten.overrides.removed[&id("n2")].generation, 9);
    let last = after(&rewritten.overrides, &leave("n1")).unwrap_err();
    assert!(matches!(last, Failure::LastNode(_)), "{last}");
}

#[test]
fn a_conflict_is_dismissed_once_and_only_if_it_is_one() {
    let dismiss = |sequence| {
        let revision = Revision::new(Term(3), sequence);
        let kind = DocumentKind::Spec;
        write(OverrideChange::Dismiss { kind, revision }, "not needed")
    };
    let rewritten = after(&Overrides::default(), &dismiss(7)).unwrap().unwrap();
    assert_eq!(
        rewritten.comment,
        "dismiss the conflict spec 3.7: not needed"
    );
    let dismissal = rewritten.overrides.dismissal(DocumentKind::Spec, lost());
    assert_eq!(dismissal.unwrap().provenance.comment, "not needed");
    assert!(after(&rewritten.overrides, &dismiss(7)).unwrap().is_none());
    let none = after(&Overrides::default(), &dismiss(8)).unwrap_err();
    assert!(none.to_string().contains("there are 3.7"), "{none}");
}

/// Overrides in which `name` drains until `until_ms`.
fn draining(name: &str, until_ms: Option<i64>) -> Overrides {
    let drain = ServerOverride {
        state: Some(ServerState::Drain),
        weight: None,
        provenance: Provenance {
            author: "bob".into(),
            comment: "disks".into(),
            since_ms: 1,
            until_ms,
        },
    };
    Overrides {
        servers: [(server(name), drain)].into(),
        ..Overrides::default()
    }
}

#[test]
fn a_node_is_drained_and_taken_back_once() {
    let node = NodeId::new("n2").unwrap();
    let drain = OverrideChange::Drain {
        node: node.clone(),
        lasting: Some(Duration::from_secs(60)),
    };
    let drained = after(&Overrides::default(), &write(drain, "disks"));
    let drained = drained.unwrap().unwrap();
    assert_eq!(drained.comment, "drain n2: disks");
    let provenance = &drained.overrides.nodes[&node].provenance;
    assert_eq!(provenance.until_ms, Some(NOW_MS + 60_000));
    let undrain = write(OverrideChange::Undrain { node }, "");
    let back = after(&drained.overrides, &undrain).unwrap().unwrap();
    assert_eq!(back.overrides, Overrides::default());
    assert!(after(&back.overrides, &undrain).unwrap().is_none());
}

#[test]
fn what_is_not_there_is_refused_unless_it_was() {
    let drain = OverrideChange::Drain {
        node: NodeId::new("n3").unwrap(),
        lasting: None,
    };
    let words = after(&Overrides::default(), &write(drain, "")).unwrap_err();
    assert!(words.to_string().contains("there are n1, n2"), "{words}");
    let ready = state("app/s1", ServerState::Ready, None);
    assert!(after(&Overrides::default(), &ready).is_err());
    let gone = after(&draining("app/s1", None), &ready).unwrap().unwrap();
    assert_eq!(gone.overrides, Overrides::default());
}

#[test]
fn state_and_weight_end_together() {
    let (path, until_ms) = (server("app/s1"), Some(NOW_MS + 5));
    let drains = draining("app/s1", until_ms);
    assert!(after(&drains, &weight("app/s1", Some(3), Some(9))).is_err());
    let both = after(&drains, &weight("app/s1", Some(3), None));
    let both = both.unwrap().unwrap().overrides;
    let asked = &both.servers[&path];
    assert_eq!(asked.state, Some(ServerState::Drain));
    assert_eq!(
        (asked.weight, asked.provenance.until_ms),
        (Some(3), until_ms)
    );
    assert_eq!(asked.provenance.comment, "disks");

    let light = after(&both, &state("app/s1", ServerState::Ready, None));
    let light = light.unwrap().unwrap().overrides;
    let asked = &light.servers[&path];
    assert_eq!((asked.state, asked.weight), (None, Some(3)));
    assert_eq!(asked.provenance.until_ms, until_ms);
    let none = after(&light, &weight("app/s1", None, None));
    assert_eq!(none.unwrap().unwrap().overrides, Overrides::default());
}

#[test]
fn the_same_again_replaces_its_end_and_nothing_is_taken_back_twice() {
    let drains = draining("app/s1", Some(NOW_MS + 5));
    let again = state("app/s1", ServerState::Maint, Some(60));
    let again = after(&drains, &again).unwrap().unwrap().overrides;
    let asked = &again.servers[&server("app/s1")];
    assert_eq!(asked.state, Some(ServerState::Maint));
    assert_eq!(asked.provenance.until_ms, Some(NOW_MS + 60_000));
    assert!(
        after(&again, &weight("app/s1", None, None))
            .unwrap()
            .is_none()
    );
}
