//! A spec that is a whole haproxy.cfg, made of one that comes from elsewhere.

use std::fmt::Write as _;

use super::{Publication, Spec, load};

/// The text of a spec whose `haproxy_cfg` is `configuration`, and whose `dns` is `publication`. In YAML with one line for
/// each of the configuration, so that people can read it and compare it; in JSON where the configuration has characters
/// that YAML would not give back. A last line without an end is given one.
pub fn of_haproxy_cfg(configuration: &str, publication: &Publication) -> String {
    let mut configuration = configuration.to_owned();
    if !configuration.ends_with('\n') {
        configuration.push('\n');
    }
    let mut spec = Spec {
        version: Spec::VERSION,
        dns: publication.clone(),
        ..Spec::default()
    };
    let text = yaml(&configuration, publication);
    spec.haproxy_cfg = Some(configuration);
    let is_same = |text: &str| load(text).is_ok_and(|loaded| loaded.spec == spec);
    match text.filter(|text| is_same(text)) {
        Some(text) => text,
        None => json(&spec),
    }
}

fn yaml(configuration: &str, publication: &Publication) -> Option<String> {
    let mut text = format!("version: {}\n", Spec::VERSION);
    if *publication != Publication::default() {
        // JSON is YAML too.
        let publication = serde_json::to_string(publication).ok()?;
        writeln!(text, "dns: {publication}").ok()?;
    }
    text.push_str("haproxy_cfg: |2+\n");
    for line in configuration.lines() {
        match line {
            "" => text.push('\n'),
            line => writeln!(text, "  {line}").ok()?,
        }
    }
    Some(text)
}

fn json(spec: &Spec) -> String {
    let mut members = serde_json::Map::new();
    members.insert("version".to_owned(), spec.version.into());
    if spec.dns != Publication::default() {
        let publication = serde_json::to_value(&spec.dns).unwrap_or_default();
        members.insert("dns".to_owned(), publication);
    }
    let configuration = spec.haproxy_cfg.clone().unwrap_or_default();
    members.insert("haproxy_cfg".to_owned(), configuration.into());
    serde_json::Value::Object(members).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_back(configuration: &str, publication: &Publication) -> Spec {
        let text = of_haproxy_cfg(configuration, publication);
        load(&text).map_or_else(|fault| panic!("{fault}\n{text}"), |loaded| loaded.spec)
    }

    #[test]
    fn a_configuration_stands_line_by_line() {
        let text = of_haproxy_cfg("global\n\tmaxconn 5\n\nbackend b", &Publication::default());
        assert_eq!(
            text,
            "version: 1\nhaproxy_cfg: |2+\n  global\n  \tmaxconn 5\n\n  backend b\n"
        );
    }

    #[test]
    fn what_yaml_would_change_is_kept_in_json() {
        let configuration = "global\r\n  # \u{1}\n";
        let text = of_haproxy_cfg(configuration, &Publication::default());
        assert!(text.starts_with('{'), "{text}");
        let spec = read_back(configuration, &Publication::default());
        assert_eq!(spec.haproxy_cfg.as_deref(), Some(configuration));
    }

    #[test]
    fn names_in_dns_stay() {
        let before = load("version: 1\ndns: {lease_ttl: 77s}");
        let before = before.unwrap_or_else(|fault| panic!("{fault}"));
        let spec = read_back("global\n", &before.spec.dns);
        assert_eq!(spec.dns, before.spec.dns);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_configuration_reads_back(configuration in "([ \t#:|>'\"-]|\\PC|\n|\r){0,60}") {
            let spec = read_back(&configuration, &Publication::default());
            let read = spec.haproxy_cfg.unwrap_or_default();
            prop_assert_eq!(read.strip_suffix('\n').unwrap_or(&read), configuration.strip_suffix('\n').unwrap_or(&configuration));
        }
    }
}
