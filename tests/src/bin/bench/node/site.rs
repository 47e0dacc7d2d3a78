//! Where a load balancer is measured: its namespace, that of its clients, and the path between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hafleet_model::NodeId;
use hafleet_model::report::NodeContext;
use hafleet_tests::Namespace;
use hafleet_tests::backend::Backend;
use hafleet_tests::delay::DelayedPath;
use hafleet_tests::network::Network;
use hafleet_tests::scratch::Scratch;

use super::call::{Answer, Ask, Helper};

/// Where HAProxy listens, on all addresses.
pub(crate) const TRAFFIC_PORT: u16 = 8080;
/// Where the application listens.
pub(crate) const APPLICATION: ([u8; 4], u16) = ([127, 0, 0, 1], 9001);
/// Addresses of the load balancer, so that clients have ports enough for a new connection per request.
const ADDRESSES: [u8; 4] = [11, 12, 13, 14];

/// How far clients are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoundTrip {
    /// On a wire between two namespaces.
    None,
    /// On a path that takes 10 ms each way.
    Far,
}

impl RoundTrip {
    pub(crate) const BOTH: [Self; 2] = [Self::None, Self::Far];
    const ONE_WAY: Duration = Duration::from_millis(10);

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "RTT 0",
            Self::Far => "RTT 20 ms",
        }
    }
}

/// One load balancer and its clients. All of it goes when it is dropped.
pub(crate) struct Site {
    // In the order in which they are to end.
    _application: Backend,
    _path: Option<DelayedPath>,
    pub(crate) clients: Namespace,
    pub(crate) node: Namespace,
    _network: Option<Network>,
    pub(crate) scratch: Scratch,
}

impl Site {
    /// An empty one, whose application answers at once.
    pub(crate) fn new(round_trip: RoundTrip) -> Self {
        let (clients, node) = (Namespace::new("clients"), Namespace::new("node"));
        let client = [Ipv4Addr::new(10, 78, 0, 1)];
        let (network, path) = match round_trip {
            RoundTrip::None => {
                let network = Network::new();
                network.attach(&clients, client[0]);
                for (number, address) in addresses().into_iter().enumerate() {
                    if number == 0 {
                        network.attach(&node, address);
                    } else {
                        let address = format!("{address}/24");
                        node.output(
                            Command::new("ip").args(["address", "add", &address, "dev", "eth0"]),
                        );
                    }
                }
                (Some(network), None)
            }
            RoundTrip::Far => {
                let ends = ((&clients, &client[..]), (&node, &addresses()[..]));
                let path = DelayedPath::between(ends.0, ends.1, RoundTrip::ONE_WAY);
                (None, Some(path))
            }
        };
        // All but the well-known ports, for connections by the ten thousand.
        clients.run(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")
                .expect("the range of ports can be set in a namespace of our own");
        });
        let application = Backend::start(&node, APPLICATION.into(), "application");
        Self {
            _application: application,
            _path: path,
            clients,
            node,
            _network: network,
            scratch: Scratch::new(),
        }
    }

    /// Where clients reach HAProxy.
    pub(crate) fn targets() -> Vec<SocketAddr> {
        let at = |address: Ipv4Addr| SocketAddr::from((address, TRAFFIC_PORT));
        addresses().into_iter().map(at).collect()
    }

    /// The directory of HAProxy's files.
    pub(crate) fn home(&self) -> PathBuf {
        self.scratch.directory("lb")
    }

    /// A helper that hands over as `handover` says, and the settings' time to settle.
    pub(crate) fn helper(&self, handover: &str) -> Result<(Helper, Duration), String> {
        let mut helper = Helper::start(&self.node);
        let opened = helper.ask(&Ask::Open {
            home: self.home(),
            handover: handover.to_owned(),
        });
        match opened {
            Answer::Opened { settle } => Ok((helper, settle)),
            Answer::Refused { words } => Err(words),
            other => Err(format!("{other:?} is no answer to an opening")),
        }
    }
}

/// The load balancer, which lives in `home`.
pub(crate) fn node_context(home: &Path) -> NodeContext {
    NodeContext {
        fleet: "bench".into(),
        id: NodeId::new("lb1").expect("a name"),
        address: addresses()[0].into(),
        zone: None,
        certificate_dir: home.join("certs").display().to_string(),
    }
}

fn addresses() -> [Ipv4Addr; 4] {
    ADDRESSES.map(|last| Ipv4Addr::new(10, 78, 0, last))
}

/// A spec of one application. Another marker needs a reload; `more` is further frontends.
pub(crate) fn spec(marker: &str, more: &str) -> String {
    let (address, port) = (Ipv4Addr::from(APPLICATION.0), APPLICATION.1);
    format!(
        "version: 1\nfrontends:\n\
         - {{name: web, binds: [{{port: {TRAFFIC_PORT}}}], default_backend: app, raw: [http-response set-header x-marker {marker}]}}\n\
         {more}backends:\n- {{name: app, servers: [{{name: one, address: {address}, port: {port}}}]}}\n"
    )
}
