//! Name servers that fail, are slow, lose questions, or say one thing and then another.

use std::time::Duration;

use hafleet_discovery::{Answer, SourceError};
use hafleet_model::spec::DnsRecord;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;

use crate::watcher::{Watcher, has};
use crate::world::{SETTINGS, World};
use crate::worlds::{DnsWorld, Mood};

const NAME: &str = "app.test.";

async fn world() -> DnsWorld {
    DnsWorld::start().await.unwrap()
}

fn asking_a(world: &DnsWorld) -> Watcher {
    Watcher::running(Box::new(world.asking(NAME, DnsRecord::A, SETTINGS)))
}

fn addresses(count: u8) -> Vec<RData> {
    let ip = |number| std::net::IpAddr::from([192, 0, 2, number]);
    (1..=count).map(|number| RData::from(ip(number))).collect()
}

#[tokio::test]
async fn names_without_records_are_an_answer_and_failures_are_not() {
    let world = world().await;
    let mut watcher = asking_a(&world);
    assert_eq!(watcher.next().await.result, Ok(Answer::default()));
    world.write(NAME, 1, vec![RData::from(std::net::Ipv6Addr::LOCALHOST)]);
    let nothing = watcher.next().await.result;
    assert_eq!(nothing, Ok(Answer::default()));
    for code in [
        ResponseCode::ServFail,
        ResponseCode::FormErr,
        ResponseCode::NotImp,
        ResponseCode::NotAuth,
    ] {
        world.be(Mood::Saying(code));
        watcher.until_error().await;
        let error = watcher.until_error().await;
        assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
    }
    world.be(Mood::Saying(ResponseCode::Refused));
    let refused = |said: &hafleet_discovery::source::Said| {
        matches!(said.result, Err(SourceError::Refused { .. }))
    };
    watcher.until(refused).await;
    world.be(Mood::Referring);
    watcher.until_error().await;
    let error = watcher.until_error().await;
    assert!(error.to_string().contains("refers"), "{error}");
    world.be(Mood::Well);
    watcher.until(|said| said.result.is_ok()).await;
    watcher.stop().await;
}

#[tokio::test]
async fn flapping_between_nothing_and_all_is_told_as_it_is() {
    let world = world().await;
    let mut watcher = asking_a(&world);
    for _ in 0..3 {
        world.write(NAME, 1, addresses(20));
        watcher.until(|said| found(said) == Some(20)).await;
        world.write(NAME, 1, Vec::new());
        watcher.until(|said| found(said) == Some(0)).await;
    }
    let counts: Vec<_> = watcher.history.iter().map(found).collect();
    let are_whole = counts
        .iter()
        .all(|count| [Some(0), Some(20)].contains(count));
    assert!(are_whole, "{counts:?}");
    watcher.stop().await;
}

fn found(said: &hafleet_discovery::source::Said) -> Option<usize> {
    said.result.as_ref().ok().map(|answer| answer.found.len())
}

#[tokio::test]
async fn a_slow_name_server_is_waited_for_and_a_very_slow_one_is_an_error() {
    let world = world().await;
    world.write(NAME, 1, addresses(3));
    world.be(Mood::Slow(SETTINGS.interval / 5));
    let mut watcher = asking_a(&world);
    assert_eq!(found(&watcher.next().await), Some(3));
    world.be(Mood::Slow(Duration::from_secs(20)));
    let error = watcher.until_error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    world.be(Mood::Well);
    watcher.until(|said| found(said) == Some(3)).await;
    watcher.stop().await;
}

#[tokio::test]
async fn lost_questions_are_asked_again_and_never_an_empty_answer() {
    let mut world = world().await;
    let all: Vec<_> = (1..=5).collect();
    for number in &all {
        world.add(*number).await;
    }
    world.be(Mood::Dropping(30));
    let mut watcher = Watcher::of(&world);
    for _ in 0..3 {
        watcher.until_numbers::<DnsWorld>(&all).await;
    }
    world.be(Mood::Dropping(100));
    let error = watcher.until_error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    for said in &watcher.history {
        assert!(said.result.is_err() || has::<DnsWorld>(said, &all));
    }
    watcher.stop().await;
}

#[tokio::test]
async fn one_target_that_fails_is_no_whole_answer() {
    let mut world = world().await;
    for number in 1..=3 {
        world.add(number).await;
    }
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<DnsWorld>(&[1, 2, 3]).await;
    world.be(Mood::FailingAt("server-2.test."));
    let error = watcher.until_error().await;
    assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
    world.be(Mood::Well);
    watcher.until_numbers::<DnsWorld>(&[1, 2, 3]).await;
    watcher.stop().await;
}

#[tokio::test]
async fn the_next_name_server_is_asked_when_one_fails() {
    let (one, other) = (world().await, world().await);
    one.write(NAME, 1, addresses(4));
    other.write(NAME, 1, addresses(4));
    let both = [one.address(), other.address()];
    let source = DnsWorld::asking_these(&both, NAME, DnsRecord::A, SETTINGS);
    let mut watcher = Watcher::running(Box::new(source));
    for (failing, well) in [(&one, &other), (&other, &one)] {
        well.be(Mood::Well);
        for mood in [
            Mood::Saying(ResponseCode::ServFail),
            Mood::Saying(ResponseCode::Refused),
            Mood::Slow(Duration::from_secs(20)),
        ] {
            failing.be(mood);
            let before = watcher.next().await.count;
            watcher.until(|said| said.count > before + 1).await;
        }
    }
    for said in &watcher.history {
        assert_eq!(found(said), Some(4), "{said:?}");
    }
    watcher.stop().await;
}
