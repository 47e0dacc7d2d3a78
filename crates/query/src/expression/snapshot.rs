//! The snapshot as values of the language: only what the expression touches is there.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};

use crate::part::Part;
use crate::server::ServerState;
use crate::statistics::{Row, RowKind, Statistics};
use crate::{columns, info};

use super::needs::Needs;

type Fields = HashMap<Key, Value>;

/// The list `lbs`.
pub(super) fn lbs(parts: &[Part], needs: &Needs) -> Value {
    list(parts.iter().map(|part| lb(part, needs)))
}

fn lb(part: &Part, needs: &Needs) -> Value {
    let facts = &part.facts;
    let mut fields = Fields::new();
    let texts = [
        ("id", &facts.id),
        ("zone", &facts.zone),
        ("address", &facts.address),
        ("agent_version", &facts.agent_version),
        ("held_revision", &facts.held_revision),
        ("applied_revision", &facts.applied_revision),
        ("applied_endpoints", &facts.applied_endpoints),
        ("apply_error", &facts.apply_error),
    ];
    for (name, value) in texts {
        put(&mut fields, name, text(value));
    }
    put(&mut fields, "leader", Value::Bool(facts.is_leader));
    put(&mut fields, "drained", Value::Bool(facts.is_drained));
    put(
        &mut fields,
        "old_processes",
        Value::Int(facts.old_processes.into()),
    );
    put(&mut fields, "old_connections", count(facts.old_connections));
    put(&mut fields, "age", Value::Float(part.age.as_secs_f64()));
    let process = part.info.fields().map(|(name, value)| {
        let is_number = info::is_number(name);
        (key(name), read(value, is_number))
    });
    put(&mut fields, "info", map(process.collect()));
    if let Some(page) = &part.table {
        rows(&mut fields, page, needs);
    }
    map(fields)
}

fn rows(fields: &mut Fields, page: &Statistics, needs: &Needs) {
    let servers: Vec<(&str, Value)> = page
        .of(RowKind::Server)
        .map(|row| (row.proxy(), server(row)))
        .collect();
    let names = [
        ("frontends", RowKind::Frontend),
        ("backends", RowKind::Backend),
        ("servers", RowKind::Server),
        ("listeners", RowKind::Listener),
    ];
    for (name, kind) in names
        .into_iter()
        .filter(|(_, kind)| needs.lists.contains(kind))
    {
        let values = match kind {
            RowKind::Server => list(servers.iter().map(|(_, server)| server.clone())),
            RowKind::Backend => {
                let mut of: HashMap<&str, Vec<Value>> = HashMap::new();
                if needs.nested_servers {
                    for (backend, server) in &servers {
                        of.entry(backend).or_default().push(server.clone());
                    }
                }
                list(page.of(kind).map(|row| {
                    let mut fields = named(row, row.proxy());
                    if needs.nested_servers {
                        let servers = of.remove(row.proxy()).unwrap_or_default();
                        put(&mut fields, "servers", Value::List(Arc::new(servers)));
                    }
                    map(fields)
                }))
            }
            RowKind::Frontend => list(page.of(kind).map(|row| map(named(row, row.proxy())))),
            RowKind::Listener => list(page.of(kind).map(|row| {
                let mut fields = named(row, row.service());
                put(&mut fields, "frontend", text(row.proxy()));
                map(fields)
            })),
        };
        put(fields, name, values);
    }
}

fn server(row: Row<'_>) -> Value {
    let mut fields = named(row, row.service());
    put(&mut fields, "backend", text(row.proxy()));
    if let Some(status) = row.field("status") {
        let state = ServerState::read(status, row.field("weight"));
        put(&mut fields, "state", text(state.key()));
    }
    let is_backup = row.number("bck").is_some_and(|count| count > 0);
    put(&mut fields, "backup", Value::Bool(is_backup));
    map(fields)
}

fn named(row: Row<'_>, name: &str) -> Fields {
    let fields = row.fields().map(|(name, value)| {
        let is_number = columns::find(name).map(|column| column.is_number);
        (key(name), read(value, is_number))
    });
    let mut fields: Fields = fields.collect();
    put(&mut fields, "name", text(name));
    fields
}

/// A value of HAProxy's: a number where it has to be one, or where nobody knows what it is and it looks like one.
fn read(value: &str, is_number: Option<bool>) -> Value {
    match (is_number, value.parse::<i64>()) {
        (Some(true) | None, Ok(number)) => Value::Int(number),
        (Some(true), Err(_)) if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
            Value::Int(i64::MAX)
        }
        _ => text(value),
    }
}

fn count(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(value: &str) -> Value {
    Value::String(Arc::new(value.to_owned()))
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn put(fields: &mut Fields, name: &str, value: Value) {
    fields.insert(key(name), value);
}

fn map(fields: Fields) -> Value {
    Value::Map(Map {
        map: Arc::new(fields),
    })
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::List(Arc::new(values.collect()))
}
