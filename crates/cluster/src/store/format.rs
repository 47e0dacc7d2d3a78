//! The format of the store, and the way from each to the next.
//!
//! A store of format n is brought to n + 1, n + 2 … by one step each, all in one transaction. A step is never changed
//! once released.

use std::path::Path;

use redb::{ReadableTable as _, WriteTransaction};

use super::documents::{BODIES, CONFLICTS, LINE};
use super::members::MEMBERS;
use super::{Failure, META, META_TEXT, StoreError};

/// The newest format.
pub(super) const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";

/// Brings the store to [`FORMAT`].
pub(super) fn migrate(transaction: &WriteTransaction, path: &Path) -> Result<(), Failure> {
    let mut numbers = transaction.open_table(META)?;
    let found = numbers.get(FORMAT_KEY)?.map_or(0, |format| format.value());
    if found > FORMAT {
        return Err(Failure::Refused(StoreError::TooNew {
            path: path.to_owned(),
            found,
            known: FORMAT,
        }));
    }
    for format in found..FORMAT {
        // Format 0 is an empty file.
        if format == 0 {
            create_tables(transaction)?;
        }
    }
    if found < FORMAT {
        numbers.insert(FORMAT_KEY, FORMAT)?;
    }
    Ok(())
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), Failure> {
    transaction.open_table(META_TEXT)?;
    transaction.open_table(LINE)?;
    transaction.open_table(BODIES)?;
    transaction.open_table(CONFLICTS)?;
    transaction.open_table(MEMBERS)?;
    Ok(())
}

/// Pretends that a later version wrote the store.
#[cfg(test)]
pub(super) fn set_format(transaction: &WriteTransaction, format: u64) -> Result<(), Failure> {
    transaction.open_table(META)?.insert(FORMAT_KEY, format)?;
    Ok(())
}
