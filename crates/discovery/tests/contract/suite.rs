//! What every source does.

use crate::watcher::{Watcher, has};
use crate::world::{SETTINGS, World, start};
use crate::worlds::{DnsWorld, DockerWorld, Ec2World, EtcdWorld, FileWorld};

/// Makes a module of tests for each kind of source: each test is a function of this module over its world.
macro_rules! contract {
    ($tests:tt for $($module:ident: $world:ty),+ $(,)?) => {
        $(contract!(@module $module: $world, $tests);)+
    };
    (@module $module:ident: $world:ty, [$($test:ident),+ $(,)?]) => {
        mod $module {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(world) = start::<$world>().await {
                        super::$test(world).await;
                    }
                }
            )+
        }
    };
}

contract!(
    [
        the_first_answer_is_whole,
        nothing_there_is_an_answer,
        what_comes_and_changes_is_found,
        what_goes_is_gone,
        an_error_is_told_and_recovered_from,
        what_is_broken_at_the_start_is_an_error,
        a_lost_watch_is_made_anew,
        an_answer_is_whole_or_an_error,
        something_is_said_at_least_each_interval,
        it_ends_when_it_is_told_to,
    ] for file: FileWorld, dns: DnsWorld, docker: DockerWorld, etcd: EtcdWorld, ec2: Ec2World,
);

async fn the_first_answer_is_whole<W: World>(mut world: W) {
    world.add(1).await;
    world.add(2).await;
    let mut watcher = Watcher::of(&world);
    let first = watcher.next().await;
    assert_eq!(first.count, 1);
    assert!(has::<W>(&first, &[1, 2]), "{first:?}");
    watcher.stop().await;
}

async fn nothing_there_is_an_answer<W: World>(mut world: W) {
    world.add(1).await;
    world.remove(1).await;
    let mut watcher = Watcher::of(&world);
    let first = watcher.next().await;
    assert!(has::<W>(&first, &[]), "{first:?}");
    watcher.stop().await;
}

async fn what_comes_and_changes_is_found<W: World>(mut world: W) {
    world.add(1).await;
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<W>(&[1]).await;
    world.add(2).await;
    let before = watcher.until_numbers::<W>(&[1, 2]).await;
    world.change(1).await;
    let of = |found: &[_], number| {
        found
            .iter()
            .find(|found| W::number(found) == number)
            .cloned()
    };
    let changed = watcher.until(|said| {
        let found = said.result.as_ref().map(|answer| answer.found.as_slice());
        has::<W>(said, &[1, 2]) && of(found.unwrap(), 1) != of(&before, 1)
    });
    let after = changed.await.result.unwrap().found;
    assert_eq!(of(&after, 2), of(&before, 2));
    watcher.stop().await;
}

async fn what_goes_is_gone<W: World>(mut world: W) {
    world.add(1).await;
    world.add(2).await;
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<W>(&[1, 2]).await;
    world.remove(1).await;
    watcher.until_numbers::<W>(&[2]).await;
    world.remove(2).await;
    watcher.until_numbers::<W>(&[]).await;
    watcher.stop().await;
}

async fn an_error_is_told_and_recovered_from<W: World>(mut world: W) {
    world.add(1).await;
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<W>(&[1]).await;
    world.break_down().await;
    watcher.until_error().await;
    for _ in 0..3 {
        let said = watcher.next().await;
        assert!(said.result.is_err(), "{said:?}");
    }
    world.mend().await;
    watcher.until_numbers::<W>(&[1]).await;
    world.add(2).await;
    watcher.until_numbers::<W>(&[1, 2]).await;
    watcher.stop().await;
}

async fn what_is_broken_at_the_start_is_an_error<W: World>(mut world: W) {
    world.add(1).await;
    world.break_down().await;
    let mut watcher = Watcher::of(&world);
    let first = watcher.next().await;
    assert!(first.result.is_err(), "{first:?}");
    world.mend().await;
    watcher.until_numbers::<W>(&[1]).await;
    watcher.stop().await;
}

async fn a_lost_watch_is_made_anew<W: World>(mut world: W) {
    world.add(1).await;
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<W>(&[1]).await;
    for number in 2..=3 {
        world.interrupt().await;
        world.add(number).await;
        let all: Vec<_> = (1..=number).collect();
        watcher.until_numbers::<W>(&all).await;
    }
    watcher.stop().await;
}

async fn an_answer_is_whole_or_an_error<W: World>(mut world: W) {
    let all: Vec<_> = (1..=W::MANY).collect();
    for number in &all {
        world.add(*number).await;
    }
    let mut watcher = Watcher::of(&world);
    watcher.until_numbers::<W>(&all).await;
    for _ in 0..3 {
        world.break_down().await;
        watcher.until_error().await;
        world.mend().await;
        watcher.until_numbers::<W>(&all).await;
        world.interrupt().await;
    }
    for said in &watcher.history {
        assert!(said.result.is_err() || has::<W>(said, &all), "{said:?}");
    }
    watcher.stop().await;
}

async fn something_is_said_at_least_each_interval<W: World>(mut world: W) {
    world.add(1).await;
    let mut watcher = Watcher::of(&world);
    for _ in 0..6 {
        watcher.next().await;
    }
    // What an answer takes, on a machine that does much else.
    let slack = SETTINGS.interval;
    for pair in watcher.history.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause <= SETTINGS.interval.mul_f64(1.1) + slack, "{pause:?}");
    }
    watcher.stop().await;
}

async fn it_ends_when_it_is_told_to<W: World>(mut world: W) {
    world.add(1).await;
    for is_broken in [false, true] {
        if is_broken {
            world.break_down().await;
        }
        let mut watcher = Watcher::of(&world);
        watcher.next().await;
        watcher.stop().await;
        let mut watcher = Watcher::of(&world);
        watcher.next().await;
        watcher.abandon().await;
        let watcher = Watcher::of(&world);
        watcher.stop().await;
    }
}
