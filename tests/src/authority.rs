//! A fleet's certificate authority, made and used through the command line as a person would.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::hafleet;

/// An authority in a directory, and the identities that it issued beside it.
#[derive(Debug)]
pub struct Authority {
    root: PathBuf,
    fleet: String,
}

impl Authority {
    /// A new authority of `fleet`, with everything in `root`.
    pub fn create(fleet: &str, root: PathBuf) -> Self {
        let authority = Self {
            root,
            fleet: fleet.to_owned(),
        };
        pki(
            &["init", "--fleet", fleet, "--dir"],
            &[&authority.root.join("authority")],
        );
        authority
    }

    /// The fleet's name.
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// The directory of the authority itself.
    pub fn directory(&self) -> PathBuf {
        self.root.join("authority")
    }

    /// Issues an identity to the node `id` and returns its directory.
    pub fn node(&self, id: &str, address: Ipv4Addr) -> PathBuf {
        self.issue(id, &["--node", id, "--address", &address.to_string()])
    }

    /// Issues another identity to the node `id`, at another address, and returns its directory, which is called `name`.
    pub fn twin(&self, name: &str, id: &str, address: Ipv4Addr) -> PathBuf {
        self.issue(name, &["--node", id, "--address", &address.to_string()])
    }

    /// Issues an identity to a person and returns its directory.
    pub fn person(&self, name: &str, role: &str) -> PathBuf {
        self.issue(name, &["--person", name, "--role", role])
    }

    fn issue(&self, name: &str, whom: &[&str]) -> PathBuf {
        let out = self.root.join(name);
        let mut command = Command::new(hafleet());
        command
            .args(["pki", "issue"])
            .args(whom)
            .arg("--authority")
            .arg(self.directory())
            .arg("--out")
            .arg(&out);
        succeed(&mut command);
        out
    }
}

fn pki(words: &[&str], paths: &[&Path]) {
    succeed(Command::new(hafleet()).arg("pki").args(words).args(paths));
}

fn succeed(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
