//! Containers that are not well, and engines that die.

use hafleet_discovery::docker::{DockerEngine, DockerSource};
use hafleet_discovery::source::Said;
use hafleet_discovery::{AddressKind, Condition, SourceError};
use tempfile::TempDir;

use super::RARELY;
use crate::watcher::{Watcher, has};
use crate::world::{SETTINGS, World, start};
use crate::worlds::{DockerWorld, Front};

/// A source that only hears events, and does not look by the interval.
fn listening(world: &DockerWorld) -> Watcher {
    Watcher::running(world.source(RARELY))
}

fn condition(said: &Said) -> Option<Condition> {
    let found = said.result.as_ref().ok()?.found.first()?;
    Some(found.condition)
}

fn left_out(said: &Said) -> Vec<&str> {
    let left_out = said
        .result
        .as_ref()
        .map(|answer| answer.left_out.as_slice());
    let left_out = left_out.unwrap_or_default().iter();
    left_out.map(|left_out| left_out.what.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_in_service_while_its_health_check_says_so() {
    let Some(world) = start::<DockerWorld>().await else {
        return;
    };
    let flags = world.home().join("flags");
    std::fs::create_dir(&flags).unwrap();
    let mount = format!("--volume={}:/flags", flags.display());
    let mut watcher = listening(&world);
    world.run("server-1", &["hafleet.backend=web"], &[&mount], "checked");
    let is = |wanted| move |said: &Said| condition(said) == Some(wanted);
    watcher.until(is(Condition::SetAside)).await;
    std::fs::write(flags.join("well"), "").unwrap();
    watcher.until(is(Condition::InService)).await;
    std::fs::remove_file(flags.join("well")).unwrap();
    watcher.until(is(Condition::SetAside)).await;
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_stopped_or_labelled_wrongly_is_no_server() {
    let Some(mut world) = start::<DockerWorld>().await else {
        return;
    };
    world.add(1).await;
    world.add(2).await;
    let mut watcher = listening(&world);
    watcher.until_numbers::<DockerWorld>(&[1, 2]).await;
    world.docker(&["pause", "server-1"]);
    watcher.until(|said| left_out(said) == ["server-1"]).await;
    world.docker(&["unpause", "server-1"]);
    watcher.until_numbers::<DockerWorld>(&[1, 2]).await;
    world.docker(&["stop", "--time=0", "server-1"]);
    watcher.until_numbers::<DockerWorld>(&[2]).await;
    world.docker(&["start", "server-1"]);
    watcher.until_numbers::<DockerWorld>(&[1, 2]).await;
    let labels = ["hafleet.backend=web", "hafleet.port=http"];
    world.run("wrong", &labels, &[], "test");
    world.run("another", &["other=1"], &[], "test");
    let both = watcher.until(|said| left_out(said) == ["wrong"]).await;
    assert!(has::<DockerWorld>(&both, &[1, 2]), "{both:?}");
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_network_is_named_and_the_hosts_own_gives_no_server() {
    let Some(mut world) = start::<DockerWorld>().await else {
        return;
    };
    world.add(1).await;
    world.change(1).await;
    let labels = ["hafleet.backend=web"];
    world.run("hosts", &labels, &["--network=host"], "test");
    let mut watcher = listening(&world);
    let first = watcher.next().await;
    assert_eq!(left_out(&first), ["hosts"]);
    let found = first.result.unwrap().found.remove(0);
    let networks = ["bridge", "more"].map(|name| AddressKind::Network(name.into()));
    let kinds: Vec<_> = found
        .addresses
        .into_iter()
        .map(|address| address.kind)
        .collect();
    assert_eq!(kinds, networks);
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_end_with_their_engine_are_gone_and_not_before_it_is_back() {
    let Ok(mut world) = DockerWorld::that_loses_containers().await else {
        return;
    };
    world.add(1).await;
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<DockerWorld>(&[1]).await;
    world.break_down().await;
    let error = watcher.until_error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    let before = watcher.next().await.count;
    world.mend().await;
    watcher.until_numbers::<DockerWorld>(&[]).await;
    let meanwhile = watcher.history.iter().filter(|said| said.count <= before);
    assert!(
        meanwhile
            .filter(|said| said.result.is_ok())
            .all(|said| found(said) == 1)
    );
    world.add(2).await;
    watcher.until_numbers::<DockerWorld>(&[2]).await;
    watcher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stands_still_is_an_error_within_the_interval() {
    let Some(mut world) = start::<DockerWorld>().await else {
        return;
    };
    world.add(1).await;
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<DockerWorld>(&[1]).await;
    world.signal("STOP");
    for _ in 0..2 {
        let error = watcher.until_error().await;
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    }
    world.signal("CONT");
    watcher.until_numbers::<DockerWorld>(&[1]).await;
    watcher.stop().await;
}

fn found(said: &Said) -> usize {
    said.result.as_ref().map_or(0, |answer| answer.found.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_not_there_is_an_error() {
    let home = TempDir::new().unwrap();
    for (engine, words) in [
        (DockerEngine::Socket(home.path().join("none")), "none"),
        (
            DockerEngine::Loopback("192.0.2.1:2375".parse().unwrap()),
            "loopback",
        ),
    ] {
        let source = DockerSource::new(engine, SETTINGS);
        let mut watcher = Watcher::running(Box::new(source));
        let error = watcher.until_error().await.to_string();
        assert!(error.contains(words), "{error}");
        watcher.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_is_reached_by_tcp_on_loopback_and_by_tls_with_certificates() {
    let Some(mut world) = start::<DockerWorld>().await else {
        return;
    };
    world.add(1).await;
    let plain = Front::plain(world.socket()).await;
    let tls = Front::with_tls(world.socket(), world.home()).await;
    let file = |name| world.home().join(name);
    let with_key = |key| DockerEngine::Tls {
        address: tls.address.to_string(),
        authority: file("ca.pem"),
        certificate: file("client.pem"),
        key: file(key),
    };
    for engine in [
        DockerEngine::Loopback(plain.address),
        with_key("client.key"),
    ] {
        let source = DockerSource::new(engine, RARELY);
        let mut watcher = Watcher::running(Box::new(source));
        let first = watcher.next().await;
        assert!(has::<DockerWorld>(&first, &[1]), "{first:?}");
        world.docker(&["pause", "server-1"]);
        watcher.until_numbers::<DockerWorld>(&[]).await;
        world.docker(&["unpause", "server-1"]);
        watcher.until_numbers::<DockerWorld>(&[1]).await;
        watcher.stop().await;
    }
    let mut stranger = with_key("client.key");
    if let DockerEngine::Tls { certificate, .. } = &mut stranger {
        *certificate = file("server.key");
    }
    for engine in [with_key("none.key"), stranger] {
        let source = DockerSource::new(engine, SETTINGS);
        let mut watcher = Watcher::running(Box::new(source));
        watcher.until_error().await;
        watcher.stop().await;
    }
}
