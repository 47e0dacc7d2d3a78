//! HAProxy's statistics page as comma-separated values (Management Guide, section 9.1): one row for each frontend,
//! backend, server and listener.
//!
//! The page is kept as HAProxy wrote it and read by the names of its columns, so that every column of every version is
//! there. Less of it, by rows and by columns, is a page again: that is how a part of it goes over the wire.

use std::collections::BTreeSet;

use csv::{ReaderBuilder, StringRecord, Writer};

/// What a row is about (`type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// A whole frontend.
    Frontend,
    /// A whole backend.
    Backend,
    /// A server.
    Server,
    /// One bind of a frontend (only with `option socket-stats`).
    Listener,
}

impl RowKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Frontend, Self::Backend, Self::Server, Self::Listener];

    fn read(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Self::Frontend),
            "1" => Some(Self::Backend),
            "2" => Some(Self::Server),
            "3" => Some(Self::Listener),
            _ => None,
        }
    }

    /// The bit that asks HAProxy for rows of this kind (Management Guide, section 9.3, `show stat`).
    pub fn mask(self) -> u8 {
        match self {
            Self::Frontend => 1,
            Self::Backend => 2,
            Self::Server => 4,
            Self::Listener => 8,
        }
    }
}

/// Why a text is not a statistics page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// It begins otherwise.
    #[error(
        "it does not begin with `# pxname,svname,`, as HAProxy's statistics do, but with {0:?}"
    )]
    NoHeader(String),
    /// A column that is always there is not.
    #[error("it has no column {0}")]
    NoColumn(&'static str),
    /// A row ends too early: the page was cut off.
    #[error("row {row} has {found} of {wanted} columns; it was cut off")]
    CutOff {
        /// Which, from 1, without the header.
        row: usize,
        /// How many it has.
        found: usize,
        /// How many the header has.
        wanted: usize,
    },
    /// A row is of no kind that the manual knows.
    #[error("row {row} has type {found:?}; 0 to 3 are known")]
    UnknownKind {
        /// Which, from 1, without the header.
        row: usize,
        /// What it says.
        found: String,
    },
    /// It is not comma-separated values.
    #[error("it is not comma-separated values: {0}")]
    Garbled(String),
}

/// Which part of a page is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Rows of these kinds.
    pub kinds: BTreeSet<RowKind>,
    /// These columns; `pxname`, `svname` and `type` are always there.
    pub columns: Columns,
    /// Only rows of these frontends and backends; none for all.
    pub proxies: Option<BTreeSet<String>>,
}

/// Which columns are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// Those, by HAProxy's names.
    Some(BTreeSet<String>),
    /// All that there are.
    All,
}

impl Default for Columns {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Columns {
    /// Adds `name`.
    pub fn want(&mut self, name: &str) {
        if let Self::Some(names) = self {
            names.insert(name.to_owned());
        }
    }

    /// Whether `name` is wanted.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Some(names) => names.contains(name),
            Self::All => true,
        }
    }
}

const KEYS: [&str; 3] = ["pxname", "svname", "type"];

/// A statistics page, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    header: StringRecord,
    places: [usize; 3],
    rows: Vec<(RowKind, StringRecord)>,
}

/// One row of a page.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    page: &'a Statistics,
    kind: RowKind,
    record: &'a StringRecord,
}

impl<'a> Row<'a> {
    /// What it is about.
    pub fn kind(self) -> RowKind {
        self.kind
    }

