//! Which part of the snapshot an expression touches.

use std::collections::BTreeSet;

use crate::part::Wanted;
use crate::statistics::{Columns, RowKind, Selection};

use super::types::Type;

/// What an expression touches. It only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    kinds: BTreeSet<RowKind>,
    columns: Columns,
    info: Columns,
    /// Whether a backend's own list of servers is touched.
    pub(super) nested_servers: bool,
    /// Lists of a load balancer that are touched.
    pub(super) lists: BTreeSet<RowKind>,
    /// Backends that only functions ask about.
    backends: BTreeSet<String>,
    /// Whether a function asks about servers of backends that are not known beforehand.
    pub(super) all_servers: bool,
    pub(super) connections: bool,
}

/// The columns from which a server's state is read.
const OF_STATE: [&str; 3] = ["status", "weight", "bck"];

impl Needs {
    /// A field of a record is touched.
    pub(super) fn field(&mut self, of: &Type, name: &str) {
        match of {
            Type::Lb => match name {
                "frontends" => self.list(RowKind::Frontend),
                "backends" => self.list(RowKind::Backend),
                "servers" => self.list(RowKind::Server),
                "listeners" => self.list(RowKind::Listener),
                _ => {}
            },
            Type::Info => self.info.want(name),
            Type::Row(RowKind::Backend) if name == "servers" => {
                self.nested_servers = true;
                self.kinds.insert(RowKind::Server);
            }
            Type::Row(RowKind::Server) if name == "state" || name == "backup" => {
                for column in OF_STATE {
                    self.columns.want(column);
                }
            }
            Type::Row(_) => self.columns.want(name),
            _ => {}
        }
    }

    fn list(&mut self, kind: RowKind) {
        self.kinds.insert(kind);
        self.lists.insert(kind);
    }

    /// A value of this type is the answer, with all that it has.
    pub(super) fn whole(&mut self, of: &Type) {
        for record in of.records() {
            match record {
                Type::Info => self.info = Columns::All,
                Type::Row(kind) => {
                    self.columns = Columns::All;
                    if kind == RowKind::Backend {
                        self.nested_servers = true;
                        self.kinds.insert(RowKind::Server);
                    }
                }
                Type::Lb => {
                    self.info = Columns::All;
                    self.columns = Columns::All;
                    for kind in [RowKind::Frontend, RowKind::Backend, RowKind::Server] {
                        self.list(kind);
                    }
                    self.list(RowKind::Listener);
                }
                _ => {}
            }
        }
    }

    /// A function asks about a backend; none when which one is not known beforehand.
    pub(super) fn backend(&mut self, name: Option<&str>) {
        match name {
            Some(name) => {
                self.backends.insert(name.to_owned());
            }
            None => self.all_servers = true,
        }
        for column in OF_STATE {
            self.columns.want(column);
        }
    }

    /// Whether anything of a table is touched.
    pub(super) fn wanted(&self) -> Wanted {
        let mut kinds = self.kinds.clone();
        if self.all_servers || !self.backends.is_empty() {
            kinds.extend([RowKind::Backend, RowKind::Server]);
        }
        let only_functions = self.kinds.is_empty() && !self.all_servers;
        let table = Selection {
            kinds,
            columns: self.columns.clone(),
            proxies: only_functions.then(|| self.backends.clone()),
        };
        Wanted {
            connections: self.connections,
            table: (!table.kinds.is_empty()).then_some(table),
            info: self.info.clone(),
            ..Wanted::default()
        }
    }
}
