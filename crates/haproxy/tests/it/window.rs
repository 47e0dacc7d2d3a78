//! Whether the window stops first packets, in both families and with each firewall: those that come in it wait or are sent
//! again, and all get through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hafleet_haproxy::{ApplyError, FirewallChoice, HandoverChoice, HandoverError, Proxy};
use hafleet_model::with_causes;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::firewall::{has, rules};
use crate::sandbox::{Home, apply, rendered, revision, sandboxed_as_root, until};

/// How long the window is open, about: well over what a connection takes, and well below the second after which a first
/// packet is sent again.
const SETTLE: Duration = Duration::from_millis(400);

/// What begins in the window takes longer than this, all else does not.
const DELAYED: Duration = Duration::from_millis(100);

/// What is sent again takes longer than this.
const SENT_AGAIN: Duration = Duration::from_millis(950);

fn spec(maxconn: u16) -> String {
    format!(
        "version: 1\nfrontends: [{{name: web, maxconn: {maxconn}, binds: [{{port: 8080, address: 127.0.0.1}}, {{port: 8080, address: ::1}}], \
         default_backend: app}}]\nbackends: [{{name: app}}]\n"
    )
}

/// Connects to `to` every few milliseconds until it is over; how long each attempt took.
async fn connecting(to: SocketAddr, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut attempts = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        attempts.spawn(async move {
            let begun = Instant::now();
            TcpStream::connect(to).await.unwrap();
            begun.elapsed()
        });
    }
    attempts.join_all().await
}

/// Reloads while clients of both families connect. None where this kernel cannot do it.
async fn took(choice: HandoverChoice, firewall: FirewallChoice) -> Option<[Vec<Duration>; 2]> {
    let home = Home::new();
    let mut settings = home.settings();
    settings.handover = choice;
    settings.firewall = firewall;
    settings.settle = SETTLE;
    let mut proxy = Proxy::open(settings).await.unwrap();
    apply(&mut proxy, &spec(100), 1).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let clients = ["127.0.0.1:8080", "[::1]:8080"].map(|to| {
        let to: SocketAddr = to.parse().unwrap();
        tokio::spawn(connecting(to, Arc::clone(&is_over)))
    });
    let wanted = rendered(&proxy, &spec(101));
    let applied = proxy.apply(&wanted, revision(2)).await;
    is_over.store(true, Ordering::Relaxed);
    let [four, six] = clients;
    let took = [four.await.unwrap(), six.await.unwrap()];
    assert_eq!(rules(), "", "removed when it was done");
    until("the old one ends", async || {
        proxy.observe().await.old_processes == 0
    })
    .await;
    proxy.stop(Duration::from_secs(2)).await;
    match applied {
        Ok(applied) => {
            let words = applied.handover.unwrap();
            assert!(!words.contains("; but "), "{words}");
            Some(took)
        }
        Err(error @ ApplyError::Handover(HandoverError::Firewall(_))) => {
            let words = with_causes(&error);
            assert!(firewall == FirewallChoice::Nft && choice == HandoverChoice::HoldSyn);
            eprintln!("skipped: this kernel's nft has no queues: {words}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

async fn waits(firewall: FirewallChoice, programs: &[&str]) {
    if !has(programs) {
        return;
    }
    let Some(families) = took(HandoverChoice::HoldSyn, firewall).await else {
        return;
    };
    for took in families {
        let held = took
            .iter()
            .filter(|took| (DELAYED..SENT_AGAIN).contains(*took));
        assert!(held.count() > 5, "few waited: {took:?}");
    }
}

async fn comes_again(firewall: FirewallChoice, programs: &[&str]) {
    if !has(programs) {
        return;
    }
    for took in took(HandoverChoice::DropSyn, firewall).await.unwrap() {
        let again = took.iter().filter(|took| **took >= SENT_AGAIN);
        assert!(again.count() > 5, "few were dropped: {took:?}");
    }
}

const LEGACY: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];
const OVER_NFT: [&str; 2] = ["iptables-nft", "ip6tables-nft"];

#[test]
fn both_families_wait_with_iptables_legacy() {
    sandboxed_as_root(async || waits(FirewallChoice::IptablesLegacy, &LEGACY).await);
}

#[test]
fn both_families_wait_with_iptables_nft() {
    sandboxed_as_root(async || waits(FirewallChoice::IptablesNft, &OVER_NFT).await);
}

#[test]
fn both_families_wait_with_nft() {
    sandboxed_as_root(async || waits(FirewallChoice::Nft, &["nft"]).await);
}

#[test]
fn both_families_come_again_with_iptables_legacy() {
    sandboxed_as_root(async || comes_again(FirewallChoice::IptablesLegacy, &LEGACY).await);
}

#[test]
fn both_families_come_again_with_iptables_nft() {
    sandboxed_as_root(async || comes_again(FirewallChoice::IptablesNft, &OVER_NFT).await);
}

#[test]
fn both_families_come_again_with_nft() {
    sandboxed_as_root(async || comes_again(FirewallChoice::Nft, &["nft"]).await);
}
