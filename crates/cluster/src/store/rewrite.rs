//! Writing the store anew, so that nothing of what was erased is left in its file.
//!
//! redb gives pages of what was removed to what comes next, and until then they hold what they held. So all that is there
//! is copied into a new file, which takes the place of the old one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    TableHandle as _, Value, WriteTransaction,
};

use super::documents::{BODIES, CONFLICTS, LINE};
use super::members::MEMBERS;
use super::{Failure, META, META_TEXT, Occasion, Store, StoreError, open_database};

impl Store {
    /// Writes the store anew. `kill -9` at any moment leaves the file before or after it.
    ///
    /// # Errors
    /// When the file cannot be read or written; it is what it was then.
    pub(crate) fn rewrite(&self) -> Result<(), StoreError> {
        let neighbour = neighbour_of(&self.path);
        let file_error = |source| StoreError::File {
            path: neighbour.clone(),
            source,
        };
        // What an agent that was killed has left.
        if let Err(error) = fs::remove_file(&neighbour)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(file_error(error));
        }
        // Nobody reads or writes meanwhile.
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(old) = database.as_ref() else {
            return Ok(());
        };
        let renewed = open_database(&neighbour, Occasion::Start)?;
        let copied = copy(old, &renewed).map_err(|failure| failure.at(&self.path));
        let placed = copied.and_then(|()| fs::rename(&neighbour, &self.path).map_err(file_error));
        if let Err(error) = placed {
            drop(renewed);
            let _ = fs::remove_file(&neighbour);
            return Err(error);
        }
        // Whatever comes, this is the file from now on.
        *database = Some(renewed);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(file_error)
    }
}

fn neighbour_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn copy(from: &Database, to: &Database) -> Result<(), Failure> {
    let (read, write) = (from.begin_read()?, to.begin_write()?);
    let mut copied = Vec::new();
    let mut each = |name: String| copied.push(name);
    each(copy_table(&read, &write, META)?);
    each(copy_table(&read, &write, META_TEXT)?);
    each(copy_table(&read, &write, LINE)?);
    each(copy_table(&read, &write, BODIES)?);
    each(copy_table(&read, &write, CONFLICTS)?);
    each(copy_table(&read, &write, MEMBERS)?);
    // A table that somebody added and did not name here must not be lost.
    let mut tables = read.list_tables()?;
    if let Some(forgotten) = tables.find(|table| !copied.iter().any(|name| name == table.name())) {
        let reason = format!(
            "table {} would be lost by writing it anew",
            forgotten.name()
        );
        return Err(Failure::Disk(reason));
    }
    drop(tables);
    write.commit()?;
    Ok(())
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<String, Failure> {
    let read = from.open_table(definition)?;
    let mut written = to.open_table(definition)?;
    for entry in read.iter()? {
        let (key, value) = entry?;
        written.insert(key.value(), value.value())?;
    }
    Ok(definition.name().to_owned())
}
