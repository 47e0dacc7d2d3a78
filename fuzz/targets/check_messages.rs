//! Whatever `haproxy -c` prints becomes findings, and never a reason to panic.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use hafleet_haproxy::Rendered;
use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::load;
use libfuzzer_sys::fuzz_target;

// The parser is no part of what the crate offers, so its source is built in here. These are the names that it uses.
#[path = "../../crates/haproxy/src/check/message.rs"]
#[allow(dead_code)]
mod message;
mod render {
    pub(crate) use hafleet_haproxy::render::{Prelude, Rendered};
}

/// A spec of each kind, since messages are tied to lines of what they became.
const SPECS: [&str; 3] = [
    "version: 1\nfrontends:\n- {name: web, binds: [{port: 80}], default_backend: app, raw: [maxconn 7]}\n\
     backends:\n- {name: app, servers: [{name: one, address: 127.0.0.1, port: 1}]}\nraw: |\n  listen more\n    bind :81\n",
    "version: 1\ntemplate: |\n  listen web\n    bind :80\n    server one 127.0.0.1:1\n",
    "version: 1\nhaproxy_cfg: |\n  listen web\n    bind :80\n    server one 127.0.0.1:1\n",
];

fuzz_target!(|text: &str| {
    static RENDERED: OnceLock<Vec<Rendered>> = OnceLock::new();
    for rendered in RENDERED.get_or_init(all_rendered) {
        let found = message::findings(text, Path::new("/c.cfg"), rendered);
        assert!(
            found.len() <= text.lines().count(),
            "more messages than lines"
        );
    }
});

fn all_rendered() -> Vec<Rendered> {
    let node = NodeContext {
        fleet: "shop".into(),
        id: NodeId::new("lb1").expect("a name"),
        address: "127.0.0.1".parse().expect("an address"),
        zone: None,
        certificate_dir: "/certs".into(),
    };
    let rendered = |text: &&str| {
        let loaded = load(text).expect("a valid spec");
        hafleet_haproxy::render(&loaded.spec, &node).expect("it can be rendered")
    };
    SPECS.iter().map(rendered).collect()
}
