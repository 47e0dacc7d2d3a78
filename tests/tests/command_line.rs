//! The command line by itself: help, completions, the manual, usage, exit statuses, and commands without a fleet.

use std::fs;

use hafleet_tests::client::{Client, Finished};
use hafleet_tests::scratch::Scratch;
use hafleet_tests::spec;

fn here(scratch: &Scratch) -> Client<'_> {
    Client {
        namespace: None,
        endpoints: Vec::new(),
        identity: None,
        scratch,
    }
}

fn run(arguments: &[&str]) -> Finished {
    here(&Scratch::new()).run(arguments)
}

fn path_of(scratch: &Scratch, ending: &str, text: &str) -> String {
    scratch.file(ending, text).display().to_string()
}

#[test]
fn help_names_every_command_and_the_exit_statuses() {
    let help = run(&["--help"]).expect_code(0);
    let commands = [
        "agent",
        "demo",
        "pki",
        "status",
        "nodes",
        "plan",
        "apply",
        "spec",
        "render",
        "completions",
    ];
    for command in commands {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command} is missing in {help}"
        );
        run(&[command, "--help"]).expect_code(0);
    }
    for word in [
        "Exit status",
        "2 wrong usage",
        "4 unreachable",
        "HAFLEET_ENDPOINT",
        "HAFLEET_IDENTITY",
    ] {
        assert!(help.stdout.contains(word), "{word:?} is missing in {help}");
    }
    assert!(
        run(&["--version"])
            .expect_code(0)
            .stdout
            .starts_with("hafleet ")
    );
}

#[test]
fn completions_and_the_manual_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]).expect_code(0);
        assert!(completions.stdout.contains("rollback"), "{completions}");
    }
    let manual = run(&["man"]).expect_code(0);
    assert!(manual.stdout.contains(".TH hafleet 1"), "{manual}");
    let scratch = Scratch::new();
    let pages = scratch.directory("pages");
    here(&scratch)
        .run(&["man", "--dir", &pages.display().to_string()])
        .expect_code(0);
    assert!(pages.join("hafleet.1").is_file() && pages.join("hafleet-apply.1").is_file());
}

#[test]
fn wrong_usage_is_2_and_says_what_is_right() {
    run(&[]).expect_code(2);
    run(&["aply", "x"])
        .expect_code(2)
        .expect_complaint(&["apply"]);
    run(&["status", "--outputt", "json"])
        .expect_code(2)
        .expect_complaint(&["--output"]);
    run(&["status", "--output", "xml"])
        .expect_code(2)
        .expect_complaint(&["table", "json", "yaml"]);
    run(&["status"])
        .expect_code(2)
        .expect_complaint(&["--endpoint", "HAFLEET_ENDPOINT"]);
    run(&["status", "--endpoint", "127.0.0.1:1"])
        .expect_code(2)
        .expect_complaint(&["--identity"]);
    let nowhere = [
        "status",
        "--endpoint",
        "127.0.0.1:1",
        "--identity",
        "/nowhere/me",
    ];
    run(&nowhere)
        .expect_code(2)
        .expect_complaint(&["/nowhere/me", "pki issue"]);
    run(&["apply", "/nowhere/spec.yaml"])
        .expect_code(2)
        .expect_complaint(&["/nowhere/spec.yaml"]);
    run(&["apply", "x", "--wait", "soon"])
        .expect_code(2)
        .expect_complaint(&["soon"]);
    run(&["apply", "x", "--expect", "seven"])
        .expect_code(2)
        .expect_complaint(&["seven", "TERM.SEQUENCE"]);
    run(&["agent", "--config", "/nowhere/agent.toml"])
        .expect_code(2)
        .expect_complaint(&["/nowhere/agent.toml"]);
}

#[test]
fn an_endpoint_that_nobody_serves_is_4() {
    let scratch = Scratch::new();
    let client = here(&scratch);
    let authority = scratch.directory("pki").display().to_string();
    let identity = scratch.path().join("ada").display().to_string();
    client
        .run(&["pki", "init", "--fleet", "shop", "--dir", &authority])
        .expect_code(0);
    let ada = ["--person", "ada", "--role", "admin", "--out", &identity];
    client
        .run(&[&["pki", "issue", "--authority", &authority][..], &ada].concat())
        .expect_code(0);

    // tcpmux (RFC 1078), which nobody has served for decades.
    let endpoint = "127.0.0.1:1";
    let arguments = ["status", "--endpoint", endpoint, "--identity", &identity];
    client
        .run(&arguments)
        .expect_code(4)
        .expect_complaint(&[endpoint]);
}