    /// The frontend's or backend's name (`pxname`).
    pub fn proxy(self) -> &'a str {
        self.record.get(self.page.places[0]).unwrap_or_default()
    }

    /// The server's or listener's name, or `FRONTEND` or `BACKEND` (`svname`).
    pub fn service(self) -> &'a str {
        self.record.get(self.page.places[1]).unwrap_or_default()
    }

    /// The value of a column; none where HAProxy leaves it empty, and where it has no such column.
    pub fn field(self, name: &str) -> Option<&'a str> {
        let place = self.page.header.iter().position(|column| column == name)?;
        self.record.get(place).filter(|value| !value.is_empty())
    }

    /// The value of a column that counts.
    pub fn number(self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// All columns that are not empty, with their values.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let columns = self.page.header.iter().zip(self.record.iter());
        columns.filter(|(name, value)| !name.is_empty() && *name != "-" && !value.is_empty())
    }
}

impl Statistics {
    /// Reads a whole page, strictly: a page that was cut off is an error and never a short page.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(page: &str) -> Result<Self, StatisticsError> {
        let table = page
            .strip_prefix("# ")
            .ok_or_else(|| StatisticsError::NoHeader(page.chars().take(40).collect()))?;
        let garbled = |error: csv::Error| StatisticsError::Garbled(error.to_string());
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .from_reader(table.as_bytes());
        let header = reader.headers().map_err(garbled)?.clone();
        let place = |name: &'static str| {
            let place = header.iter().position(|column| column == name);
            place.ok_or(StatisticsError::NoColumn(name))
        };
        let places = [place(KEYS[0])?, place(KEYS[1])?, place(KEYS[2])?];
        let mut rows = Vec::new();
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(garbled)? {
            let row = rows.len() + 1;
            if record.len() < header.len() {
                return Err(StatisticsError::CutOff {
                    row,
                    found: record.len(),
                    wanted: header.len(),
                });
            }
            // What stands behind the last column that has a name means nothing.
            record.truncate(header.len());
            let found = record.get(places[2]).unwrap_or_default();
            let kind = RowKind::read(found).ok_or_else(|| StatisticsError::UnknownKind {
                row,
                found: found.chars().take(40).collect(),
            })?;
            rows.push((kind, record.clone()));
        }
        Ok(Self {
            header,
            places,
            rows,
        })
    }

    /// Its rows, in HAProxy's order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(kind, record)| Row {
            page: self,
            kind: *kind,
            record,
        })
    }

    /// Its rows of one kind.
    pub fn of(&self, kind: RowKind) -> impl Iterator<Item = Row<'_>> {
        self.rows().filter(move |row| row.kind == kind)
    }

    /// The backend of that name.
    pub fn backend(&self, name: &str) -> Option<Row<'_>> {
        self.of(RowKind::Backend).find(|row| row.proxy() == name)
    }

    /// The part that is wanted, as a page.
    #[must_use]
    pub fn select(&self, selection: &Selection) -> Self {
        let is_wanted =
            |name: &str| KEYS.contains(&name) || (name != "-" && selection.columns.has(name));
        let kept: Vec<usize> = (0..self.header.len())
            .filter(|place| self.header.get(*place).is_some_and(is_wanted))
            .collect();
        let keep = |record: &StringRecord| -> StringRecord {
            kept.iter().filter_map(|place| record.get(*place)).collect()
        };
        let header = keep(&self.header);
        let place = |name: &str| header.iter().position(|column| column == name);
        let places = KEYS.map(|name| place(name).unwrap_or_default());
        let rows = self.rows().filter(|row| {
            let proxies = selection.proxies.as_ref();
            selection.kinds.contains(&row.kind)
                && proxies.is_none_or(|proxies| proxies.contains(row.proxy()))
        });
        let rows = rows.map(|row| (row.kind, keep(row.record))).collect();
        Self {
            header,
            places,
            rows,
        }
    }

    /// The page as text, as [`Self::parse`] reads it.
    pub fn to_csv(&self) -> String {
        let mut writer = Writer::from_writer(b"# ".to_vec());
        let records = std::iter::once(&self.header).chain(self.rows.iter().map(|(_, row)| row));
        for record in records {
            // Writing to memory does not fail.
            let _ = writer.write_record(record);
        }
        let bytes = writer.into_inner().unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
