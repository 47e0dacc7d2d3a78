//! The audit log: what was denied and what was changed, kept in memory for who asks, told to the log, and written to a file
//! if the agent's file names one.
//!
//! A record that cannot be written is no reason to refuse what it is about: the trouble is an error in the log, once.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hafleet_api::audit::Recorder;
use hafleet_api::v1;
use hafleet_api::v1::audit_record::Outcome;
use hafleet_model::NodeId;

/// How many records are remembered.
const MAX_REMEMBERED: usize = 1_000;
/// The target under which records are in the agent's log, for its filter.
const TARGET: &str = "hafleet::audit";

/// Where records are written, and how much of them is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFileConfig {
    /// One JSON object a line.
    pub file: PathBuf,
    /// At this size the file is put aside as `<file>.1`, and a new one is begun.
    pub max_bytes: u64,
    /// So many files that were put aside are kept, the oldest under the highest number.
    pub keep: u32,
}

/// This node's audit log. Clones are the same one.
#[derive(Clone)]
pub(crate) struct AuditLog {
    node: NodeId,
    remembered: Arc<Mutex<VecDeque<v1::AuditRecord>>>,
    file: Option<Arc<Mutex<AuditFile>>>,
}

impl AuditLog {
    /// The log of `node`, which is written to a file if one is named.
    ///
    /// # Errors
    /// When that file cannot be written.
    pub(crate) fn open(node: NodeId, file: Option<AuditFileConfig>) -> io::Result<Self> {
        let file = file.map(AuditFile::open).transpose()?;
        Ok(Self {
            node,
            remembered: Arc::default(),
            file: file.map(|file| Arc::new(Mutex::new(file))),
        })
    }

    /// The newest `limit` records, newest first.
    pub(crate) fn newest(&self, limit: usize) -> Vec<v1::AuditRecord> {
        let remembered = lock(&self.remembered);
        remembered.iter().rev().take(limit).cloned().collect()
    }
}

impl Recorder for AuditLog {
    fn record(&self, record: v1::AuditRecord) {
        let record = v1::AuditRecord {
            node_id: self.node.to_string(),
            ..record
        };
        tell(&record);
        if let Some(file) = &self.file {
            lock(file).write(&record);
        }
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(record);
    }
}

fn tell(record: &v1::AuditRecord) {
    let v1::AuditRecord {
        caller,
        address,
        via,
        method,
        subject,
        message,
        revision,
        ..
    } = record;
    match record.outcome() {
        Outcome::Denied => {
            tracing::warn!(target: TARGET, caller, address, via, method, subject, message, "denied");
        }
        Outcome::Failed => {
            tracing::info!(target: TARGET, caller, address, via, method, subject, message, "failed");
        }
        Outcome::Done | Outcome::Unspecified => {
            tracing::info!(target: TARGET, caller, address, via, method, subject, revision, "done");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file of records that does not grow without end. A file that somebody has moved away or removed is begun anew, so
/// that logrotate needs no signal.
struct AuditFile {
    config: AuditFileConfig,
    open: File,
    in_trouble: bool,
}

impl AuditFile {
    fn open(config: AuditFileConfig) -> io::Result<Self> {
        let open = open(&config.file)?;
        Ok(Self {
            config,
            open,
            in_trouble: false,
        })
    }

    fn write(&mut self, record: &v1::AuditRecord) {
        let written = serde_json::to_string(record)
            .map_err(io::Error::other)
            .and_then(|line| self.append(&format!("{line}\n")));
        match written {
            Ok(()) => self.in_trouble = false,
            Err(error) if !self.in_trouble => {
                let file = self.config.file.display();
                tracing::error!(%error, "{file}: the audit log cannot be written; it is in this log only");
                self.in_trouble = true;
            }
            Err(_) => {}
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let held = self.open.metadata()?;
        let is_there = std::fs::metadata(&self.config.file)
            .is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
        if !is_there {
            self.open = open(&self.config.file)?;
        } else if held.len() > 0 && held.len() + line.len() as u64 > self.config.max_bytes {
            self.put_aside()?;
        }
        // In one call, so that a line is whole.
        self.open.write_all(line.as_bytes())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..self.config.keep).rev() {
            // Not all of them are there yet.
            let _ = std::fs::rename(self.aside(number), self.aside(number + 1));
        }
        if self.config.keep == 0 {
            std::fs::remove_file(&self.config.file)?;
        } else {
            std::fs::rename(&self.config.file, self.aside(1))?;
        }
        self.open = open(&self.config.file)?;
        Ok(())
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.config.file.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
