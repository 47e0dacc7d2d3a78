//! Whatever people write is a spec or is refused; and a spec becomes the same configuration each time, or is refused. A whole
//! haproxy.cfg becomes a spec that holds it as it was.

#![no_main]

use std::sync::OnceLock;

use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::{Publication, load, of_haproxy_cfg};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    static NODE: OnceLock<NodeContext> = OnceLock::new();
    whole(text);
    let Ok(loaded) = load(text) else {
        return;
    };
    let node = NODE.get_or_init(node);
    let first = hafleet_haproxy::render(&loaded.spec, node);
    let again = hafleet_haproxy::render(&loaded.spec.clone(), node);
    assert_eq!(first, again, "the same spec became something else");
    let Ok(rendered) = first else {
        return;
    };
    let lines = rendered.body().lines().count();
    assert!(
        (1..=lines).all(|line| rendered.origin(line).is_some()),
        "a line has no origin"
    );
    assert!(
        rendered.origin(lines + 1).is_none(),
        "an origin has no line"
    );
    assert!(!rendered.body().contains('\0'), "HAProxy reads no NUL");
});

fn whole(configuration: &str) {
    let text = of_haproxy_cfg(configuration, &Publication::default());
    let Ok(loaded) = load(&text) else {
        return;
    };
    let held = loaded.spec.haproxy_cfg.expect("it is one of HAProxy's own");
    assert_eq!(
        held.strip_suffix('\n').unwrap_or(&held),
        configuration.strip_suffix('\n').unwrap_or(configuration)
    );
}

fn node() -> NodeContext {
    NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").expect("a name"),
        address: "192.0.2.1".parse().expect("an address"),
        zone: Some("a".into()),
        certificate_dir: "/certs".into(),
    }
}
