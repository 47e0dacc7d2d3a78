//! Whichever way HAProxy came to a configuration, by commands or by a fresh start, it is the same.
//!
//! The same are: the rows of `show servers state` and of `show stat`, as sets keyed by names, and the answers to requests.
//! Not compared are ids and the order of servers, which tell in which order they came; the weight that a server had at its
//! start (`srv_iweight`), which commands do not change and which is replaced when states are carried over a reload; and
//! counters and times. A health check that is off is one that is not there. Checked servers are compared when their checks
//! have told what there is to tell. The specs say `maxconn`; where none does, HAProxy works it out from the descriptors that
//! are left, of which it keeps one for each check that it has loaded.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hafleet_haproxy::runtime::{AdminState, ServerState};
use hafleet_haproxy::{Applied, Proxy, RuntimeSocket};
use hafleet_model::report::Change;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::sandbox::{Home, rendered, revision, sandboxed, until};
use crate::web::who;

/// As many as fit into some seconds.
const CASES: u64 = 16;

const BACKENDS: [&str; 3] = ["b0", "b1", "b2"];

/// The one place of servers where somebody listens.
const UP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9001);

/// How far two configurations may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// In what commands can change.
    Commands,
    /// In anything.
    All,
}

fn any_server(reach: Reach) -> impl Strategy<Value = String> {
    let is_free = reach == Reach::All;
    let maxconn = prop::sample::select(if is_free {
        vec!["", ", maxconn: 5"]
    } else {
        vec![""]
    });
    let backup = prop::bool::weighted(if is_free { 0.2 } else { 0.0 });
    let weight = prop::sample::select(vec![0, 1, 50, 256]);
    (1..3_u8, 9001..9003_u16, weight, maxconn, backup).prop_map(
        |(address, port, weight, maxconn, backup)| {
            format!("address: 127.0.0.{address}, port: {port}, weight: {weight}, backup: {backup}{maxconn}")
        },
    )
}

fn any_backend(reach: Reach) -> impl Strategy<Value = String> {
    let kinds = match reach {
        Reach::Commands => vec!["balance: roundrobin"],
        Reach::All => vec![
            "balance: roundrobin",
            "balance: leastconn",
            "balance: source",
            "balance: roundrobin, cookie: {name: S}",
        ],
    };
    let kind = prop::sample::select(kinds);
    let check = "health_check: {type: tcp, interval: 20ms, fall: 2}, ";
    let check = prop::sample::select(vec!["", check]);
    let servers = prop::collection::btree_map("[a-d]", any_server(reach), 0..4);
    (kind, check, servers).prop_map(|(kind, check, servers)| {
        let servers: Vec<_> = servers
            .iter()
            .map(|(name, rest)| format!("{{name: {name}, {rest}}}"))
            .collect();
        format!("{kind}, {check}servers: [{}]", servers.join(", "))
    })
}

fn any_route() -> impl Strategy<Value = String> {
    let hosts = vec![
        "",
        "host: a.com, ",
        "host: b.a.com, ",
        "host: '*.a.com', ",
        "host: '*.b.a.com', ",
    ];
    let paths = vec![
        "path_prefix: /p, ",
        "path_prefix: /p/q, ",
        "path_prefix: /, ",
    ];
    let backend = prop::sample::select(BACKENDS.to_vec());
    (
        prop::sample::select(hosts),
        prop::sample::select(paths),
        backend,
    )
        .prop_map(|(host, path, backend)| format!("{{{host}{path}backend: {backend}}}"))
}

fn any_spec(reach: Reach) -> impl Strategy<Value = String> {
    let backends = prop::collection::vec(any_backend(reach), 3);
    let routes = prop::collection::vec(any_route(), 1..5);
    (backends, routes).prop_map(|(backends, routes)| {
        let mut text = format!(
            "version: 1\nglobal: {{maxconn: 1000}}\nfrontends:\n- {{name: web, binds: [{{port: 8080}}], default_backend: b0, routes: [{}]}}\nbackends:\n",
            routes.join(", ")
        );
        for (name, rest) in BACKENDS.iter().zip(backends) {
            let says = format!("http-request return status 200 content-type text/plain string {name}");
            text.push_str(&format!("- {{name: {name}, raw: ['{says}'], {rest}}}\n"));
        }
        text
    })
}

/// What operators ask of some servers, whether they are there or not.
fn any_admin() -> impl Strategy<Value = Vec<(&'static str, String, AdminState)>> {
    let state = prop::sample::select(vec![AdminState::Maint, AdminState::Drain]);
    let backend = prop::sample::select(BACKENDS.to_vec());
    prop::collection::vec((backend, "[a-d]", state), 0..4)
}

