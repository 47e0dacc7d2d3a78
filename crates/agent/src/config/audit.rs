//! The section `audit` of the agent's file.

use std::path::PathBuf;

use serde::Deserialize;

use crate::audit::AuditFileConfig;

/// Enough for some ten thousand records.
const DEFAULT_MAX_BYTES: u64 = 10_000_000;
const DEFAULT_KEEP: u32 = 5;
const MIN_BYTES: u64 = 10_000;
const MAX_KEEP: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuditSection {
    file: Option<PathBuf>,
    max_bytes: Option<u64>,
    keep: Option<u32>,
}

impl AuditSection {
    pub(super) fn read(self, faults: &mut Vec<String>) -> Option<AuditFileConfig> {
        let Some(file) = self.file else {
            if self.max_bytes.is_some() || self.keep.is_some() {
                faults.push("audit.file: it is required where max_bytes or keep is given".into());
            }
            return None;
        };
        let max_bytes = self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        let keep = self.keep.unwrap_or(DEFAULT_KEEP);
        if !file.is_absolute() {
            let file = file.display();
            faults.push(format!("audit.file: {file} is not an absolute path"));
        }
        if max_bytes < MIN_BYTES {
            faults.push(format!(
                "audit.max_bytes: {max_bytes} is too small: {MIN_BYTES} or more are allowed"
            ));
        }
        if keep > MAX_KEEP {
            faults.push(format!(
                "audit.keep: {keep} is too many: 0 to {MAX_KEEP} are allowed"
            ));
        }
        Some(AuditFileConfig {
            file,
            max_bytes,
            keep,
        })
    }
}
