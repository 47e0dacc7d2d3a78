//! The keys below a prefix, as they were at one revision.

use std::collections::BTreeMap;

/// Keys and values, whole and in order. Neither need be text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The newest revision that they hold everything of.
    revision: i64,
}

impl Keys {
    /// Those of `revision`.
    pub(super) fn new(values: BTreeMap<Vec<u8>, Vec<u8>>, revision: i64) -> Self {
        Self { values, revision }
    }

    /// The revision.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// What happened to `key` at `revision`: it has a new value, or none any more.
    pub(super) fn apply(&mut self, key: &[u8], value: Option<&[u8]>, revision: i64) {
        match value {
            Some(value) => self.values.insert(key.to_vec(), value.to_vec()),
            None => self.values.remove(key),
        };
        self.revision = self.revision.max(revision);
    }

    /// Each key without `prefix`, and its value. Keys that do not begin with it are left out.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.values.iter().filter_map(|(key, value)| {
            let rest = key.strip_prefix(prefix.as_bytes())?;
            Some((rest, value.as_slice()))
        })
    }
}

/// Keys as a test writes them.
#[cfg(test)]
impl<K: Into<Vec<u8>>, V: Into<Vec<u8>>> FromIterator<(K, V)> for Keys {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let values = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()));
        Self::new(values.collect(), 1)
    }
}
