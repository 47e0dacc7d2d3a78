//! moto as a program of a test's own, and the calls that make and change what it holds.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::http::{self, Message};

/// Who calls without a role: any key of this length is one of moto's first account.
pub const KEY: &str = "AKIAHAFLEETTESTS0000";

/// moto's server, for as long as somebody holds the other end of its standard input: a test that is killed leaves none.
const SERVER: &str = "\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', '0'])
";

/// The same with Route53 that is strict, by the script whose path is given.
const STRICT_SERVER: &str = "\
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
script = sys.argv[1]
sys.argv = [script, '-H', '127.0.0.1', '-p', '0']
runpy.run_path(script, run_name='__main__')
";

/// A running moto. It goes when it is dropped.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts one on a port that the system chooses, and waits until it listens.
    ///
    /// # Panics
    /// When there is no Python with moto, with the way to get one; or when it does not start.
    pub fn start() -> Self {
        Self::running(Command::new(python()).args(["-u", "-c", SERVER]))
    }

    /// Starts one whose Route53 applies batches wholly or not at all, and deletes only what is exactly as given; moto itself
    /// does not. `settings` are the environment of `strict_moto_server.py`.
    ///
    /// # Panics
    /// As [`Moto::start`].
    pub fn start_strict(settings: &[(&str, &str)]) -> Self {
        let script = in_repository("tests/python/strict_moto_server.py").expect("the script");
        let mut command = Command::new(python());
        command.args(["-u", "-c", STRICT_SERVER]).arg(script);
        Self::running(command.envs(settings.iter().copied()))
    }

    fn running(command: &mut Command) -> Self {
        let python = command.get_program().to_owned();
        let mut child = command
            .env("MOTO_ALLOW_NONEXISTENT_REGION", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", python.to_string_lossy()));
        let mut words = BufReader::new(child.stderr.take().expect("its standard error is piped"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            let length = words.read_line(&mut line).expect("what moto says is text");
            assert!(
                length > 0,
                "moto did not start with {} (`make test-tools` installs it):\n{said}",
                python.to_string_lossy()
            );
            if let Some((_, address)) = line.split_once("Running on http://") {
                break address.trim().parse().expect("moto says where it listens");
            }
            said.push_str(&line);
        };
        // It goes on to say a line for each request, and would stop when nobody takes them.
        std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
        Self { child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls an API of AWS's query protocol in the first account, and gives the answer's XML.
    ///
    /// # Panics
    /// When moto refuses the call.
    pub fn call(&self, region: &str, service: &str, parameters: &[(&str, &str)]) -> String {
        self.call_as(KEY, region, service, parameters)
    }

    /// The same as who has the access key `key`, such as one that AssumeRole gave.
    pub fn call_as(
        &self,
        key: &str,
        region: &str,
        service: &str,
        parameters: &[(&str, &str)],
    ) -> String {
        let version = match service {
            "ec2" => "2016-11-15",
            "autoscaling" => "2011-01-01",
            _ => "2011-06-15",
        };
        let version = ("Version", version);
        let all = parameters.iter().chain([&version]);
        let form: Vec<_> = all
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let scope = format!("{key}/20260101/{region}/{service}/aws4_request");
        let request = Message {
            first: "POST / HTTP/1.1".to_owned(),
            headers: vec![
                format!("Host: {service}.{region}.amazonaws.com"),
                "Content-Type: application/x-www-form-urlencoded; charset=utf-8".to_owned(),
                format!(
                    "Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
                ),
            ],
            body: form.join("&").into_bytes(),
        };
        let answer = http::exchange(self.address, &request).expect("moto answers");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.first.contains(" 200 "), "{parameters:?}: {body}");
        body
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts of all elements `name` in `xml`, in their order.
pub(super) fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned()))
        .collect()
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The interpreter that has moto: `HAFLEET_PYTHON`, the repository's own environment, or any.
fn python() -> PathBuf {
    let given = env::var_os("HAFLEET_PYTHON").map(PathBuf::from);
    given
        .or_else(|| in_repository(".tools/venv/bin/python"))
        .unwrap_or_else(|| "python3".into())
}

/// A file of the repository, from whichever package's tests are running.
fn in_repository(path: &str) -> Option<PathBuf> {
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = roots.map(|root| root.join(path));
    found.find(|found| found.is_file())
}