#[test]
fn certificates_show_whom_they_name() {
    let scratch = Scratch::new();
    let client = here(&scratch);
    let path = |name: &str| scratch.path().join(name).display().to_string();
    client
        .run(&["pki", "init", "--fleet", "shop", "--dir", &path("pki")])
        .expect_code(0);
    let again = client.run(&["pki", "init", "--fleet", "shop", "--dir", &path("pki")]);
    assert!(
        matches!(again.code, Some(1..=3)),
        "an authority is not overwritten: {again}"
    );
    let issue = ["pki", "issue", "--authority", &path("pki")];
    client
        .run(
            &[
                &issue[..],
                &[
                    "--node",
                    "lb1",
                    "--address",
                    "192.0.2.1",
                    "--out",
                    &path("lb1"),
                ],
            ]
            .concat(),
        )
        .expect_code(0);
    let shown = client.run(&["pki", "show", &path("lb1")]).expect_code(0);
    for word in ["lb1", "shop", "192.0.2.1"] {
        assert!(shown.stdout.contains(word), "{word} is missing in {shown}");
    }
    client
        .run(&[&issue[..], &["--node", "Not A Name", "--out", &path("x")]].concat())
        .expect_code(2);
    client
        .run(
            &[
                &issue[..],
                &["--person", "ada", "--role", "king", "--out", &path("x")],
            ]
            .concat(),
        )
        .expect_code(2)
        .expect_complaint(&["king"]);
    use std::os::unix::fs::PermissionsExt as _;
    for key in ["pki/ca-key.pem", "lb1/key.pem"] {
        let mode = fs::metadata(scratch.path().join(key))
            .expect("a key")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{key} is its owner's alone");
    }
}

#[test]
fn specs_are_checked_and_rendered_without_a_fleet() {
    let scratch = Scratch::new();
    let client = here(&scratch);
    let good = spec::marked("seven", &[([192, 0, 2, 7], 80).into()]);
    let file = path_of(&scratch, "good.yaml", &good);
    client.run(&["spec", "check", &file]).expect_code(0);
    let rendered = client
        .run(&["render", &file, "--address", "192.0.2.1"])
        .expect_code(0);
    for word in [
        "frontend web",
        "192.0.2.1:8080",
        "x-marker seven",
        "192.0.2.7:80",
    ] {
        assert!(
            rendered.stdout.contains(word),
            "{word:?} is missing in {rendered}"
        );
    }
    let schema: serde_json::Value = client.run(&["spec", "schema"]).expect_code(0).json();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );

    let faults = [
        (
            good.replace("port: 8080", "port: 80800"),
            &["bad.yaml:5:", "frontends[0].binds[0].port", "80800"][..],
        ),
        (
            good.replace("version: 1", "version: 2"),
            &["bad.yaml:1:", "version", "2"],
        ),
        (
            good.replace("default_backend: app", "default_backend: ap"),
            &["bad.yaml:6:", "frontends[0].default_backend"],
        ),
        (
            good.replace("    servers:", "    server:"),
            &["bad.yaml:", "server", "servers"],
        ),
        (
            good.replace("name: app\n    servers", "name: web\n    servers"),
            &["web"],
        ),
        ("version: 1\nfrontends: [".to_owned(), &["bad.yaml:2"]),
        (String::new(), &["bad.yaml:"]),
    ];
    for (text, words) in faults {
        let file = path_of(&scratch, "bad.yaml", &text);
        client
            .run(&["spec", "check", &file])
            .expect_code(2)
            .expect_complaint(words);
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let scratch = Scratch::new();
    let file = path_of(&scratch, "bad.yaml", "version: 9\n");
    let client = here(&scratch);
    let on_terminal = |environment: &str| {
        let command = format!(
            "env {environment} {} spec check {file}",
            hafleet_tests::machine::hafleet().display()
        );
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        client.finish(script)
    };
    assert!(
        !on_terminal("NO_COLOR=1").stdout.contains("\x1b[3"),
        "{}",
        on_terminal("NO_COLOR=1")
    );
    let piped = client.run(&["spec", "check", &file]);
    assert!(!piped.stderr.contains('\x1b'), "{piped}");
}

#[test]
fn an_agents_file_is_checked_without_starting() {
    let scratch = Scratch::new();
    let client = here(&scratch);
    let check = |text: &str| {
        let file = path_of(&scratch, "agent.toml", text);
        client.run(&["agent", "--check", "--config", &file])
    };
    check("fleet = \"shop\"\naddress = \"127.0.0.1\"\nsead = []\n")
        .expect_code(2)
        .expect_complaint(&["agent.toml", "sead", "did you mean `seeds`"]);
    check("fleet = \"shop\"\naddress = \"127.0.0.1\"\n[haproxy]\nhandover = \"magic\"\n")
        .expect_code(2)
        .expect_complaint(&["handover", "magic", "pass-fds"]);
    check("fleet = \"shop\"\n")
        .expect_code(2)
        .expect_complaint(&["address"]);
    let file = path_of(
        &scratch,
        "agent.toml",
        "fleet = \"shop\"\naddress = \"127.0.0.1\"\n",
    );
    client
        .run_with(&["agent", "--check", "--config", &file], |command| {
            command.env("HAFLEET_AGENT_PORT", "many");
        })
        .expect_code(2)
        .expect_complaint(&["port", "many"]);
}
