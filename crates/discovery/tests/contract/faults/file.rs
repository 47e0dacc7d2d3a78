//! Files that are half written, replaced, no files at all, or not there.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;

use hafleet_discovery::SourceError;
use hafleet_discovery::file::{FileSource, MAX_SIZE};
use tempfile::TempDir;

use super::RARELY;
use crate::watcher::{Watcher, has};
use crate::world::{SETTINGS, World};
use crate::worlds::FileWorld;

async fn world(servers: u8) -> FileWorld {
    let mut world = FileWorld::start().await.unwrap();
    for number in 1..=servers {
        world.add(number).await;
    }
    world
}

/// A source that only sees changes, and does not read by the interval.
fn watching(world: &FileWorld) -> Watcher {
    Watcher::running(Box::new(FileSource::new(world.path(), RARELY)))
}

#[tokio::test]
async fn garbage_is_an_error_with_its_line_until_it_is_replaced() {
    let world = world(2).await;
    let mut watcher = watching(&world);
    watcher.until_numbers::<FileWorld>(&[1, 2]).await;
    for garbage in ["", "[\n{\"address\": ", "\u{0}\u{0}", "null", "[1]"] {
        world.replace(garbage);
        let error = watcher.until_error().await;
        assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("line"), "{error}");
        world.replace(&world.content());
        watcher.until_numbers::<FileWorld>(&[1, 2]).await;
    }
    watcher.stop().await;
}

#[tokio::test]
async fn what_is_written_in_place_is_never_believed_by_half() {
    let mut world = world(30).await;
    let mut watcher = watching(&world);
    let all: Vec<_> = (1..=30).collect();
    watcher.until_numbers::<FileWorld>(&all).await;
    for _ in 0..20 {
        let content = world.content();
        let (begin, end) = content.split_at(content.len() / 2);
        let mut file = File::create(world.path()).unwrap();
        file.write_all(begin.as_bytes()).unwrap();
        file.sync_all().unwrap();
        tokio::task::yield_now().await;
        file.write_all(end.as_bytes()).unwrap();
    }
    world.remove(30).await;
    watcher.until_numbers::<FileWorld>(&all[..29]).await;
    for said in &watcher.history {
        let is_whole = has::<FileWorld>(said, &all) || has::<FileWorld>(said, &all[..29]);
        assert!(said.result.is_err() || is_whole, "{said:?}");
    }
    watcher.stop().await;
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_seen() {
    let (old, new) = (world(1).await, world(2).await);
    let home = TempDir::new().unwrap();
    let at = |name| home.path().join(name);
    symlink(old.directory(), at("current")).unwrap();
    symlink("current/servers.json", at("servers.json")).unwrap();
    let source = FileSource::new(at("servers.json"), RARELY);
    let mut watcher = Watcher::running(Box::new(source));
    watcher.until_numbers::<FileWorld>(&[1]).await;
    symlink(new.directory(), at("next")).unwrap();
    std::fs::rename(at("next"), at("current")).unwrap();
    watcher.until_numbers::<FileWorld>(&[1, 2]).await;
    watcher.stop().await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error_until_it_comes() {
    let mut world = world(1).await;
    world.break_down().await;
    let mut watcher = watching(&world);
    let error = watcher.until_error().await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    world.mend().await;
    watcher.until_numbers::<FileWorld>(&[1]).await;
    watcher.stop().await;
}

#[tokio::test]
async fn what_is_no_file_to_read_is_an_error() {
    let world = world(1).await;
    let large = world.directory().join("large");
    File::create(&large).unwrap().set_len(MAX_SIZE + 1).unwrap();
    let pipe = world.directory().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for (path, words) in [
        (large, "larger"),
        (pipe, "regular"),
        (world.directory(), "regular"),
        ("servers.json".into(), "whole path"),
    ] {
        let source = FileSource::new(path, SETTINGS);
        let mut watcher = Watcher::running(Box::new(source));
        let error = watcher.until_error().await.to_string();
        assert!(error.contains(words), "{error}");
        watcher.stop().await;
    }
}
