//! Questions to HAProxies that no agent manages: their page over HTTP, their sockets, and files.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hafleet_tests::certificate::Certificate;
use hafleet_tests::client::Client;
use hafleet_tests::scratch::Scratch;
use hafleet_tests::{Finished, Namespace, can_make_namespaces, wait_for};

const PAGE: &str = "http://127.0.0.1:8404/stats";

/// A plain HAProxy in a namespace of its own. It ends when it is dropped.
struct Plain {
    namespace: Namespace,
    scratch: Scratch,
    process: Child,
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Plain {
    fn start() -> Self {
        let (namespace, scratch) = (Namespace::new("plain"), Scratch::new());
        let socket = scratch.path().join("stats.sock");
        let certificate = Certificate::make(scratch.directory("tls"), "localhost", "ec:prime256v1");
        let certificate = scratch.file("localhost.pem", &certificate.pem());
        let config = format!(
            "global\n  stats socket {} level user\n  stats socket ipv4@127.0.0.1:9999 level user\n\
             defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n\
             frontend web\n  bind 127.0.0.1:8080\n  http-request return status 200\n\
             frontend stats\n  bind 127.0.0.1:8404\n  bind 127.0.0.1:8443 ssl crt {}\n  stats enable\n  stats uri /stats\n  stats auth ada:pa55word\n\
             backend app\n  option httpchk\n  default-server check inter 100ms rise 1 fall 1\n\
             \x20 server s1 127.0.0.1:8080\n  server s2 127.0.0.1:8080\n  server s3 127.0.0.1:8080\n  server s4 127.0.0.1:1\n\
             backend empty\n",
            socket.display(),
            certificate.display()
        );
        let file = scratch.file("haproxy.cfg", &config);
        let mut command = Command::new("haproxy");
        command
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = namespace.spawn(&mut command);
        let plain = Self {
            namespace,
            scratch,
            process,
        };
        let socket = format!("unix:{}", socket.display());
        wait_for(
            "the checks have found who is up",
            Duration::from_secs(30),
            || {
                let expression =
                    "lbs[0].servers.all(s, s.status == (s.name == 's4' ? 'DOWN' : 'UP'))";
                let finished = plain.run(&["query", expression, "--stats", &socket]);
                if finished.stdout.trim_end() == "true" {
                    Ok(())
                } else {
                    Err(finished)
                }
            },
        );
        plain
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.scratch.path().join("stats.sock").display())
    }

    fn run(&self, words: &[&str]) -> Finished {
        self.run_with(words, |_| {})
    }

    fn run_with(&self, words: &[&str], adjust: impl FnOnce(&mut Command)) -> Finished {
        let client = Client {
            namespace: Some(&self.namespace),
            endpoints: Vec::new(),
            identity: None,
            scratch: &self.scratch,
        };
        client.run_with(words, |command| {
            for name in [
                "HAFLEET_STATS",
                "HAFLEET_STATS_USER",
                "HAFLEET_STATS_PASSWORD",
            ] {
                command.env_remove(name);
            }
            command.env("NETRC", "/nonexistent");
            adjust(command);
        })
    }

    fn file(&self, words: &str) -> String {
        self.scratch.file("file", words).display().to_string()
    }
}

#[test]
fn pages_sockets_and_files_answer_the_same_questions() {
    if !can_make_namespaces() {
        return;
    }
    let plain = Plain::start();
    let socket = plain.socket();
    let saved = plain.namespace.output(Command::new("curl").args([
        "-s",
        "-u",
        "ada:pa55word",
        &format!("{PAGE};csv"),
    ]));
    let file = plain.file(&saved);
    let with_login = PAGE.replace("//", "//ada:pa55word@");
    for stats in [socket.as_str(), "tcp://127.0.0.1:9999", &with_login, &file] {
        let ask = |words: &[&str]| {
            plain.run(&[&["check"], words, &["--stats", stats, "--max-age", "1h"]].concat())
        };
        let found = ask(&[
            "rolling-restart",
            "app",
            "--at-a-time",
            "1",
            "--min-up",
            "50%",
        ])
        .expect_code(0);
        assert!(
            found
                .stdout
                .contains("3 of 4 up, 2 during a restart, 2 needed; s4 DOWN"),
            "{found}"
        );
        assert!(!found.stdout.contains("pa55word"), "{found}");
        ask(&["rolling-restart", "app"]).expect_code(2);
        ask(&["rolling-restart", "empty"]).expect_code(2);
        ask(&["up", "app"]).expect_code(1);
        ask(&["up", "missing"]).expect_code(3);
        ask(&["restart-impact", "s1", "s2"]).expect_code(0);
        ask(&["restart-impact", "s1", "s2", "s3"]).expect_code(2);
        let found = ask(&["connections", "--crit", "100"]).expect_code(0);
        assert!(
            found.stdout.contains("|") && found.stdout.contains(";;100;0"),
            "{found}"
        );
        ask(&["converged"]).expect_code(3);
        ask(&["certificates"]).expect_code(3);
    }
    let both = [
        "query",
        "lbs.map(lb, lb.id)",
        "--stats",
        &format!("one={socket}"),
        "--stats",
        "two=tcp:127.0.0.1:9999",
    ];
    assert_eq!(plain.run(&both).expect_code(0).stdout, "one\ntwo\n");
    let found = plain
        .run(&["query", "lbs[0].info.Pid > 0", "--stats", &socket])
        .expect_code(0);
    assert_eq!(found.stdout, "true\n");
    // Only sockets tell of the process itself.
    plain
        .run(&["query", "lbs[0].info.Pid > 0", "--stats", &with_login])
        .expect_code(3);
}

