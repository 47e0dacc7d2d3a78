use super::*;

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
    let nodes = ["n1", "n2"].map(|id| NodeId::new(id).unwrap());
    rewrite(
        holding.clone(),
        write,
        &nodes,
        &KnownServers::default(),
        NOW_MS,
    )
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
