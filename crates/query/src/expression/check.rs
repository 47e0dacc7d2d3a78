//! The types of an expression, worked out before anybody is asked.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, SourceInfo,
};

use super::functions::Function;
use super::needs::Needs;
use super::types::{self, Type};
use super::{ExpressionError, offset};

/// What is known of an expression beforehand.
pub(super) struct Checked {
    pub(super) of: Type,
    pub(super) needs: Needs,
}

/// Checks a whole expression.
pub(super) fn check(
    source: &str,
    root: &IdedExpr,
    positions: &SourceInfo,
) -> Result<Checked, ExpressionError> {
    let mut checker = Checker {
        source,
        positions,
        scope: Vec::new(),
        needs: Needs::default(),
    };
    let of = checker.type_of(root)?;
    checker.needs.whole(&of);
    Ok(Checked {
        of,
        needs: checker.needs,
    })
}

struct Checker<'a> {
    source: &'a str,
    positions: &'a SourceInfo,
    scope: Vec<(&'a str, Type)>,
    needs: Needs,
}

type Found = Result<Type, ExpressionError>;

impl<'a> Checker<'a> {
    fn error(&self, at: &IdedExpr, message: impl Into<String>) -> ExpressionError {
        let mut place = offset(self.positions, at.id);
        // A selection stands at its dot; its field begins behind it.
        if matches!(at.expr, Expr::Select(_)) && self.source.as_bytes().get(place) == Some(&b'.') {
            place += 1;
        }
        ExpressionError::at(self.source, place, message)
    }