/// A spec, and what operators ask besides.
#[derive(Debug)]
struct Wanted {
    spec: String,
    admin: Vec<(&'static str, String, AdminState)>,
}

impl Wanted {
    fn any(runner: &mut TestRunner, reach: Reach) -> Self {
        let any = (any_spec(reach), any_admin()).new_tree(runner);
        let (spec, admin) = any.unwrap().current();
        Self { spec, admin }
    }

    async fn apply(&self, proxy: &mut Proxy, sequence: u64) -> Applied {
        let mut wanted = rendered(proxy, &self.spec);
        for (backend, server, state) in &self.admin {
            wanted.set_admin(backend, server, *state);
        }
        proxy.apply(&wanted, revision(sequence)).await.unwrap()
    }
}

/// All that is to be the same.
async fn seen(home: &Home) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let newest = std::fs::read_dir(home.path().join("run"))
        .unwrap()
        .flatten();
    let path = newest.map(|entry| entry.path()).max_by_key(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        name.trim_start_matches("haproxy-")
            .parse::<u64>()
            .unwrap_or(0)
    });
    let socket = RuntimeSocket::new(path.unwrap());
    until("the checks have told", async || are_checked(&socket).await).await;
    for state in socket.servers_state().await.unwrap().iter() {
        let is_checked = state.is_check_on();
        let state = ServerState {
            check_state: None,
            // Without the bit that says what its line says.
            admin_state: state.admin_state & !0x04,
            ..state.clone()
        };
        seen.insert(format!("checked: {is_checked} {state:?}"));
    }
    for stat in socket.stat().await.unwrap().0 {
        let fields = [
            "slim", "weight", "uweight", "act", "bck", "mode", "algo", "addr", "cookie", "type",
        ];
        // The weight in force is worked out when a server comes back from maintenance.
        let is_told = |name: &str| stat.status != "MAINT" || name != "weight";
        let fields = fields.map(|name| stat.field(name).filter(|_| is_told(name)));
        seen.insert(format!(
            "{} {} {} {fields:?}",
            stat.proxy, stat.service, stat.status
        ));
    }
    let web: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    for host in ["a.com", "b.a.com", "x.b.a.com", "y.a.com", "z"] {
        for path in ["/", "/p", "/p/q/r", "/pq"] {
            seen.insert(format!("{host} {path} {}", who(web, host, path).await));
        }
    }
    seen
}

/// Whether checks have found each server to be what it is: up where somebody listens.
async fn are_checked(socket: &RuntimeSocket) -> bool {
    let stats = socket.stat().await.unwrap();
    let states = socket.servers_state().await.unwrap();
    states
        .iter()
        .filter(|state| state.is_check_on() && state.admin() != AdminState::Maint)
        .all(|state| {
            let stat = stats.server(&state.backend, &state.name).unwrap();
            let is_up = state.address == Some(UP.ip()) && state.port == UP.port();
            let told: &[&str] = if is_up { &["UP", "DRAIN"] } else { &["DOWN"] };
            told.contains(&stat.status.as_str())
        })
}

async fn stop(mut proxy: Proxy) {
    proxy.stop(std::time::Duration::from_secs(2)).await;
}

#[test]
fn commands_and_a_fresh_start_end_in_the_same() {
    sandboxed(async || {
        let mut runner = TestRunner::deterministic();
        let mut at_run_time = 0;
        let up = tokio::net::TcpListener::bind(UP).await.unwrap();
        tokio::spawn(async move { while up.accept().await.is_ok() {} });
        let home = Home::new();
        let mut proxy = home.open().await;
        for case in 0..CASES {
            let reach = if case % 4 == 3 {
                Reach::All
            } else {
                Reach::Commands
            };
            let mut any = || Wanted::any(&mut runner, reach);
            let (before, between, after) = (any(), any(), any());
            before.apply(&mut proxy, 3 * case + 1).await;
            between.apply(&mut proxy, 3 * case + 2).await;
            let applied = after.apply(&mut proxy, 3 * case + 3).await;
            at_run_time += u32::from(applied.change == Change::Runtime);
            let by_plan = seen(&home).await;
            stop(proxy).await;
            let fresh_home = Home::new();
            let mut fresh = fresh_home.open().await;
            after.apply(&mut fresh, 1).await;
            assert_eq!(
                by_plan,
                seen(&fresh_home).await,
                "{before:#?}\n{between:#?}\n{after:#?}"
            );
            stop(fresh).await;
            proxy = home.open().await;
        }
        assert!(
            at_run_time >= 3,
            "only {at_run_time} were changed at run time"
        );
    });
}
