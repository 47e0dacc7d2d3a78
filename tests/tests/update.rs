//! `hafleet update`: a cloud of the test's own, a real HAProxy on a socket in the test's directory, and no fleet.

#![cfg(test)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use hafleet_tests::aws::{Cloud, Fault, KEY, REGION};
use hafleet_tests::client::{Client, Finished};
use hafleet_tests::machine::hafleet;
use hafleet_tests::process::Process;
use hafleet_tests::scratch::Scratch;
use hafleet_tests::{wait_for, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(30);

/// A directory as a user of cron has it: a template, a configuration, a pid file.
struct Desk {
    scratch: Scratch,
    cloud: Cloud,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            scratch: Scratch::new(),
            cloud: Cloud::start(),
        };
        desk.scratch.directory("etc");
        desk.write_template(&[]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("etc").join(name)
    }

    /// A template that answers with the instances, and has these lines too.
    fn write_template(&self, lines: &[&str]) {
        let template = format!(
            "\
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind unix@{}
    http-request return status 200 content-type text/plain string \"ids: {{% for instance in instances %}}{{{{ instance.id }}}} {{% endfor %}}\"
    {}
",
            self.path("web.sock").display(),
            lines.join("\n    ")
        );
        fs::write(self.path("haproxy.j2"), template).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(hafleet());
        command.arg("update").args(arguments);
        command.arg("--output").arg(self.path("haproxy.cfg"));
        command.arg("--template").arg(self.path("haproxy.j2"));
        command.arg("--pid").arg(self.path("haproxy.pid"));
        command
            .env("AWS_ENDPOINT_URL", self.cloud.endpoint())
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", "nobody checks it")
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN");
        command
    }

    fn run(&self, command: Command) -> Finished {
        let client = Client {
            namespace: None,
            endpoints: Vec::new(),
            identity: None,
            scratch: &self.scratch,
        };
        client.finish(command)
    }

    fn update(&self, arguments: &[&str]) -> Finished {
        self.run(self.command(arguments))
    }

    fn config(&self) -> String {
        fs::read_to_string(self.path("haproxy.cfg")).unwrap()
    }

    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path("haproxy.pid")).ok()?;
        text.trim().parse().ok()
    }

    /// The ids that HAProxy answers with.
    fn served(&self) -> io::Result<Vec<String>> {
        let stream = UnixStream::connect(self.path("web.sock"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        answered(stream)
    }

    fn expect_served(&self, ids: &[&str]) {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        assert_eq!(self.served().unwrap(), ids);
    }

    /// What is in the directory, without the runtime's own.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The ids in the answer to a request.
fn answered(mut stream: impl Read + Write) -> io::Result<Vec<String>> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").unwrap_or_default().1;
    Ok(body.split_whitespace().skip(1).map(str::to_owned).collect())
}

impl Drop for Desk {
    fn drop(&mut self) {
        let config = self.path("haproxy.cfg");
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = command.split(|byte| *byte == 0);
            if words.any(|word| word == config.as_os_str().as_encoded_bytes())
                && let Some(process) = Process::find(pid)
            {
                process.signal(Signal::KILL);
            }
        }
    }
}

