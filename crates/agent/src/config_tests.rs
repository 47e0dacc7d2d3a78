use super::*;

const WHOLE: &str = r#"
node_id = "lb1"
fleet = "shop"
address = "192.0.2.1"
seeds = ["lb2.example.com", "192.0.2.3:7000", "2001:db8::1"]
data_dir = "/srv/hafleet"
zone = "eu-west-1a"

[haproxy]
handover = "drop-syn"
settle = "150ms"

[log]
format = "json"
"#;

fn load(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|error| error.to_string())
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let config = load(WHOLE).unwrap();
    assert_eq!(config.address, "192.0.2.1:7440".parse().unwrap());
    assert_eq!(config.listen, config.address);
    assert_eq!(
        config.seeds,
        [
            "lb2.example.com:7440",
            "192.0.2.3:7000",
            "[2001:db8::1]:7440"
        ]
    );
    assert_eq!(config.haproxy.address, config.address.ip());
    assert_eq!(config.haproxy.runtime_dir, Path::new("/srv/hafleet/run"));
    assert_eq!(config.haproxy.settle.to_string(), "150ms");
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn the_node_is_named_after_its_host() {
    let config = load(&WHOLE.replace("node_id = \"lb1\"", "")).unwrap();
    assert_eq!(
        config.node_id.as_str(),
        gethostname::gethostname().to_string_lossy()
    );
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let error = load(&WHOLE.replace("zone =", "zoen =")).unwrap_err();
    assert!(
        error.contains("agent.toml") && error.contains("`zoen`") && error.contains("`zone`"),
        "{error}"
    );
    let error = load(&WHOLE.replace("handover =", "hand_over =")).unwrap_err();
    assert!(
        error.contains("haproxy") && error.contains("`handover`"),
        "{error}"
    );
}

#[test]
fn a_fault_names_the_value() {
    let error = load(&WHOLE.replace("192.0.2.1", "192.0.2.400")).unwrap_err();
    let words = "address: `192.0.2.400` is no IP address: write one such as 192.0.2.1";
    assert!(error.contains(words), "{error}");
    let error = load(&WHOLE.replace("\"150ms\"", "150")).unwrap_err();
    assert!(
        error.contains("haproxy.settle") && error.contains("150"),
        "{error}"
    );
}

#[test]
fn a_fault_names_its_key_and_what_is_allowed() {
    let cases = [
        ("fleet = \"shop\"", "", "fleet"),
        ("192.0.2.1", "nowhere", "address"),
        ("192.0.2.1", "0.0.0.0", "address"),
        ("\"lb1\"", "\"a b\"", "node_id"),
        ("lb2.example.com", "a b", "seeds"),
        ("drop-syn", "magic", "haproxy.handover"),
        ("150ms", "150", "haproxy.settle"),
        (
            "fleet = \"shop\"",
            "fleet = \"shop\"\ngossip_interval = \"100ms\"",
            "gossip_interval: 100ms",
        ),
        ("[log]", "[log", "agent.toml"),
    ];
    for (found, replaced, named) in cases {
        let error = load(&WHOLE.replace(found, replaced)).unwrap_err();
        assert!(error.contains(named), "{replaced}: {error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    let error = Config::load(Path::new("/nonexistent/agent.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/nonexistent/agent.toml") && error.contains("no such file"),
        "{error}"
    );
}

#[test]
fn a_service_is_named_with_what_belongs_to_it() {
    let head = "fleet = \"shop\"\naddress = \"192.0.2.1\"\nnode_id = \"lb1\"\n[haproxy]\n";
    let with = |rest: &str| load(&format!("{head}{rest}"));
    let file = "config_file = \"/etc/haproxy/haproxy.cfg\"\n";
    let systemd = with(&format!(
        "process = \"systemd\"\nfirewall = \"nft\"\n{file}"
    ))
    .unwrap();
    let unit = "haproxy.service".to_owned();
    assert_eq!(systemd.haproxy.process, ProcessMode::Systemd { unit });
    assert_eq!(systemd.haproxy.firewall, FirewallChoice::Nft);
    let words = "process = \"command\"\nreload_command = [\"/opt/a b\", \"$x\"]\n";
    let command = with(&format!("{words}{file}")).unwrap();
    let reload = vec!["/opt/a b".to_owned(), "$x".to_owned()];
    let start = None;
    assert_eq!(
        command.haproxy.process,
        ProcessMode::Command { reload, start }
    );
    let refused = |rest: &str, key: &str| {
        let words = with(rest).unwrap_err();
        assert!(words.contains(key), "{words}");
    };
    refused("process = \"systemd\"\n", "haproxy.config_file");
    refused("unit = \"x.service\"\n", "haproxy.unit");
    let no_command = format!("process = \"command\"\n{file}");
    refused(&no_command, "haproxy.reload_command");
}

#[test]
fn what_is_published_is_the_address_of_haproxy_unless_it_is_said() {
    use AddressSource::{Given, Metadata};
    use NodeAddress::{Ipv6, Private, Public};
    let own = Given("192.0.2.1".parse().unwrap());
    let config = load(WHOLE).unwrap();
    assert_eq!(config.addresses, [(Public, own), (Private, own)].into());
    assert_eq!(config.weight, 100);

    let told = "weight = 0\n[addresses]\npublic = \"imds\"\nipv6 = \"2001:db8::5\"\n[haproxy]";
    let config = load(&WHOLE.replace("[haproxy]", told)).unwrap();
    let ipv6 = Given("2001:db8::5".parse().unwrap());
    let expected = [(Public, Metadata), (Private, own), (Ipv6, ipv6)];
    assert_eq!(config.addresses, expected.into());
    assert_eq!(config.weight, 0);
}

#[test]
fn what_cannot_be_published_is_a_fault() {
    for (given, words) in [
        ("ipv6 = \"192.0.2.1\"", "is not an IPv6 address"),
        ("public = \"imsd\"", "neither an address nor \"imds\""),
        ("private = \"0.0.0.0\"", "no address that others can reach"),
    ] {
        let section = format!("[addresses]\n{given}\n[haproxy]");
        let error = load(&WHOLE.replace("[haproxy]", &section)).unwrap_err();
        assert!(
            error.contains("addresses.") && error.contains(words),
            "{error}"
        );
    }
}

#[test]
fn keys_of_name_servers_are_read_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let secret = "aGFmbGVldCBzZWNyZXQga2V5IGZvciB0ZXN0cyBvbmx5";
    let told = format!("[dns_keys.\"update.example.com\"]\nsecret_file = {file:?}\n[haproxy]");
    let text = WHOLE.replace("[haproxy]", &told);
    let error = load(&text).unwrap_err();
    assert!(
        error.contains("dns_keys.update.example.com.secret_file"),
        "{error}"
    );
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let config = load(&text).unwrap();
    assert!(config.dns_keys.contains_key("update.example.com"));
    assert!(!format!("{config:?}").contains(secret));
}