    fn type_of(&mut self, expression: &'a IdedExpr) -> Found {
        match &expression.expr {
            Expr::Literal(literal) => Ok(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::UInt(_) => Type::Uint,
                LiteralValue::String(_) => Type::String,
                LiteralValue::Null => Type::Null,
                LiteralValue::Bytes(_) => {
                    return Err(self.error(
                        expression,
                        "there are no bytes in the snapshot; write a string",
                    ));
                }
            }),
            Expr::Ident(name) => self.variable(expression, name),
            Expr::Select(select) => self.select(expression, select),
            Expr::Call(call) => self.call(expression, call),
            Expr::List(list) => {
                let mut element = Type::Never;
                for item in &list.elements {
                    let of = self.type_of(item)?;
                    element = element.join(&of).unwrap_or(Type::Dyn);
                    if element == Type::Dyn {
                        self.needs.whole(&of);
                    }
                }
                Ok(Type::list(element))
            }
            Expr::Map(map) => {
                let (mut keys, mut values) = (Type::Never, Type::Never);
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        continue;
                    };
                    let (key, value) = (self.type_of(&entry.key)?, self.type_of(&entry.value)?);
                    self.needs.whole(&value);
                    keys = keys.join(&key).unwrap_or(Type::Dyn);
                    values = values.join(&value).unwrap_or(Type::Dyn);
                }
                Ok(Type::Map(Box::new(keys), Box::new(values)))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => {
                Err(self.error(expression, "there are no messages to make here"))
            }
        }
    }

    fn variable(&self, at: &IdedExpr, name: &str) -> Found {
        let bound = self.scope.iter().rev().find(|(known, _)| *known == name);
        if let Some(found) = bound
            .map(|(_, of)| of.clone())
            .or_else(|| types::variable(name))
        {
            return Ok(found);
        }
        let named = self.scope.iter().map(|(known, _)| *known);
        let named = named.filter(|known| !known.starts_with('@'));
        let known: Vec<_> = types::VARIABLES.into_iter().chain(named).collect();
        Err(self.error(
            at,
            format!("there is no {name} here; {}", suggestion(name, &known)),
        ))
    }

    fn select(&mut self, at: &'a IdedExpr, select: &'a SelectExpr) -> Found {
        let of = self.type_of(&select.operand)?;
        let field = select.field.as_str();
        let found = match &of {
            open if open.is_open() => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            record if record.is_record() => match record.field(field) {
                Some(found) => {
                    self.needs.field(record, field);
                    found
                }
                None => {
                    let words = suggestion(field, &record.field_names());
                    return Err(self.error(
                        at,
                        format!("{} {record} has no {field}; {words}", article(record)),
                    ));
                }
            },
            Type::List(element) => {
                let words = format!(
                    "a list has no fields; write .map(x, x.{field}) or .all(x, …) to look at each {element}"
                );
                return Err(self.error(at, words));
            }
            other => {
                return Err(self.error(at, format!("{} {other} has no fields", article(other))));
            }
        };
        Ok(if select.test { Type::Bool } else { found })
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> Found {
        let range = self.type_of(&comprehension.iter_range)?;
        let element = match range {
            Type::List(element) => *element,
            Type::Map(key, _) => *key,
            open if open.is_open() => Type::Dyn,
            other => {
                let words = format!(
                    "only lists and maps can be looked through, and this is {} {other}",
                    article(&other)
                );
                return Err(self.error(&comprehension.iter_range, words));
            }
        };
        let begin = self.type_of(&comprehension.accu_init)?;
        self.scope.push((&comprehension.iter_var, element));
        self.scope.push((&comprehension.accu_var, begin.clone()));
        let step = self.type_of(&comprehension.loop_step);
        self.scope.pop();
        self.scope.pop();
        let step = step?;
        self.scope.push((
            &comprehension.accu_var,
            begin.join(&step).unwrap_or(Type::Dyn),
        ));
        let result = self.type_of(&comprehension.result);
        self.scope.pop();
        result
    }

    fn call(&mut self, at: &'a IdedExpr, call: &'a CallExpr) -> Found {
        let arguments: Vec<&'a IdedExpr> = call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect();
        let mut found = Vec::with_capacity(arguments.len());
        for argument in &arguments {
            found.push(self.type_of(argument)?);
        }
        if let Some(function) = Function::find(&call.func_name) {
            return self.ours(at, call, function, &found);
        }
        self.operator(call, &arguments, &found)
            .unwrap_or_else(|| self.standard(at, call, &found))
    }

    fn ours(
        &mut self,
        at: &IdedExpr,
        call: &CallExpr,
        function: Function,
        found: &[Type],
    ) -> Found {
        let fits = if call.target.is_some() {
            None
        } else {
            function.result(found)
        };
        let Some(result) = fits else {
            let given: Vec<_> = found.iter().map(ToString::to_string).collect();
            let given = given.join(", ");
            return Err(self.error(
                at,
                format!("write {}; this has ({given})", function.usage()),
            ));
        };
        match function {
            Function::RollingRestartable | Function::Up => {
                let name = call.args.first().and_then(|argument| match &argument.expr {
                    Expr::Literal(LiteralValue::String(name)) => Some(name.inner()),
                    _ => None,
                });
                self.needs.backend(name);
            }
            Function::SurvivesRestart => self.needs.backend(None),
            Function::Connections => self.needs.connections = true,
            Function::Sum
            | Function::Min
            | Function::Max
            | Function::Flatten
            | Function::Converged => {}
        }
        Ok(result)
    }

    /// The type of an operator's value; none when it is no operator.
    fn operator(
        &mut self,
        call: &CallExpr,
        arguments: &[&'a IdedExpr],
        found: &[Type],
    ) -> Option<Found> {
        let (left, right) = (found.first()?, found.get(1));
        let wrong = |checker: &Self, at: &IdedExpr, wanted: &str, is: &Type| {
            Some(Err(checker.error(
                at,
                format!("this has to be {wanted}, and is {} {is}", article(is)),
            )))
        };
        match (call.func_name.as_str(), right) {
            (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, None) => {
                if !is(left, &Type::Bool) {
                    return wrong(self, arguments[0], "true or false", left);
                }
                Some(Ok(Type::Bool))
            }
            (op::LOGICAL_AND | op::LOGICAL_OR, Some(right)) => {
                for (at, of) in arguments.iter().zip([left, right]) {
                    if !is(of, &Type::Bool) {
                        return wrong(self, at, "true or false", of);
                    }
                }
                Some(Ok(Type::Bool))
            }
            (op::CONDITIONAL, Some(right)) => {
                let other = found.get(2)?;
                if !is(left, &Type::Bool) {
                    return wrong(self, arguments[0], "true or false", left);
                }
                Some(match right.join(other) {
                    Some(joined) => Ok(joined),
                    None => Err(self.error(
                        arguments[2],
                        format!("both sides of a condition have to agree: {right} is not {other}"),
                    )),
                })
            }
            (op::NEGATE, None) => {
                if !left.is_number() {
                    return wrong(self, arguments[0], "a number", left);
                }
                Some(Ok(left.clone()))
            }
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, Some(right)) => {
                Some(self.arithmetic(&call.func_name, arguments, left, right))
            }
            (op::EQUALS | op::NOT_EQUALS, Some(right)) => {
                let is_comparable = left.join(right).is_some()
                    || (left.is_number() && right.is_number())
                    || [left, right].contains(&&Type::Null);
                let is_record = !left.records().is_empty() || !right.records().is_empty();
                Some(if is_record {
                    Err(self.error(
                        arguments[0],
                        "whole records cannot be compared; compare fields of them, such as .name",
                    ))
                } else if is_comparable {
                    Ok(Type::Bool)
                } else {
                    Err(self.error(arguments[1], format!("{left} and {right} are never equal")))
                })
            }
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, Some(right)) => {
                let is_ordered =
                    |of: &Type| of.is_number() || matches!(of, Type::String | Type::Bool);
                let agrees = (left.is_number() && right.is_number()) || left.join(right).is_some();
                Some(if agrees && is_ordered(left) && is_ordered(right) {
                    Ok(Type::Bool)
                } else {
                    Err(self.error(arguments[1], format!("{left} and {right} have no order")))
                })
            }
            (op::IN, Some(right)) => {
                let holds = match right {
                    Type::List(element) => {
                        element.join(left).is_some() && left.records().is_empty()
                    }
                    Type::Map(key, _) => key.join(left).is_some(),
                    open => open.is_open(),
                };
                Some(if holds {
                    Ok(Type::Bool)
                } else {
                    Err(self.error(
                        arguments[1],
                        format!(
                            "{} {left} cannot be in {} {right}",
                            article(left),
                            article(right)
                        ),
                    ))
                })
            }
            (op::INDEX, Some(right)) => Some(self.index(call, arguments, left, right)),
            _ => None,
        }
    }

    fn arithmetic(
        &self,
        operator: &str,
        arguments: &[&IdedExpr],
        left: &Type,
        right: &Type,
    ) -> Found {
        let joins = matches!(left, Type::List(_) | Type::String) && operator == op::ADD;
        match left.join(right) {
            Some(joined) if joins || left.is_open() || right.is_open() => Ok(joined),
            Some(joined)
                if joined.is_number() && !(operator == op::MODULO && joined == Type::Double) =>
            {
                Ok(joined)
            }
            _ => {
                let hint = if left.is_number() && right.is_number() {
                    "; numbers of two types do not mix: double(…) and int(…) convert"
                } else {
                    ""
                };
                let sign = operator.trim_matches('_');
                Err(self.error(
                    arguments[1],
                    format!("{left} {sign} {right} means nothing{hint}"),
                ))
            }
        }
    }

    fn index(
        &mut self,
        call: &CallExpr,
        arguments: &[&'a IdedExpr],
        left: &Type,
        right: &Type,
    ) -> Found {
        match left {
            Type::List(element) if is(right, &Type::Int) => Ok((**element).clone()),
            Type::Map(key, value) if key.join(right).is_some() => Ok((**value).clone()),
            record if record.is_record() => {
                let name = call.args.get(1).and_then(|argument| match &argument.expr {
                    Expr::Literal(LiteralValue::String(name)) => Some(name.inner()),
                    _ => None,
                });
                let Some(name) = name else {
                    return Err(self.error(
                        arguments[1],
                        "the name of a field has to be written out, such as [\"scur\"]",
                    ));
                };
                self.needs.field(record, name);
                match record.field(name) {
                    Some(found) => Ok(found),
                    // A column of a version that is newer than this program.
                    None if !matches!(record, Type::Lb) => Ok(Type::Dyn),
                    None => {
                        let words = suggestion(name, &record.field_names());
                        Err(self.error(
                            arguments[1],
                            format!("{} {record} has no {name}; {words}", article(record)),
                        ))
                    }
                }
            }
            open if open.is_open() => Ok(Type::Dyn),
            other => Err(self.error(
                arguments[1],
                format!(
                    "{} {other} cannot be indexed by {} {right}",
                    article(other),
                    article(right)
                ),
            )),
        }
    }

    fn standard(&self, at: &IdedExpr, call: &CallExpr, found: &[Type]) -> Found {
        let is_text = |of: &Type| is(of, &Type::String);
        let result = match (call.func_name.as_str(), found) {
            ("size", [Type::List(_) | Type::Map(..) | Type::String | Type::Dyn | Type::Never]) => {
                Some(Type::Int)
            }
            ("contains" | "startsWith" | "endsWith", [text, part]) if call.target.is_some() => {
                (is_text(text) && is_text(part)).then_some(Type::Bool)
            }
            ("int", [of]) => (of.is_number() || is_text(of)).then_some(Type::Int),
            ("uint", [of]) => (of.is_number() || is_text(of)).then_some(Type::Uint),
            ("double", [of]) => (of.is_number() || is_text(of)).then_some(Type::Double),
            ("string", [of]) => {
                (of.is_number() || is_text(of) || *of == Type::Bool).then_some(Type::String)
            }
            ("dyn", [of]) if of.records().is_empty() => Some(Type::Dyn),
            _ => None,
        };
        if let Some(result) = result {
            return Ok(result);
        }
        let name = &call.func_name;
        let given: Vec<_> = found.iter().map(ToString::to_string).collect();
        let standard = [
            "size",
            "contains",
            "startsWith",
            "endsWith",
            "int",
            "uint",
            "double",
            "string",
            "dyn",
            "has",
            "all",
            "exists",
            "exists_one",
            "filter",
            "map",
        ];
        if standard.contains(&name.as_str()) {
            return Err(self.error(at, format!("{name} does not take ({})", given.join(", "))));
        }
        let known: Vec<_> = Function::ALL
            .iter()
            .map(|(known, _)| *known)
            .chain(standard)
            .collect();
        Err(self.error(
            at,
            format!("there is no function {name}; {}", suggestion(name, &known)),
        ))
    }
}

/// Whether a value of type `found` may be one of `wanted`.
fn is(found: &Type, wanted: &Type) -> bool {
    found.is_open() || found == wanted
}

fn article(of: &Type) -> &'static str {
    if matches!(of, Type::Int | Type::Info) {
        "an"
    } else {
        "a"
    }
}

/// The names that were probably meant, or else all if they are few.
fn suggestion(wrong: &str, known: &[&str]) -> String {
    let distance =
        |name: &&&str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let nearest = known.iter().min_by_key(distance);
    match nearest {
        Some(name) if distance(&name) <= (wrong.len() / 2).min(2) => {
            format!("did you mean {name}?")
        }
        _ if known.len() <= 20 => format!("there are {}", known.join(", ")),
        _ => "docs: snapshot.md has them all".to_owned(),
    }
}
