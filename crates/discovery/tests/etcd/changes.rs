//! What is written is said.

use std::time::Duration;

use crate::following::{Following, SETTINGS};
use crate::world::{EtcdWorld, PREFIX};

#[tokio::test]
async fn first_answer_change_and_removal() {
    let world = EtcdWorld::start().await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    following.servers_are(&["a=192.0.2.1:80"]).await;
    world
        .add(
            "b",
            r#"{"address": "192.0.2.2", "port": 81, "weight": 5, "zone": "z"}"#,
        )
        .await;
    let said = following
        .servers_are(&["a=192.0.2.1:80", "b=192.0.2.2:81"])
        .await;
    let b = said.result.unwrap().found.pop().unwrap();
    assert_eq!((b.weight, b.zone.as_deref()), (Some(5), Some("z")));
    world.change("a", "192.0.2.3:80").await;
    following
        .servers_are(&["a=192.0.2.3:80", "b=192.0.2.2:81"])
        .await;
    world.remove("a").await;
    following.servers_are(&["b=192.0.2.2:81"]).await;
    world.remove("b").await;
    following.servers_are(&[]).await;
    following.stop().await;
}

#[tokio::test]
async fn an_empty_prefix_is_an_answer_and_no_error() {
    let world = EtcdWorld::start().await;
    world
        .put("/hafleet/test/backends/website/x", "192.0.2.9:80")
        .await;
    let mut following = Following::servers(&world);
    let first = following.until(|_| true).await;
    assert_eq!(first.result.unwrap().found, []);
    following.stop().await;
}

#[tokio::test]
async fn what_did_not_change_is_said_again_once_in_an_interval() {
    let world = EtcdWorld::start().await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    let mut last = following.servers_are(&["a=192.0.2.1:80"]).await;
    for _ in 0..4 {
        let said = following.next_after(last.count).await;
        assert_eq!((said.count, &said.result), (last.count + 1, &last.result));
        let pause = said.at - last.at;
        assert!(pause >= SETTINGS.interval.mul_f64(0.85), "{pause:?}");
        last = said;
    }
    following.stop().await;
}

#[tokio::test]
async fn a_value_that_is_written_again_is_no_change() {
    let world = EtcdWorld::start().await;
    world.add("a", "192.0.2.1:80").await;
    let mut following = Following::servers(&world);
    let first = following.servers_are(&["a=192.0.2.1:80"]).await;
    for _ in 0..20 {
        world.change("a", "192.0.2.1:80").await;
    }
    world.add("b", "192.0.2.2:80").await;
    let said = following
        .servers_are(&["a=192.0.2.1:80", "b=192.0.2.2:80"])
        .await;
    let intervals = (said.at - first.at).div_duration_f64(SETTINGS.interval.mul_f64(0.9));
    let most = 1.0 + intervals;
    assert!(
        (said.count - first.count) as f64 <= most,
        "{} of {most}",
        said.count
    );
    following.stop().await;
}

#[tokio::test]
async fn values_that_are_none_are_named_and_the_others_work() {
    let world = EtcdWorld::start().await;
    world.add("good", "192.0.2.1:80").await;
    world.add("bytes", "").await;
    world
        .put(&format!("{PREFIX}bytes"), vec![0xff, 0, 0xfe])
        .await;
    world.add("name", "db.internal:80").await;
    let mut following = Following::servers(&world);
    let said = following.servers_are(&["good=192.0.2.1:80"]).await;
    let left_out = said.result.unwrap().left_out;
    let named: Vec<_> = left_out.iter().map(|item| item.what.as_str()).collect();
    assert_eq!(named, [format!("{PREFIX}bytes"), format!("{PREFIX}name")]);
    world.change("bytes", "192.0.2.2:80").await;
    following
        .servers_are(&["bytes=192.0.2.2:80", "good=192.0.2.1:80"])
        .await;
    following.stop().await;
}

#[tokio::test]
async fn five_thousand_servers_and_all_gone_at_once() {
    let world = EtcdWorld::start().await;
    let many = 0..5_000;
    let pairs = many.map(|n| {
        (
            format!("{PREFIX}s{n}"),
            format!("10.0.{}.{}:80", n / 250, n % 250 + 1),
        )
    });
    world.put_all(pairs).await;
    let began = std::time::Instant::now();
    let mut following = Following::servers(&world);
    let said = following
        .until(|said| said.as_ref().is_ok_and(|said| !said.found.is_empty()))
        .await;
    eprintln!("5,000 servers after {:?}", began.elapsed());
    assert_eq!(said.result.unwrap().found.len(), 5_000);
    let before = following.last().count;
    world.delete_below(PREFIX).await;
    let began = std::time::Instant::now();
    let said = following.servers_are(&[]).await;
    eprintln!("none after {:?}", began.elapsed());
    // One transaction is one change: nobody sees a part of it.
    assert!(said.count - before <= 2 + (began.elapsed().as_millis() / 400) as u64);
    following.stop().await;
}

#[tokio::test]
async fn what_is_larger_than_one_message_is_read_in_parts() {
    let world = EtcdWorld::start().await;
    let large = |n: usize| {
        format!(
            r#"{{"address": "192.0.2.1", "port": {n}, "note": "{}"}}"#,
            "x".repeat(1_000_000)
        )
    };
    world
        .put_all((1..=40).map(|n| (format!("{PREFIX}s{n:02}"), large(n))))
        .await;
    let mut following = Following::servers(&world);
    let said = following.until(|_| true).await;
    assert_eq!(said.result.unwrap().found.len(), 40);
    following.stop().await;
}

#[tokio::test]
async fn changes_are_said_soon() {
    let world = EtcdWorld::start().await;
    let mut following = Following::servers(&world);
    following.servers_are(&[]).await;
    let mut slowest = Duration::ZERO;
    for port in 1..=50 {
        let value = format!("192.0.2.1:{port}");
        let began = std::time::Instant::now();
        world.change("a", &value).await;
        following.servers_are(&[&format!("a={value}")]).await;
        slowest = slowest.max(began.elapsed());
    }
    eprintln!("slowest of 50 changes, with the write: {slowest:?}");
    following.stop().await;
}
