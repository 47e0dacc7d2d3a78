//! The types of the snapshot that expressions are checked against, and the names in it.

use std::fmt;

use crate::statistics::RowKind;
use crate::{columns, info};

/// The type of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Null,
    /// Known only when the answers are there.
    Dyn,
    /// The elements of a list that has none; it agrees with every type.
    Never,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// A load balancer.
    Lb,
    /// A process's own fields.
    Info,
    /// A row of the statistics.
    Row(RowKind),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Null => f.write_str("null"),
            Self::Dyn | Self::Never => f.write_str("dyn"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Lb => f.write_str("lb"),
            Self::Info => f.write_str("info"),
            Self::Row(RowKind::Frontend) => f.write_str("frontend"),
            Self::Row(RowKind::Backend) => f.write_str("backend"),
            Self::Row(RowKind::Server) => f.write_str("server"),
            Self::Row(RowKind::Listener) => f.write_str("listener"),
        }
    }
}

impl Type {
    pub(super) fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    /// The type of what is one or the other; none when they do not agree.
    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Never, known) | (known, Self::Never) => Some(known.clone()),
            (Self::Dyn, _) | (_, Self::Dyn) => Some(Self::Dyn),
            (Self::List(one), Self::List(other)) => Some(Self::list(one.join(other)?)),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => Some(Self::Map(
                Box::new(key.join(other_key)?),
                Box::new(value.join(other_value)?),
            )),
            (one, other) if one == other => Some(one.clone()),
            _ => None,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Int | Self::Uint | Self::Double | Self::Dyn | Self::Never
        )
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Never)
    }

    /// Whether it is a part of the snapshot that has fields of its own.
    pub(super) fn is_record(&self) -> bool {
        matches!(self, Self::Lb | Self::Info | Self::Row(_))
    }

    /// The records that a value of this type holds.
    pub(super) fn records(&self) -> Vec<Self> {
        match self {
            Self::List(element) => element.records(),
            Self::Map(key, value) => [key.records(), value.records()].concat(),
            record if record.is_record() => vec![record.clone()],
            _ => Vec::new(),
        }
    }

    /// The type of a record's field; none when it has no such field.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        let fields = self.fields();
        if let Some((_, found)) = fields.iter().find(|(known, _)| *known == name) {
            return Some(found.clone());
        }
        let column = |is_number| if is_number { Self::Int } else { Self::String };
        match self {
            Self::Row(_) => columns::find(name).map(|found| column(found.is_number)),
            Self::Info => info::is_number(name).map(column),
            _ => None,
        }
    }

    /// The fields of a record that are not HAProxy's own.
    pub(super) fn fields(&self) -> Vec<(&'static str, Self)> {
        let of = |kind| Self::list(Self::Row(kind));
        match self {
            Self::Lb => vec![
                ("id", Self::String),
                ("zone", Self::String),
                ("address", Self::String),
                ("agent_version", Self::String),
                ("held_revision", Self::String),
                ("applied_revision", Self::String),
                ("applied_endpoints", Self::String),
                ("apply_error", Self::String),
                ("leader", Self::Bool),
                ("drained", Self::Bool),
                ("old_processes", Self::Int),
                ("old_connections", Self::Int),
                ("age", Self::Double),
                ("info", Self::Info),
                ("frontends", of(RowKind::Frontend)),
                ("backends", of(RowKind::Backend)),
                ("servers", of(RowKind::Server)),
                ("listeners", of(RowKind::Listener)),
            ],
            Self::Row(RowKind::Server) => vec![
                ("name", Self::String),
                ("backend", Self::String),
                ("state", Self::String),
                ("backup", Self::Bool),
            ],
            Self::Row(RowKind::Backend) => {
                vec![("name", Self::String), ("servers", of(RowKind::Server))]
            }
            Self::Row(RowKind::Frontend) => vec![("name", Self::String)],
            Self::Row(RowKind::Listener) => {
                vec![("name", Self::String), ("frontend", Self::String)]
            }
            _ => Vec::new(),
        }
    }

    /// All names of fields, for suggestions.
    pub(super) fn field_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.fields().into_iter().map(|(name, _)| name).collect();
        match self {
            Self::Row(_) => names.extend(columns::COLUMNS.iter().map(|column| column.name)),
            Self::Info => names.extend(info::names()),
            _ => {}
        }
        names
    }
}

/// The variables of every expression.
pub(super) const VARIABLES: [&str; 2] = ["lbs", "newest_revision"];

pub(super) fn variable(name: &str) -> Option<Type> {
    match name {
        "lbs" => Some(Type::list(Type::Lb)),
        "newest_revision" => Some(Type::String),
        _ => None,
    }
}
