use super::*;

const SMALL: &str = "\
version: 1
frontends:
  - name: web
    binds:
      - port: 8080
    routes:
      - {host: api.example.com, path_prefix: /v1, backend: api}
    default_backend: app
backends:
  - name: app
    servers:
      - {name: a1, address: 127.0.0.1, port: 9001}
  - name: api
    health_check: {type: http, path: /up, interval: 500ms}
    servers:
      - {name: b1, address: server.example.com, port: 9002, weight: 10}
";

fn findings(text: &str) -> Vec<Finding> {
    load(text).expect_err("the spec should be refused").0
}

fn only(text: &str) -> Finding {
    let mut all = findings(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_small_spec_loads_with_its_defaults() {
    let spec = load(SMALL).unwrap().spec;
    assert_eq!(spec.backends[0].balance, "roundrobin");
    assert_eq!(spec.backends[0].servers[0].weight, 100);
    assert_eq!(
        spec.frontends[0].binds[0].address,
        super::super::BindAddress::Any
    );
}

#[test]
fn json_is_read_as_well() {
    let spec = load(SMALL).unwrap().spec;
    let json = serde_json::to_string_pretty(&spec).unwrap();
    assert_eq!(load(&json).unwrap().spec, spec);
}

#[test]
fn an_unknown_field_names_its_line_its_path_and_the_nearest_known_one() {
    let finding = only(&SMALL.replace("weight: 10", "wieght: 10"));
    assert_eq!(finding.line, Some(16));
    assert!(
        finding.path.starts_with("backends[1].servers[0]"),
        "{finding}"
    );
    assert!(
        finding.message.contains("did you mean `weight`"),
        "{finding}"
    );
}

#[test]
fn a_value_of_the_wrong_type_names_what_was_found_and_what_is_expected() {
    let finding = only(&SMALL.replace("port: 9002", "port: http"));
    assert_eq!(
        (finding.line, finding.path.as_str()),
        (Some(16), "backends[1].servers[0].port")
    );
    assert!(
        finding.message.contains("\"http\"") && finding.message.contains("0 to 65535"),
        "{finding}"
    );
    let finding = only(&SMALL.replace("port: 9002", "port: 70000"));
    assert!(finding.message.contains("70000"), "{finding}");
}

#[test]
fn a_fault_of_the_notation_names_its_line() {
    let finding = only("version: 1\nfrontends: [\n");
    assert!(finding.line.is_some_and(|line| line >= 2), "{finding}");
    let finding = only("version: 1\nversion: 1\n");
    assert_eq!(finding.line, Some(2));
    assert!(finding.message.contains("duplicate"), "{finding}");
}

#[test]
fn what_is_not_a_spec_at_all_is_refused_in_words() {
    for text in ["", "hello", "- 1", "null", "\u{0}", "{", "version: 2"] {
        assert!(!findings(text)[0].message.is_empty(), "{text:?}");
    }
    assert!(only("version: 2\n").message.contains("version 1"));
}

#[test]
fn a_text_that_expands_without_bound_is_refused() {
    let mut text = String::from("version: 1\nvars:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let alias = format!("*a{}, ", level - 1).repeat(9);
        text.push_str(&format!(
            "  a{level}: &a{level} [{}]\n",
            alias.trim_end_matches(", ")
        ));
    }
    assert!(load(&text).is_err());
    let deep = format!(
        "version: 1\nvars: {{a: {}{}}}\n",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(load(&deep).is_err());
}

#[test]
fn cross_references_are_all_reported_with_their_lines() {
    let text = SMALL
        .replace("backend: api}", "backend: apii}")
        .replace("default_backend: app", "default_backend: nope");
    let all = findings(&text);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        (all[0].line, all[0].path.as_str()),
        (Some(7), "frontends[0].routes[0].backend")
    );
    assert!(
        all[0].message.contains("\"apii\"") && all[0].message.contains("did you mean \"api\""),
        "{}",
        all[0]
    );
    assert_eq!(
        (all[1].line, all[1].path.as_str()),
        (Some(8), "frontends[0].default_backend")
    );
}

#[test]
fn later_findings_are_tied_to_the_same_text() {
    let loaded = load(SMALL).unwrap();
    let finding = loaded.locate(Finding::new("backends[1].health_check", "no"));
    assert_eq!(finding.line, Some(14));
    let finding = loaded.locate(Finding::new("backends[1].raw[3]", "no"));
    assert_eq!(finding.line, Some(13));
}
