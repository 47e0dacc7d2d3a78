//! The answers to `show map`: which maps a process has loaded, and what is in one (Management Guide, section 9.3).

use std::path::PathBuf;

use super::{Command, RuntimeError, RuntimeSocket, Session, garbled};

/// A map that a process has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedMap {
    /// How commands name it (`#3`), for as long as the process lives.
    pub id: u32,
    /// The file that it was loaded from.
    pub path: PathBuf,
}

/// A key of a map and its value.
pub type MapEntry = (String, String);

impl RuntimeSocket {
    /// The maps that the process has loaded from files (`show map`).
    ///
    /// # Errors
    /// When there is no answer, or it is not the list that the manual describes.
    pub async fn maps(&self) -> Result<Vec<LoadedMap>, RuntimeError> {
        let command = Command::fixed("show map");
        let reply = self.ask(&command).await?;
        parse_list(&reply).map_err(garbled(&command))
    }

    /// What is in map `id`, in the order in which HAProxy has it (`show map #ID`).
    ///
    /// # Errors
    /// When there is no answer, or it is not a map's content.
    pub async fn map(&self, id: u32) -> Result<Vec<MapEntry>, RuntimeError> {
        let command = command(&["show", "map", &format!("#{id}")])?;
        let reply = self.ask(&command).await?;
        parse_entries(&reply).map_err(garbled(&command))
    }
}

impl Session {
    /// Has map `id` hold `entries` in this order, from one look-up to the next (`prepare map`, `add map @VERSION`, `commit
    /// map`).
    ///
    /// # Errors
    /// When HAProxy refuses, or does not answer. The map is then as it was.
    pub async fn replace_map(&mut self, id: u32, entries: &[MapEntry]) -> Result<(), RuntimeError> {
        let map = format!("#{id}");
        let prepare = command(&["prepare", "map", &map])?;
        let reply = self.ask(&prepare).await?;
        let version = reply
            .trim()
            .strip_prefix("New version created: ")
            .and_then(|version| version.parse::<u32>().ok())
            .ok_or_else(|| garbled(&prepare)("it names no version".to_owned()))?;
        let version = format!("@{version}");
        for (key, value) in entries {
            let add = command(&["add", "map", &version, &map, key, value])?;
            self.tell(&add).await?;
        }
        self.tell(&command(&["commit", "map", &version, &map])?)
            .await
    }
}

fn command(words: &[&str]) -> Result<Command, RuntimeError> {
    Command::new(words).map_err(|error| RuntimeError::Refused {
        command: words[0].to_owned(),
        words: error.to_string(),
    })
}

/// `0 (/path) pattern loaded from file '/path' used by map at …`, one a line.
pub(super) fn parse_list(reply: &str) -> Result<Vec<LoadedMap>, String> {
    if !reply.starts_with("# id (file) ") {
        return Err("it does not begin with the names of its columns".to_owned());
    }
    let mut maps = Vec::new();
    for line in reply.lines().skip(1).filter(|line| !line.is_empty()) {
        let (id, rest) = line.split_once(" (").ok_or("a line has no file")?;
        let id: i64 = id.parse().map_err(|_| format!("{id:?} is not an id"))?;
        let end = rest
            .find(") pattern loaded from file ")
            .or_else(|| rest.find(')'))
            .ok_or("a line's file does not end")?;
        // Maps that no file stands behind have an id of -1.
        if let Ok(id) = u32::try_from(id) {
            maps.push(LoadedMap {
                id,
                path: PathBuf::from(&rest[..end]),
            });
        }
    }
    Ok(maps)
}

/// `0x55aa key value`, one a line.
pub(super) fn parse_entries(reply: &str) -> Result<Vec<MapEntry>, String> {
    let lines = reply.lines().filter(|line| !line.is_empty());
    let entries = lines.map(|line| {
        let mut words = line.splitn(3, ' ');
        let (pointer, key, value) = (words.next(), words.next(), words.next());
        match (pointer, key, value) {
            (Some(pointer), Some(key), Some(value)) if pointer.starts_with("0x") => {
                Ok((key.to_owned(), value.to_owned()))
            }
            _ => Err(format!(
                "{:?} is not an entry of a map",
                line.chars().take(80).collect::<String>()
            )),
        }
    });
    entries.collect()
}
