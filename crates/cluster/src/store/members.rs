//! Who belongs to the fleet, remembered across restarts.
//!
//! A node that starts alone in a small half of a fleet must know that there is a larger one.

use hafleet_model::report::NodeReport;
use redb::{ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

/// Node id → JSON of [`KnownMember`].
pub(super) const MEMBERS: TableDefinition<'_, &str, &str> = TableDefinition::new("members");

/// Another node, as last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMember {
    /// What it last said of itself.
    pub report: NodeReport,
    /// Milliseconds since 1970.
    pub last_seen_ms: i64,
}

impl Store {
    pub(crate) fn members(&self) -> Result<Vec<KnownMember>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(MEMBERS)?;
            let mut members = Vec::new();
            for entry in table.iter()? {
                members.push(serde_json::from_str(entry?.1.value())?);
            }
            Ok(members)
        })
    }

    /// Writes down `seen` and forgets `gone`.
    pub(crate) fn remember_members(
        &self,
        seen: &[KnownMember],
        gone: &[String],
    ) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            let mut table = transaction.open_table(MEMBERS)?;
            for member in seen {
                table.insert(
                    member.report.id.as_str(),
                    serde_json::to_string(member)?.as_str(),
                )?;
            }
            for id in gone {
                table.remove(id.as_str())?;
            }
            Ok(())
        })
    }
}
