//! A real etcd of one member, as whoever registers servers there sees it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;

use crate::deadline::wait_for;
use crate::namespace::Namespace;
use crate::request::runtime;
use crate::scratch::Scratch;

const PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// A running etcd. It is killed when it is dropped.
#[derive(Debug)]
pub struct Etcd<'n> {
    child: Child,
    address: SocketAddr,
    namespace: &'n Namespace,
}

impl<'n> Etcd<'n> {
    /// Starts one in `namespace` and waits until it answers.
    pub fn start(namespace: &'n Namespace, address: Ipv4Addr, scratch: &Scratch) -> Self {
        let url = |port: u16| format!("http://{address}:{port}");
        let mut command = Command::new("etcd");
        command
            .arg("--data-dir")
            .arg(scratch.new_path("etcd"))
            .args(["--listen-client-urls", &url(PORT)])
            .args(["--advertise-client-urls", &url(PORT)])
            .args(["--listen-peer-urls", &url(PEER_PORT)])
            .args(["--initial-advertise-peer-urls", &url(PEER_PORT)])
            .args(["--initial-cluster", &format!("default={}", url(PEER_PORT))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let etcd = Self {
            child: namespace.spawn(&mut command),
            address: (address, PORT).into(),
            namespace,
        };
        wait_for("etcd answers", Duration::from_secs(30), || {
            etcd.try_put("/ready", "yes")
        });
        etcd
    }

    /// Its URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives `key` the value `value`.
    pub fn put(&self, key: &str, value: &str) {
        self.try_put(key, value).expect("etcd takes a key");
    }

    /// Removes `key`.
    pub fn delete(&self, key: &str) {
        let url = self.url();
        let deleted = self.namespace.run(|| {
            runtime().block_on(async {
                let mut client = Client::connect([url], None).await?;
                client.delete(key, None).await
            })
        });
        deleted.expect("etcd removes a key");
    }

    fn try_put(&self, key: &str, value: &str) -> Result<(), String> {
        let url = self.url();
        let put = self.namespace.run(|| {
            runtime().block_on(async {
                let mut client = Client::connect([url], None).await?;
                client.put(key, value, None).await
            })
        });
        put.map(|_| ()).map_err(|error| error.to_string())
    }
}

impl Drop for Etcd<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