#[test]
fn passwords_come_from_the_environment_or_a_file_too() {
    if !can_make_namespaces() {
        return;
    }
    let plain = Plain::start();
    let words = ["check", "up", "app", "--stats", PAGE];
    let found = plain.run(&words).expect_code(3);
    assert!(
        found.stdout.contains("it asks for a user and a password"),
        "{found}"
    );
    let found = plain.run_with(&words, |command| {
        command
            .env("HAFLEET_STATS_USER", "ada")
            .env("HAFLEET_STATS_PASSWORD", "pa55word");
    });
    found.expect_code(1);
    let netrc = plain.file("machine 127.0.0.1 login ada password pa55word\n");
    let found = plain.run_with(&words, |command| {
        command.env("NETRC", netrc);
    });
    found.expect_code(1);
    let found = plain.run_with(&["check", "up", "app"], |command| {
        command.env("HAFLEET_STATS", PAGE.replace("//", "//ada:pa55word@"));
    });
    found.expect_code(1);
}

#[test]
fn what_cannot_be_read_or_is_too_old_is_not_known() {
    if !can_make_namespaces() {
        return;
    }
    let plain = Plain::start();
    let socket = plain.socket();
    let ask = |stats: &[&str], more: &[&str]| {
        let stats = stats.iter().flat_map(|stats| ["--stats", stats]);
        let words: Vec<_> = [
            "check",
            "rolling-restart",
            "app",
            "--at-a-time",
            "1",
            "--min-up",
            "50%",
        ]
        .into_iter()
        .chain(stats)
        .chain(more.iter().copied())
        .collect();
        plain.run(&words)
    };
    let gone = "tcp:127.0.0.1:2";
    let found = ask(&[&socket, gone], &[]).expect_code(3);
    assert!(
        found
            .stdout
            .contains("1 of 2 load balancers did not answer: 127.0.0.1:2"),
        "{found}"
    );
    ask(&[&socket, gone], &["--allow-missing", "1"]).expect_code(0);
    ask(&[gone], &["--allow-missing", "1"]).expect_code(3);

    let page = plain.file("<html>not statistics</html>");
    let found = ask(&[&page], &[]).expect_code(3);
    assert!(found.stdout.contains("it does not begin with"), "{found}");
    let cut = plain.file("# pxname,svname,status,weight,bck,type,\napp,s1,U");
    let found = ask(&[&cut], &[]).expect_code(3);
    assert!(found.stdout.contains("it was cut off"), "{found}");

    let rows: String = (1..=4)
        .map(|number| format!("app,s{number},UP,1,0,2,\n"))
        .collect();
    let old = plain.file(&format!(
        "# pxname,svname,status,weight,bck,type,\n{rows}app,BACKEND,UP,1,0,1,\n"
    ));
    ask(&[&old], &["--max-age", "1h"]).expect_code(0);
    let written = std::time::SystemTime::now() - Duration::from_secs(120);
    let opened = std::fs::File::options()
        .write(true)
        .open(&old)
        .expect("the file");
    opened.set_modified(written).expect("an older file");
    let found = ask(&[&old], &[]).expect_code(3);
    assert!(
        found.stdout.contains("its data is 12") && found.stdout.contains("--max-age is 10 s"),
        "{found}"
    );
    let wrong = plain
        .run(&["query", "lbs.all(lb, lb.server)", "--stats", gone])
        .expect_code(3);
    wrong.expect_complaint(&["column 16", "did you mean servers?"]);
}

#[test]
fn pages_over_tls_are_read_when_their_authority_is_named() {
    if !can_make_namespaces() {
        return;
    }
    let plain = Plain::start();
    let page = "https://ada:pa55word@localhost:8443/stats";
    let authority = plain.scratch.path().join("tls").join("chain.pem");
    let authority = authority.display().to_string();
    let ask = |page: &str, more: &[&str]| {
        plain.run(&[&["check", "up", "app", "--stats", page], more].concat())
    };
    let found = ask(page, &["--stats-ca", &authority]).expect_code(1);
    assert!(found.stdout.contains("s4 DOWN"), "{found}");
    // Without the authority, or under another name, nothing is believed and no password is sent.
    let found = ask(page, &[]).expect_code(3);
    assert!(found.stdout.contains("no TLS with it"), "{found}");
    let other = page.replace("localhost", "127.0.0.1");
    let found = ask(&other, &["--stats-ca", &authority]).expect_code(3);
    assert!(found.stdout.contains("no TLS with it"), "{found}");
    let found = ask(page, &["--stats-ca", "/nonexistent/ca.pem"]).expect_code(3);
    assert!(found.stdout.contains("/nonexistent/ca.pem"), "{found}");
}
