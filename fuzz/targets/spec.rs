//! Whatever people write is a spec or is refused; and a spec becomes the same configuration each time, or is refused.

#![no_main]

use std::sync::OnceLock;

use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    static NODE: OnceLock<NodeContext> = OnceLock::new();
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

fn node() -> NodeContext {
    NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").expect("a name"),
        address: "192.0.2.1".parse().expect("an address"),
        zone: Some("a".into()),
        certificate_dir: "/certs".into(),
    }
}
