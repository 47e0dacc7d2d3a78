//! A list of servers in a file, which the source `file` reads.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::scratch::Scratch;

/// A file that lists servers. All nodes of a fleet see it, since they share one file system.
#[derive(Debug)]
pub struct List {
    path: PathBuf,
}

impl List {
    /// A list that does not exist yet, in a directory of its own.
    pub fn new(scratch: &Scratch) -> Self {
        let directory = scratch.new_path("listed");
        fs::create_dir(&directory).expect("a directory in the temporary one");
        Self {
            path: directory.join("servers.json"),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lists `servers` from now on, each called `s` and its port. Nobody reads half of it.
    pub fn write(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        let server = |server: SocketAddr| {
            let name = format!("s{}", server.port());
            serde_json::json!({"name": name, "address": server.ip(), "port": server.port()})
        };
        let list: Vec<_> = servers.into_iter().map(server).collect();
        let next = self.path.with_extension("next");
        fs::write(&next, serde_json::json!(list).to_string()).expect("the next list");
        fs::rename(next, &self.path).expect("the list is replaced");
    }

    /// Takes it away, which is an error of the source and no empty list.
    pub fn remove(&self) {
        fs::remove_file(&self.path).expect("there is a list");
    }

    /// A spec whose backend `app` has the listed servers and no others, with further `lines` of its part `discovery`.
    /// They are asked each second.
    pub fn spec(&self, lines: &[&str]) -> String {
        let source = format!("file: {{ path: {} }}", self.path.display());
        spec_of(&source, lines)
    }
}

/// A spec whose backend `app` has the servers of `source` and no others, with further `lines` of its part `discovery`.
/// The source is asked each second, if it is one that is asked.
pub fn spec_of(source: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "version: 1\ndiscovery:\n  poll_interval: 1s\n{lines}\
         frontends:\n  - name: web\n    binds: [{{ address: node, port: 8080 }}]\n    default_backend: app\n\
         backends:\n  - name: app\n    sources:\n      - {source}\n"
    )
}