#[test]
fn an_audit_log_and_an_issuer_have_their_defaults_and_bounds() {
    let with = |part: &str| load(&format!("{WHOLE}\n{part}"));
    let audit = with("[audit]\nfile = \"/var/log/audit.jsonl\"").unwrap();
    let audit = audit.audit.unwrap();
    assert_eq!((audit.max_bytes, audit.keep), (10_000_000, 5));
    let issuer = "[issuer]\ncertificate = \"/i.pem\"\nkey = \"/k.pem\"\n";
    let issuer_config = with(issuer).unwrap().issuer.unwrap();
    assert_eq!(issuer_config.address, "192.0.2.1:7441".parse().unwrap());
    assert_eq!(issuer_config.valid_for.as_secs(), 30 * 86_400);
    assert!(load(WHOLE).unwrap().issuer.is_none());
    for (part, words) in [
        ("[audit]\nkeep = 3", "audit.file: it is required"),
        ("[audit]\nfile = \"here\"", "here is not an absolute path"),
        ("[audit]\nfile = \"/a\"\nmax_bytes = 9", "9 is too small"),
        ("[audit]\nfile = \"/a\"\nkeep = 101", "101 is too many"),
        (
            &format!("{issuer}port = 7440"),
            "issuer.port: 7440 is not allowed",
        ),
        (
            &format!("{issuer}valid_days = 366"),
            "issuer.valid_days: 366 is not allowed",
        ),
        ("[issuer]\nkey = \"/k\"", "certificate"),
    ] {
        let error = with(part).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn callers_of_lb_agent_are_known_or_on_this_machine() {
    use hafleet_api::fleet::Scope;
    use hafleet_api::lb_agent::Local;
    let with = |part: &str| {
        let part = format!("[lb_agent]\ndefault_backend = \"app\"\n{part}");
        load(&format!("{WHOLE}\n{part}")).map(|config| config.lb_agent.unwrap())
    };
    assert!(load(WHOLE).unwrap().lb_agent.is_none());
    let own = with("scope = \"node\"").unwrap();
    assert_eq!(own.listen, "127.0.0.1:6666".parse().unwrap());
    assert_eq!((own.scope, own.keys.local), (Scope::ThisNode, Local::Node));
    let fleet = with("certificate = \"/ada.pem\"").unwrap();
    assert_eq!(fleet.keys.local, Local::Person("/ada.pem".into()));
    let token = "tokens = [{ file = \"/t\", certificate = \"/ada.pem\" }]\n";
    let known = with(token).unwrap();
    assert_eq!(
        (known.keys.local, known.keys.tokens.len()),
        (Local::Refused, 1)
    );
    let public = "listen = \"0.0.0.0:6666\"\n";
    let public_tls = with(&format!("{public}tls = true")).unwrap();
    assert_eq!(public_tls.keys.local, Local::Refused);
    for (part, words) in [
        (public, "0.0.0.0:6666 is not loopback"),
        (&format!("{public}{token}"), "set lb_agent.tls = true"),
        ("", "lb_agent.certificate: it is required"),
        ("scope = \"world\"", "lb_agent.scope"),
        ("listen = \"127.0.0.1:0\"", "port 0 is not allowed"),
        (
            &format!("certificate = \"/a\"\n{token}"),
            "leave it out where",
        ),
        ("only_prefx = \"i-\"", "did you mean `only_prefix`"),
    ] {
        let error = with(part).unwrap_err();
        assert!(error.contains(words), "{part}: {error}");
    }
    let witness = "witness = true\nnode_id";
    let text = WHOLE.replacen("node_id", witness, 1);
    let error = load(&format!(
        "{text}\n[lb_agent]\ndefault_backend = \"a\"\nscope = \"node\""
    ))
    .unwrap_err();
    assert!(error.contains("a witness runs no HAProxy"), "{error}");
}
