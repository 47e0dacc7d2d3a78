//! The value of an expression over what came back.

use std::sync::Arc;

use cel::extractors::Arguments;
use cel::objects::Key;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use serde_json::{Map as JsonMap, Number, Value as Json};

use crate::answer::Standing;
use crate::checks::{Check, Share};
use crate::part::{Asked, Part};
use crate::statistics::RowKind;
use crate::tally::Tally;

use super::functions::Function;
use super::needs::Needs;
use super::snapshot;

/// Evaluates `root` over `asked`; the reason, when nobody knows its value.
pub(super) fn evaluate(root: &IdedExpr, needs: &Needs, asked: Asked) -> Result<Json, String> {
    let mut context = Context::with_env(Arc::new(Env::stdlib()));
    context.add_variable_from_value("lbs", snapshot::lbs(&asked.parts, needs));
    context.add_variable_from_value("newest_revision", asked.newest_revision.clone());
    let asked = Arc::new(asked);
    for (name, function) in Function::ALL {
        let asked = Arc::clone(&asked);
        let call = move |Arguments(arguments): Arguments| call(function, &arguments, &asked);
        context
            .add_function(name, call)
            .map_err(|error| error.to_string())?;
    }
    let value = Value::resolve(root, &context).map_err(|error| words(&error))?;
    json(&value)
}

/// The words for what went wrong. Values that are part of an error would be the whole snapshot, and are left out.
fn words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => format!(
            "something that was looked at has no {name}: HAProxy leaves a column empty where it means nothing; has(x.{name}) asks whether it is there"
        ),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(sign, ..) => format!("a number grew too large at {sign}"),
        ExecutionError::IndexOutOfBounds(_) => "a list is shorter than the index".to_owned(),
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnexpectedType { .. } => {
            "values of two types that do not go together were found".to_owned()
        }
        _ => "it cannot be evaluated".to_owned(),
    }
}

fn call(function: Function, arguments: &[Value], asked: &Asked) -> Result<Value, ExecutionError> {
    let wrong = |words: String| ExecutionError::function_error("", words);
    match (function, arguments) {
        (Function::Sum, [Value::List(values)]) => sum(values),
        (Function::Min | Function::Max, [Value::List(values)]) => extreme(function, values),
        (Function::Flatten, [Value::List(lists)]) => {
            let mut all = Vec::new();
            for list in lists.iter() {
                match list {
                    Value::List(values) => all.extend(values.iter().cloned()),
                    _ => return Err(wrong("flatten takes a list of lists".to_owned())),
                }
            }
            Ok(Value::List(Arc::new(all)))
        }
        (Function::RollingRestartable, [Value::String(backend), Value::Int(at_a_time), share]) => {
            let share = match share {
                Value::Float(share) => *share,
                Value::Int(0) => 0.0,
                Value::Int(1) => 1.0,
                _ => f64::NAN,
            };
            let min_up = Share::new(share).map_err(|error| wrong(error.to_string()))?;
            let at_a_time = u32::try_from(*at_a_time).ok().filter(|count| *count > 0);
            let at_a_time = at_a_time
                .ok_or_else(|| wrong("at least 1 server restarts at a time".to_owned()))?;
            let check = Check::RollingRestart {
                backend: backend.to_string(),
                at_a_time,
                min_up,
            };
            decide(&check, asked, |page| {
                Tally::of(page, backend, |_| false).into_iter().collect()
            })
        }
        (Function::Up, [Value::String(backend)]) => {
            let check = Check::Up {
                backend: backend.to_string(),
            };
            decide(&check, asked, |page| {
                Tally::of(page, backend, |_| false).into_iter().collect()
            })
        }
        (Function::SurvivesRestart, [Value::String(server)]) => {
            let check = Check::RestartImpact {
                servers: vec![server.to_string()],
            };
            decide(&check, asked, |page| check.wanted().impacts(page))
        }
        (Function::Converged, []) => decide(&Check::Converged, asked, |_| Vec::new()),
        (Function::Connections, []) => {
            let current = asked.parts.iter().map(|part| {
                part.connections
                    .unwrap_or_default()
                    .saturating_add(part.facts.old_connections)
            });
            let sum = current.fold(0, u64::saturating_add);
            Ok(Value::Int(i64::try_from(sum).unwrap_or(i64::MAX)))
        }
        _ => Err(wrong(format!("write {}", function.usage()))),
    }
}

