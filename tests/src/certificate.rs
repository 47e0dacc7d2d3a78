//! Certificates of the traffic, and what clients are shown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::namespace::Namespace;

/// A certificate that no authority of a fleet has to do with, with its chain and key in files.
#[derive(Debug)]
pub struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    /// Makes one for `name` with files in `directory`, signed by an authority of its own. Its key is as `openssl` makes
    /// them with `kind`, such as `rsa:2048` or `ec:prime256v1`.
    pub fn make(directory: PathBuf, name: &str, kind: &str) -> Self {
        let key = |file: &str, kind: &str| {
            let option = match kind.split_once(':') {
                Some(("rsa", bits)) => ["RSA".to_owned(), format!("rsa_keygen_bits:{bits}")],
                Some(("ec", curve)) => ["EC".to_owned(), format!("ec_paramgen_curve:{curve}")],
                _ => panic!("{kind:?} is no kind of key"),
            };
            let [algorithm, option] = &option;
            let words = [
                "genpkey",
                "-algorithm",
                algorithm,
                "-pkeyopt",
                option,
                "-out",
                file,
            ];
            openssl(&directory, &words);
        };
        key("ca-key.pem", "ec:prime256v1");
        let subject = format!("/CN=signer of {name}");
        let words = [
            "req",
            "-x509",
            "-key",
            "ca-key.pem",
            "-days",
            "90",
            "-subj",
            &subject,
        ];
        openssl(&directory, &[&words[..], &["-out", "chain.pem"]].concat());
        key("key.pem", kind);
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        let words = [
            "req", "-new", "-key", "key.pem", "-subj", &subject, "-addext", &names,
        ];
        openssl(&directory, &[&words[..], &["-out", "request.pem"]].concat());
        let words = [
            "x509",
            "-req",
            "-in",
            "request.pem",
            "-CA",
            "chain.pem",
            "-CAkey",
            "ca-key.pem",
            "-days",
            "60",
            "-copy_extensions",
            "copy",
            "-out",
            "cert.pem",
        ];
        openssl(&directory, &words);
        Self { directory }
    }

    /// The file of a certificate for the same key that has expired.
    pub fn expired(&self) -> String {
        let words = ["x509", "-req", "-in", "request.pem", "-CA", "chain.pem"];
        let signed = ["-CAkey", "ca-key.pem", "-days", "-1", "-out", "expired.pem"];
        openssl(&self.directory, &[&words[..], &signed[..]].concat());
        self.file("expired.pem")
    }

    /// Its file `cert.pem`, `chain.pem` or `key.pem`.
    pub fn file(&self, name: &str) -> String {
        let path = self.directory.join(name);
        path.to_str()
            .expect("a path of plain characters")
            .to_owned()
    }

    /// All of it as HAProxy reads it.
    pub fn pem(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.file(name)).expect("a file of ours");
        ["cert.pem", "chain.pem", "key.pem"].map(read).concat()
    }
}

/// Whom the certificate that `address` shows is for; none when it shows none.
pub fn shown(client: &Client<'_>, namespace: &Namespace, address: SocketAddr) -> Option<String> {
    let client = Client {
        namespace: Some(namespace),
        ..client.clone()
    };
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]);
    let finished = client.finish(command);
    let line = finished
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("subject="))?;
    let name = line.replace(' ', "");
    Some(name.trim_start_matches("CN=").to_owned())
}

fn openssl(directory: &Path, words: &[&str]) {
    let output = Command::new("openssl")
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words:?}: {complaint}");
}
