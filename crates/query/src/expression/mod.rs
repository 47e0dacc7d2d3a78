//! The Common Expression Language over the snapshot of all load balancers.
//!
//! An expression is read and checked before anybody is asked: every name, every column and every type. On the way the
//! checker notes which rows, columns and fields the expression touches, and no others are asked for ([`needs`]). It is
//! evaluated where it was asked, over the parts that came back ([`evaluate`]). The language has no loops but those over
//! lists that are there, and what those may cost is bounded beforehand ([`cost`]), so that an expression always ends.

mod check;
mod cost;
mod evaluate;
mod functions;
mod needs;
mod snapshot;
mod types;

use std::fmt;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::Parser;
use serde::Serialize;
use serde_json::Value;

use crate::answer::Missing;
use crate::part::{Asked, Wanted};

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 4_096;
/// The deepest that brackets, lists and conditions may be nested.
const MAX_DEPTH: u16 = 48;
/// The parser and the evaluator call themselves for each level of an expression; a chain of operators is as deep as it is
/// long. So deep a stack has room for the longest one, unoptimised too. Pages that are not touched take no memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong and what to do, in words.
    pub message: String,
    text: String,
}

impl std::error::Error for ExpressionError {}

impl ExpressionError {
    /// `offset` in bytes, from 0.
    fn at(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Self {
            line,
            column,
            message: message.into(),
            text: source.to_owned(),
        }
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.text.contains('\n') {
            format!("line {}, column {}", self.line, self.column)
        } else {
            format!("column {}", self.column)
        };
        write!(f, "{place}: {}", self.message)?;
        if let Some(line) = self.text.lines().nth(self.line - 1) {
            write!(f, "\n  {line}\n  {:>1$}", "^", self.column)?;
        }
        Ok(())
    }
}

/// An expression that has been checked.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Arc<str>,
    root: Arc<IdedExpr>,
    needs: needs::Needs,
    degree: u32,
    is_bool: bool,
}

impl Expression {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        if source.len() > MAX_BYTES {
            let words = format!(
                "it has {} bytes, and {MAX_BYTES} are the most",
                source.len()
            );
            return Err(ExpressionError::at(source, 0, words));
        }
        if source.trim().is_empty() {
            return Err(ExpressionError::at(source, 0, "there is no expression"));
        }
        let owned = source.to_owned();
        on_a_deep_stack(move || compile(&owned))
            .unwrap_or_else(|words| Err(ExpressionError::at(source, 0, words)))
    }

    /// The text that it was made of.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether its value is true or false, rather than anything else.
    pub fn is_bool(&self) -> bool {
        self.is_bool
    }

    /// What it needs of each load balancer.
    pub fn wanted(&self) -> Wanted {
        self.needs.wanted()
    }

    /// The reduce: its value over what came back. More than `allow_missing` missing load balancers, or a part of the
    /// answer that nobody knows, is no value.
    pub fn answer(&self, asked: &Asked, allow_missing: u32) -> Evaluation {
        let missing = asked.missing.clone();
        let outcome = match asked.is_too_few(allow_missing) {
            Some(words) => Err(words),
            None => self.evaluate(asked),
        };
        Evaluation {
            outcome,
            asked: u32::try_from(asked.parts.len() + missing.len()).unwrap_or(u32::MAX),
            missing,
        }
    }

    fn evaluate(&self, asked: &Asked) -> Result<Value, String> {
        let rows: usize = asked
            .parts
            .iter()
            .map(|part| part.table.as_ref().map_or(0, |table| table.rows().count()))
            .sum();
        cost::allow(self.degree, rows.max(asked.parts.len()))?;
        let (expression, asked) = (self.clone(), asked.clone());
        on_a_deep_stack(move || evaluate::evaluate(&expression.root, &expression.needs, asked))?
    }
}

/// What comes of an expression.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Its value, or why nobody knows it.
    pub outcome: Result<Value, String>,
    /// How many load balancers were asked.
    pub asked: u32,
    /// Those that are no part of it.
    pub missing: Vec<Missing>,
}

fn compile(source: &str) -> Result<Expression, ExpressionError> {
    let parser = Parser::new()
        .enable_ident_escape_syntax(true)
        .enable_optional_syntax(false)
        .max_recursion_depth(MAX_DEPTH);
    let parsed = parser.parse_with_source_info(source);
    let (root, positions) = parsed.map_err(|errors| of_parser(source, &errors))?;
    let checked = check::check(source, &root, &positions)?;
    let degree = cost::degree(&root);
    Ok(Expression {
        source: source.into(),
        root: Arc::new(root),
        needs: checked.needs,
        degree,
        is_bool: checked.of == types::Type::Bool,
    })
}

/// The first error of the parser, without the list of everything that could stand there.
fn of_parser(source: &str, errors: &cel::ParseErrors) -> ExpressionError {
    let Some(error) = errors.errors.first() else {
        return ExpressionError::at(source, 0, "it cannot be read");
    };
    let (line, column) = error.pos;
    let words = error.msg.trim_start_matches("Syntax error: ");
    let words = words
        .split_once(" expecting {")
        .map_or(words, |(words, _)| words);
    let words = match words {
        "mismatched input '<EOF>'" => "it ends too early".to_owned(),
        words => words
            .replace("mismatched input", "unexpected")
            .replace("'<EOF>'", "the end"),
    };
    ExpressionError {
        line: usize::try_from(line).unwrap_or(1).max(1),
        column: usize::try_from(column).unwrap_or(1).max(1),
        message: words,
        text: source.to_owned(),
    }
}

/// The place of a node, in bytes from 0.
fn offset(positions: &SourceInfo, id: u64) -> usize {
    let found = positions.offset_for(id);
    found.map_or(0, |(start, _)| usize::try_from(start).unwrap_or_default())
}

/// Runs `work` on a thread with a stack of its own and waits for it.
fn on_a_deep_stack<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let thread = std::thread::Builder::new()
        .name("expression".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map_err(|error| format!("no thread to evaluate it: {error}"))?;
    thread
        .join()
        .map_err(|_| "its evaluation failed".to_owned())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