/// Asks a check that is built in. What it does not know, the expression does not know either.
fn decide(
    check: &Check,
    asked: &Asked,
    tallies: impl Fn(&crate::Statistics) -> Vec<Tally>,
) -> Result<Value, ExecutionError> {
    let part = |part: &Part| Part {
        facts: part.facts.clone(),
        age: part.age,
        tallies: part.table.as_ref().map(&tallies).unwrap_or_default(),
        backends: part
            .table
            .iter()
            .flat_map(|page| page.of(RowKind::Backend))
            .map(|row| row.proxy().to_owned())
            .take(20)
            .collect(),
        ..Part::default()
    };
    let asked = Asked {
        parts: asked.parts.iter().map(part).collect(),
        ..asked.clone()
    };
    // How many may be missing was decided before.
    let answer = check.answer(&asked, u32::MAX);
    match answer.standing {
        Standing::Ok => Ok(Value::Bool(true)),
        Standing::Warning => Ok(Value::Bool(!matches!(check, Check::Converged))),
        Standing::Critical => Ok(Value::Bool(false)),
        Standing::Unknown => Err(ExecutionError::function_error("", answer.summary)),
    }
}

fn sum(values: &[Value]) -> Result<Value, ExecutionError> {
    let mut total = Value::Int(0);
    for (place, value) in values.iter().enumerate() {
        total = match (&total, value) {
            (_, first @ (Value::Float(_) | Value::UInt(_))) if place == 0 => first.clone(),
            (Value::Int(one), Value::Int(other)) => Value::Int(one.saturating_add(*other)),
            (Value::UInt(one), Value::UInt(other)) => Value::UInt(one.saturating_add(*other)),
            (Value::Float(one), Value::Float(other)) => Value::Float(one + other),
            _ => {
                let words = "sum takes a list of numbers of one type";
                return Err(ExecutionError::function_error("", words));
            }
        };
    }
    Ok(total)
}

fn extreme(function: Function, values: &[Value]) -> Result<Value, ExecutionError> {
    let error = |words: &str| ExecutionError::function_error("", words);
    let Some((first, rest)) = values.split_first() else {
        return Err(error("an empty list has no least or greatest number"));
    };
    let mut best = first;
    for value in rest {
        let order = value.partial_cmp(best);
        let order = order.ok_or_else(|| error("min and max take a list of numbers of one type"))?;
        let is_better = match function {
            Function::Min => order.is_lt(),
            _ => order.is_gt(),
        };
        if is_better {
            best = value;
        }
    }
    Ok(best.clone())
}

/// A value in JSON, with the fields of a record by name.
fn json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => (*value).into(),
        Value::UInt(value) => (*value).into(),
        Value::Float(value) => {
            let number = Number::from_f64(*value);
            number
                .map(Json::Number)
                .ok_or("its value is not a number")?
        }
        Value::String(value) => Json::String(value.to_string()),
        Value::List(values) => {
            let values: Result<_, String> = values.iter().map(json).collect();
            Json::Array(values?)
        }
        Value::Map(map) => {
            let mut fields = Vec::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                let key = match key {
                    Key::String(name) => name.to_string(),
                    Key::Int(number) => number.to_string(),
                    Key::Uint(number) => number.to_string(),
                    Key::Bool(is_it) => is_it.to_string(),
                };
                fields.push((key, json(value)?));
            }
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Json::Object(fields.into_iter().collect::<JsonMap<_, _>>())
        }
        _ => return Err("its value cannot be shown".to_owned()),
    })
}