#[test]
fn haproxy_follows_the_instances_and_is_left_alone_between() {
    let desk = Desk::new();
    let web = desk.cloud.add_group("web");
    let one = desk.cloud.add(&web, &[]);
    let update = ["--security-group", "web"];
    let first = desk.update(&update).expect_code(0);
    assert!(first.stdout.contains("HAProxy started"), "{first}");
    desk.expect_served(&[&one]);
    let (pid, inode) = (
        desk.pid().unwrap(),
        fs::metadata(desk.path("haproxy.cfg")).unwrap().ino(),
    );

    let again = desk.update(&update).expect_code(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", ""));
    let metadata = fs::metadata(desk.path("haproxy.cfg")).unwrap();
    assert_eq!((desk.pid(), metadata.ino()), (Some(pid), inode));

    let two = desk.cloud.add(&web, &[]);
    let after = desk.update(&update).expect_code(0);
    assert!(after.stdout.contains("HAProxy reloaded"), "{after}");
    desk.expect_served(&[&one, &two]);
    assert_ne!(desk.pid(), Some(pid));
    wait_until("the process before ends", LIMIT, || {
        Process::find(pid).is_none()
    });
    assert_eq!(
        desk.files(),
        ["haproxy.cfg", "haproxy.j2", "haproxy.pid", "web.sock"]
    );
}

#[test]
fn whatever_goes_wrong_changes_nothing() {
    let desk = Desk::new();
    let web = desk.cloud.add_group("web");
    let one = desk.cloud.add(&web, &[]);
    let update = ["--security-group", "web"];
    desk.update(&update).expect_code(0);
    let (before, pid) = (desk.config(), desk.pid());
    let expect_unchanged = || {
        assert_eq!((desk.config(), desk.pid()), (before.clone(), pid));
        desk.expect_served(&[&one]);
    };

    desk.cloud.add(&web, &[]);
    for (fault, code, word) in [
        (Fault::Down, 4, "does not answer"),
        (Fault::Throttled, 4, "RequestLimitExceeded"),
        (Fault::Denied, 3, "UnauthorizedOperation"),
        (Fault::OtherPage, 1, "no whole answer"),
    ] {
        desk.cloud.gate().set(fault);
        desk.update(&update)
            .expect_code(code)
            .expect_complaint(&[word]);
        expect_unchanged();
    }
    desk.cloud.gate().set(Fault::Slow);
    desk.update(&["--security-group", "web", "--timeout", "1s"])
        .expect_code(4)
        .expect_complaint(&["--timeout"]);
    expect_unchanged();
    desk.cloud.mend();

    let nobody = ["--security-group", "nobody"];
    desk.update(&nobody)
        .expect_code(3)
        .expect_complaint(&["nobody", "--allow-empty"]);
    expect_unchanged();

    desk.write_template(&["nonsense of a line"]);
    desk.update(&update)
        .expect_code(2)
        .expect_complaint(&["HAProxy refuses", "nonsense"]);
    expect_unchanged();
    desk.write_template(&["{{ instance.id }}"]);
    desk.update(&update)
        .expect_code(2)
        .expect_complaint(&["haproxy.j2:9"]);
    expect_unchanged();
    assert_eq!(
        desk.files(),
        ["haproxy.cfg", "haproxy.j2", "haproxy.pid", "web.sock"]
    );

    desk.write_template(&[]);
    desk.update(&[&nobody[..], &["--allow-empty"]].concat())
        .expect_code(0);
    desk.expect_served(&[]);
}

#[test]
fn a_reload_that_failed_is_tried_again() {
    let desk = Desk::new();
    let one = desk.cloud.add(&desk.cloud.add_group("web"), &[]);
    let update = ["--security-group", "web"];
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bind = |address| format!("bind {address}");
    // With -sf HAProxy makes the process before let go of its sockets, and of the UNIX ones for good.
    let own = listen().local_addr().unwrap();
    let expect_served = || {
        let stream = TcpStream::connect(own).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(answered(stream).unwrap(), [one.as_str()]);
    };
    desk.write_template(&[&bind(own)]);
    desk.update(&update).expect_code(0);
    expect_served();
    let pid = desk.pid();

    let taken = listen();
    let other: SocketAddr = taken.local_addr().unwrap();
    desk.write_template(&[&bind(own), &bind(other)]);
    for _ in 0..2 {
        desk.update(&update)
            .expect_code(1)
            .expect_complaint(&["the next update tries again"]);
        assert!(desk.config().contains(&bind(other)), "it is written");
        expect_served();
    }
    assert!(Process::find(pid.unwrap()).is_some(), "the old one goes on");
    drop(taken);
    let last = desk.update(&update).expect_code(0);
    assert!(last.stdout.contains("HAProxy reloaded"), "{last}");
    expect_served();
    let quiet = desk.update(&update).expect_code(0);
    assert_eq!(quiet.stdout, "");
}

#[test]
fn groups_regions_keys_and_formats_are_as_asked_for() {
    let desk = Desk::new();
    let (web, api) = (desk.cloud.add_group("web"), desk.cloud.add_group("api"));
    desk.cloud.add(&web, &[]);
    desk.cloud.add(&api, &[]);
    let there = desk.cloud.add_group_in("us-east-1", "web");
    desk.cloud.add_in("us-east-1", &there, &[]);
    desk.write_template(&[
        "http-response set-header web '{{ groups.web | length }}'",
        "http-response set-header zones '{{ instances | map(attribute=\"zone\") | join(\",\") }}'",
    ]);
    let arguments = [
        "--security-group",
        "web",
        &api,
        "--region",
        REGION,
        "us-east-1",
        "--access-key",
        KEY,
        "--secret-key",
        "of somebody",
        "--format",
        "json",
    ];
    let mut command = desk.command(&arguments);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_REGION");
    let done = desk.run(command).expect_code(0);
    assert!(done.stderr.contains("can be read by everyone"), "{done}");
    let outcome: serde_json::Value = done.json();
    assert_eq!(outcome["instances"], 3);
    assert_eq!(outcome["groups"]["web"], 2);
    assert_eq!(outcome["groups"][&api], 1);
    assert_eq!(outcome["changed"], true);
    assert_eq!(outcome["process"], "started");
    assert_eq!(outcome["pid"], desk.pid().unwrap());
    assert!(desk.config().contains("us-east-1a"));

    let mut command = desk.command(&["--security-group", "web"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    desk.run(command)
        .expect_code(3)
        .expect_complaint(&["refuses", "nothing was changed"]);
    let mut command = desk.command(&["--security-group", "web"]);
    command.env_remove("AWS_REGION");
    desk.run(command)
        .expect_code(2)
        .expect_complaint(&["AWS_REGION"]);
}

/// What an instance's metadata and a container's agent answer, to any request that ends with one of these.
fn metadata() -> SocketAddr {
    let key = format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"{KEY}","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z","LastUpdated":"2026-01-01T00:00:00Z"}}"#
    );
    let answers = [
        ("/latest/api/token", "token".to_owned()),
        ("/placement/region", REGION.to_owned()),
        ("/security-credentials/", "hafleet".to_owned()),
        ("/hafleet", key),
    ];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                request.extend(byte);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = answers.iter().find(|(end, _)| path.ends_with(end));
            let (status, body) = answer.map_or((404, ""), |(_, body)| (200, body.as_str()));
            let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Said\r\n{ttl}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

#[test]
fn credentials_and_region_are_found_as_all_of_awss_programs_find_them() {
    let desk = Desk::new();
    desk.cloud.add(&desk.cloud.add_group("web"), &[]);
    let metadata = metadata();
    let command = || {
        let mut command = desk.command(&["--security-group", "web"]);
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY");
        command
    };
    let profile = desk.scratch.file(
        "credentials",
        &format!("[shop]\naws_access_key_id = {KEY}\naws_secret_access_key = s\n"),
    );
    let mut of_profile = command();
    of_profile
        .env("AWS_SHARED_CREDENTIALS_FILE", profile)
        .env("AWS_PROFILE", "shop");
    desk.run(of_profile).expect_code(0);

    let mut of_container = command();
    let uri = format!("http://{metadata}/hafleet");
    of_container.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
    desk.run(of_container).expect_code(0);

    let mut of_instance = command();
    let endpoint = format!("http://{metadata}");
    of_instance
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .env_remove("AWS_REGION");
    desk.run(of_instance).expect_code(0);
}

#[test]
fn instances_in_standby_are_left_out_if_that_is_wanted() {
    let desk = Desk::new();
    let blue = desk.cloud.add_auto_scaling_group("blue", 2);
    desk.cloud.set_aside("blue", &blue[0]);
    desk.update(&["--security-group", "blue"]).expect_code(0);
    assert_eq!(desk.cloud.gate().count("DescribeAutoScalingGroups"), 0);
    desk.expect_served(&[&blue[0], &blue[1]]);
    desk.update(&["--security-group", "blue", "--leave-out-standby"])
        .expect_code(0);
    desk.expect_served(&[&blue[1]]);
}

#[test]
fn at_an_interval_it_goes_on_through_faults_until_it_is_told_to_end() {
    let desk = Desk::new();
    let web = desk.cloud.add_group("web");
    let one = desk.cloud.add(&web, &[]);
    desk.cloud.break_down();
    let mut child = desk
        .command(&["--security-group", "web", "--interval", "200ms"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let serves = |ids: &[&str]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        wait_for("HAProxy follows", LIMIT, || match desk.served() {
            Ok(served) if served == ids => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    desk.cloud.mend();
    serves(&[&one]);
    desk.cloud.gate().set(Fault::Throttled);
    let two = desk.cloud.add(&web, &[]);
    desk.cloud.mend();
    serves(&[&one, &two]);
    let process = Process::find(child.id()).unwrap();
    process.signal(Signal::TERM);
    let status = wait_for("the end", LIMIT, || match child.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err("it runs"),
    });
    assert_eq!(status.code(), Some(0));
    desk.expect_served(&[&one, &two]);
}
