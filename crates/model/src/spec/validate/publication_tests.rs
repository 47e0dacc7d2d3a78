use crate::spec::load;

fn faults(dns: &str) -> Vec<String> {
    let text = format!("version: 1\ndns: {{{dns}}}\n");
    let findings = load(&text).err().map(|findings| findings.0);
    let paths = findings
        .into_iter()
        .flatten()
        .map(|finding| format!("{} {}", finding.path, finding.message));
    paths.collect()
}

/// What is wrong with one record; its zone and its name are the usual ones unless `rest` begins with others.
fn of_record(rest: &str) -> Vec<String> {
    let zone = match rest.starts_with("zone: ") {
        true => "",
        false => "zone: example.com, ",
    };
    let name = match rest.starts_with("name: ") || rest.contains(", name: ") {
        true => "",
        false => "name: www.example.com, ",
    };
    faults(&format!("records: [{{{zone}{name}{rest}}}]"))
}

#[test]
fn what_can_be_published_is_accepted() {
    for rest in [
        "ttl: 30s",
        "name: '*.Example.com.'",
        "zone: Z0123ABC, name: anything.test",
        "routing: multivalue, health_check: {port: 80, path: /up, interval: 30s}",
        "routing: {failover: {primary: [a]}}, health_check: {port: 80}",
        "aliases: [{name: shop.example.com}, {name: example.com, type: alias}]",
        "provider: {rfc2136: {server: '192.0.2.1:53', key: fleet}}",
    ] {
        assert_eq!(of_record(rest), [""; 0], "{rest}");
    }
}

#[test]
fn each_rule_is_reported_at_its_path() {
    let rfc2136 = "provider: {rfc2136: {server: '192.0.2.1:53'}}";
    for (rest, expected) in [
        ("zone: 'a b'", "zone \"a b\" is neither"),
        (
            "name: www.example.org",
            "name \"www.example.org\" is not in the zone",
        ),
        (
            "name: xexample.com",
            "name \"xexample.com\" is not in the zone",
        ),
        (
            "name: a..example.com",
            "name \"a..example.com\" is not a name",
        ),
        (
            "name: 'a.*.example.com'",
            "name \"a.*.example.com\" is not a name",
        ),
        ("name: wildcard.example.com", "name \"wildcard\" is where"),
        ("name: _hafleet.example.com", "name \"_hafleet\" is where"),
        ("ttl: 0s", "ttl 0ms is not a TTL"),
        ("ttl: 1500ms", "ttl 1500ms is not a TTL"),
        ("ttl: 8d", "ttl 8d is not a TTL"),
        ("addresses: []", "addresses give at least one"),
        ("addresses: [public, public]", "addresses give at least one"),
        ("min_published: 0", "min_published 0 is not allowed"),
        (
            "routing: {failover: {primary: [a]}}",
            "routing failover needs `health_check`",
        ),
        (
            "routing: {failover: {primary: []}}, health_check: {port: 80}",
            "routing.failover.primary empty",
        ),
        (
            "health_check: {port: 80}",
            "health_check with routing simple",
        ),
        (
            "routing: weighted, health_check: {port: 0}",
            "health_check.port 0 is not a port",
        ),
        (
            "routing: weighted, health_check: {port: 1, path: up}",
            "health_check.path a path begins",
        ),
        (
            "routing: weighted, health_check: {port: 1, interval: 20s}",
            "health_check.interval 20s is not allowed",
        ),
        (
            "routing: weighted, health_check: {port: 1, fall: 11}",
            "health_check.fall 11 is not allowed",
        ),
        (
            "aliases: [{name: example.com}]",
            "aliases[0].type a CNAME cannot",
        ),
        (
            "aliases: [{name: a.example.org}]",
            "aliases[0].name \"a.example.org\" is not in",
        ),
        (
            "aliases: [{name: WWW.example.com}]",
            "aliases[0].name \"WWW.example.com\" of that zone is already at dns.records[0].name",
        ),
        (
            &format!("routing: weighted, {rfc2136}"),
            "routing only Route53",
        ),
        (
            &format!("{rfc2136}, aliases: [{{name: a.example.com, type: alias}}]"),
            "aliases[0].type only Route53",
        ),
    ] {
        let found = of_record(rest);
        let expected = format!("dns.records[0].{expected}");
        assert!(
            found.len() == 1 && found[0].starts_with(&expected),
            "{rest}: {found:?}"
        );
    }
}

#[test]
fn a_name_is_published_once_in_each_zone() {
    let two = |zones: [&str; 2]| {
        let record = |zone: &str| format!("{{zone: {zone}, name: www.example.com}}");
        faults(&format!("records: [{}]", zones.map(record).join(", "))).len()
    };
    assert_eq!(two(["Z1", "Z2"]), 0);
    assert_eq!(two(["Z1", "/hostedzone/Z1"]), 1);
    assert_eq!(two(["example.com", "Example.com."]), 1);
}

#[test]
fn the_lease_and_the_budget_have_bounds() {
    for (dns, path) in [
        ("lease_ttl: 19s", "dns.lease_ttl"),
        ("lease_ttl: 11m", "dns.lease_ttl"),
        ("requests_per_second: 0", "dns.requests_per_second"),
    ] {
        assert!(faults(dns)[0].starts_with(path), "{dns}");
    }
    assert_eq!(faults("lease_ttl: 20s"), [""; 0]);
}

#[test]
fn what_the_book_shows_is_valid() {
    let book = include_str!("../../../../../docs/src/dns.md");
    let blocks = book.split("```yaml\n").skip(1);
    let examples: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .filter(|example| example.starts_with("dns:"))
        .collect();
    assert!(examples.len() > 3);
    for example in examples {
        let found = load(&format!("version: 1\n{example}"));
        assert!(found.is_ok(), "{example}{:?}", found.err());
    }
}
