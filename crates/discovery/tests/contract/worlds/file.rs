//! A file in a directory of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hafleet_discovery::file::FileSource;
use hafleet_discovery::{Source, SourceSettings};
use serde_json::json;
use tempfile::TempDir;

use crate::world::World;

/// A file that lists servers, with their weights.
pub(crate) struct FileWorld {
    home: TempDir,
    weights: BTreeMap<u8, u16>,
    is_broken: bool,
}

impl FileWorld {
    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory().join("servers.json")
    }

    /// The directory that it is in.
    pub(crate) fn directory(&self) -> PathBuf {
        self.home.path().join("here")
    }

    /// What should be in it.
    pub(crate) fn content(&self) -> String {
        let servers = self.weights.iter().map(|(number, weight)| {
            json!({
                "name": format!("server-{number}"), "address": format!("192.0.2.{number}"),
                "port": 80, "weight": weight,
            })
        });
        json!(servers.collect::<Vec<_>>()).to_string()
    }

    /// Puts a whole new file in the place of the old one.
    pub(crate) fn replace(&self, content: &str) {
        let beside = self.home.path().join("beside");
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(&beside, self.path()).unwrap();
    }

    fn write(&self) {
        if !self.is_broken {
            self.replace(&self.content());
        }
    }
}

#[async_trait(?Send)]
impl World for FileWorld {
    const NAME: &'static str = "file";

    async fn start() -> Result<Self, String> {
        let world = Self {
            home: TempDir::new().unwrap(),
            weights: BTreeMap::new(),
            is_broken: false,
        };
        std::fs::create_dir(world.directory()).unwrap();
        world.write();
        Ok(world)
    }

    fn source(&self, settings: SourceSettings) -> Box<dyn Source> {
        Box::new(FileSource::new(self.path(), settings))
    }

    async fn add(&mut self, number: u8) {
        self.weights.insert(number, 100);
        self.write();
    }

    async fn change(&mut self, number: u8) {
        *self.weights.get_mut(&number).unwrap() += 1;
        self.write();
    }

    async fn remove(&mut self, number: u8) {
        self.weights.remove(&number);
        self.write();
    }

    async fn break_down(&mut self) {
        self.is_broken = true;
        std::fs::remove_file(self.path()).unwrap_or_default();
    }

    async fn mend(&mut self) {
        self.is_broken = false;
        self.write();
    }

    /// Another directory takes the place of the watched one.
    async fn interrupt(&mut self) {
        let aside = self.home.path().join("aside");
        std::fs::rename(self.directory(), &aside).unwrap();
        std::fs::create_dir(self.directory()).unwrap();
        std::fs::rename(aside.join("servers.json"), self.path()).unwrap();
        remove(&aside);
    }
}

fn remove(directory: &Path) {
    std::fs::remove_dir(directory).unwrap();
}
