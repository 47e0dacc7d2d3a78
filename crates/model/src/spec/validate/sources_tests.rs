use crate::spec::load;

/// The paths of the faults of a spec with this `discovery`, and these sources of its backend.
fn faults(discovery: &str, sources: &str) -> Vec<String> {
    let text = format!(
        "version: 1\ndiscovery: {discovery}\nbackends:\n- {{name: app, sources: {sources}}}\n"
    );
    let findings = load(&text).err().map(|findings| findings.0);
    let paths = findings.into_iter().flatten().map(|finding| finding.path);
    paths.collect()
}

const NONE: [&str; 0] = [];

#[test]
fn what_is_right_has_no_fault() {
    let sources = "[
        {ec2: {security_groups: [sg-1], tags: {App: shop}, port: 80, roles: ['arn:aws:iam::123456789012:role/x']}},
        {dns: {name: app.internal., port: 80, resolvers: ['192.0.2.53', '[2001:db8::1]:5353']}},
        {dns: {name: _http._tcp.app, record: srv}},
        {docker: {}}, {file: {path: /etc/servers.json}}]";
    assert_eq!(faults("{}", sources), NONE);
}

#[test]
fn every_fault_is_at_its_path() {
    let one = "backends[0].sources[0]";
    for (source, path) in [
        ("{ec2: {port: 80}}", "ec2"),
        ("{ec2: {vpc: v}}", "ec2"),
        ("{ec2: {vpc: v, port: 0}}", "ec2.port"),
        ("{ec2: {vpc: v, port: 80, weight: 257}}", "ec2.weight"),
        ("{ec2: {vpc: v, port: 80, roles: [admin]}}", "ec2.roles[0]"),
        (
            "{ec2: {port: 80, filters: {image-id: []}}}",
            "ec2.filters.image-id",
        ),
        ("{dns: {name: app}}", "dns"),
        ("{dns: {name: 'a b', port: 80}}", "dns.name"),
        ("{file: {path: servers.json}}", "file.path"),
        ("{docker: {weight: 300}}", "docker.weight"),
    ] {
        assert_eq!(
            faults("{}", &format!("[{source}]")),
            [format!("{one}.{path}")],
            "{source}"
        );
    }
}

#[test]
fn believing_has_bounds() {
    for (discovery, path) in [
        ("{poll_interval: 100ms}", "discovery.poll_interval"),
        ("{max_shrink: 101}", "discovery.max_shrink"),
        ("{shrink_confirm: 0}", "discovery.shrink_confirm"),
    ] {
        assert_eq!(faults(discovery, "[]"), [path]);
    }
}

#[test]
fn a_source_is_there_once() {
    let source = "{docker: {}}";
    assert_eq!(
        faults("{}", &format!("[{source}, {source}]")),
        ["backends[0].sources[1]"]
    );
}
