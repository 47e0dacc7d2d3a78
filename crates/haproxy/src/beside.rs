//! What stands beside the configuration and belongs to it: the maps of its routes, and the state that servers begin with.
//!
//! Maps are in a directory that is named after what is in them, and the configuration names the directory. So the one
//! rename that replaces `haproxy.cfg` replaces the maps too, and going back to the one before goes back with its maps.

use std::fs;
use std::path::{Path, PathBuf};

use hafleet_model::Digest;

use crate::files::{self, FileError, Files};
use crate::render::Rendered;
use crate::state;

impl Files {
    /// Where the maps of all configurations are, each in a directory of its own.
    pub(crate) fn maps_root(&self) -> PathBuf {
        self.dir().join("maps")
    }

    /// Where the maps of `rendered` are.
    pub(crate) fn maps_dir(&self, rendered: &Rendered) -> PathBuf {
        if rendered.maps().is_empty() {
            return self.maps_root();
        }
        let all: Vec<_> = rendered
            .maps()
            .iter()
            .map(|map| format!("{}\0{}\0", map.name, map.text()))
            .collect();
        let digest = Digest::of(all.concat().as_bytes()).to_string();
        self.maps_root().join(&digest[..16])
    }

    /// Writes the maps of `rendered`, those that are not there as they should be.
    pub(crate) fn write_maps(&self, rendered: &Rendered) -> Result<(), FileError> {
        write_maps(&self.maps_dir(rendered), rendered)
    }

    /// The state that servers begin with.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir().join("server-state")
    }

    /// Has servers begin afresh, as they do unless a process is replaced.
    pub(crate) fn clear_state(&self) -> Result<(), FileError> {
        let path = self.state();
        if files::read(&path)?.as_deref() == Some(state::EMPTY) {
            return Ok(());
        }
        files::write(&path, state::EMPTY)
    }

    /// Removes maps that neither the configuration nor the one before it names.
    pub(crate) fn sweep_maps(&self) {
        let texts = [self.read_config(), self.read_previous()];
        let Ok(entries) = fs::read_dir(self.maps_root()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_named = texts.iter().any(|text| match text {
                Ok(Some(text)) => text
                    .lines()
                    .take(crate::render::Prelude::LINES)
                    .any(|line| line.contains(name.to_string_lossy().as_ref())),
                Ok(None) => false,
                Err(_) => true,
            });
            if !is_named {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Writes the maps of `rendered` into the directory `dir` for a short time: nothing is synced.
pub(crate) fn lay_out(dir: &Path, rendered: &Rendered) -> std::io::Result<()> {
    let mut maps = rendered.maps().iter();
    maps.try_for_each(|map| fs::write(dir.join(map.file_name()), map.text()))
}

/// Writes the maps of `rendered` into the directory `dir`.
pub(crate) fn write_maps(dir: &Path, rendered: &Rendered) -> Result<(), FileError> {
    if rendered.maps().is_empty() {
        return Ok(());
    }
    files::make_dir(dir)?;
    for map in rendered.maps() {
        let (path, text) = (dir.join(map.file_name()), map.text());
        if files::read(&path)?.as_ref() != Some(&text) {
            files::write(&path, &text)?;
        }
    }
    Ok(())
}
