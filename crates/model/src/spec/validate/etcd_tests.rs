use crate::spec::load;

/// The paths of the faults of a spec with this `discovery`, and these sources of its backend.
fn faults(discovery: &str, sources: &str) -> Vec<String> {
    let text = format!(
        "version: 1\n\
         discovery: {discovery}\n\
         frontends:\n\
         - {{name: web, binds: [{{port: 80}}], default_backend: app}}\n\
         - {{name: raw, mode: tcp, binds: [{{port: 81}}], default_backend: db}}\n\
         backends:\n\
         - {{name: app, sources: {sources}}}\n\
         - {{name: db, mode: tcp}}\n"
    );
    let findings = load(&text).err().map(|findings| findings.0);
    let paths = findings.into_iter().flatten().map(|finding| finding.path);
    paths.collect()
}

const ETCD: &str = "etcd: {endpoints: ['https://192.0.2.10:2379', 'http://[2001:db8::1]:2379/']}";

#[test]
fn what_is_right_has_no_fault() {
    let discovery = format!("{{{ETCD}, services: {{prefix: /haproxy-prod, frontend: web}}}}");
    let none: [&str; 0] = [];
    assert_eq!(
        faults(&discovery, "[{etcd: {prefix: /apps/web, port: 80}}]"),
        none
    );
}

#[test]
fn each_fault_is_reported_at_its_path() {
    for (discovery, sources, path) in [
        ("{}", "[{etcd: {}}]", "backends[0].sources[0].etcd"),
        ("{etcd: {endpoints: []}}", "[]", "discovery.etcd.endpoints"),
        (
            "{etcd: {endpoints: ['192.0.2.1:2379']}}",
            "[]",
            "discovery.etcd.endpoints[0]",
        ),
        (
            "{etcd: {endpoints: ['http://u@h/x']}}",
            "[]",
            "discovery.etcd.endpoints[0]",
        ),
        (
            "{services: {prefix: /haproxy-prod}}",
            "[]",
            "discovery.services",
        ),
    ] {
        assert_eq!(faults(discovery, sources), [path]);
    }
    for (more, sources, path) in [
        (
            "services: {prefix: haproxy}",
            "[]",
            "discovery.services.prefix",
        ),
        ("services: {prefix: /}", "[]", "discovery.services.prefix"),
        (
            "services: {prefix: /a, frontend: nowhere}",
            "[]",
            "discovery.services.frontend",
        ),
        (
            "services: {prefix: /a, tls_frontend: raw}",
            "[]",
            "discovery.services.tls_frontend",
        ),
        (
            "services: {prefix: /a, domain_suffix: ' .x'}",
            "[]",
            "discovery.services.domain_suffix",
        ),
        (
            "max_shrink: 50",
            "[{etcd: {prefix: a}}]",
            "backends[0].sources[0].etcd.prefix",
        ),
        (
            "max_shrink: 50",
            "[{etcd: {port: 0}}]",
            "backends[0].sources[0].etcd.port",
        ),
        (
            "max_shrink: 50",
            "[{etcd: {weight: 257}}]",
            "backends[0].sources[0].etcd.weight",
        ),
    ] {
        assert_eq!(faults(&format!("{{{ETCD}, {more}}}"), sources), [path]);
    }
}
