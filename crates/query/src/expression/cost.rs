//! What an expression may cost. Loops over lists that lie within each other, such as the servers of the backends of all
//! load balancers, look at each row once; loops that each begin anew look at every row for every row.

use std::collections::HashSet;

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr};

/// The most rows that an evaluation looks at: some seconds.
const MAX_LOOKS: u128 = 5_000_000;

/// How many times over an expression looks at all rows: the exponent of its cost.
pub(super) fn degree(root: &IdedExpr) -> u32 {
    of(root, &Scope::default())
}

/// Refuses an expression of `degree` over so many rows when that is too much.
pub(super) fn allow(degree: u32, rows: usize) -> Result<(), String> {
    let rows = rows.max(1) as u128;
    if degree <= 1
        || rows
            .checked_pow(degree)
            .is_some_and(|looks| looks <= MAX_LOOKS)
    {
        return Ok(());
    }
    Err(format!(
        "the expression compares everything with everything {degree} times over, which is too much for {rows} rows; ask for less at once"
    ))
}

/// The variables of the loops around an expression.
#[derive(Clone, Default)]
struct Scope<'a> {
    innermost: Option<&'a str>,
    outer: HashSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn within(&self, variable: &'a str) -> Self {
        let mut outer = self.outer.clone();
        outer.extend(self.innermost);
        outer.remove(variable);
        Self {
            innermost: Some(variable),
            outer,
        }
    }
}

fn of<'a>(expression: &'a IdedExpr, scope: &Scope<'a>) -> u32 {
    match &expression.expr {
        Expr::Ident(name) => u32::from(name == "lbs"),
        Expr::Select(select) => of(&select.operand, scope),
        Expr::Call(call) => {
            let arguments = call.target.as_deref().into_iter().chain(&call.args);
            let most = arguments
                .map(|argument| of(argument, scope))
                .max()
                .unwrap_or_default();
            most.max(u32::from(is_ours(&call.func_name)))
        }
        Expr::List(list) => {
            let elements = list.elements.iter();
            elements
                .map(|element| of(element, scope))
                .max()
                .unwrap_or_default()
        }
        Expr::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => of(&entry.key, scope).max(of(&entry.value, scope)),
                EntryExpr::StructField(field) => of(&field.value, scope),
            });
            entries.max().unwrap_or_default()
        }
        Expr::Comprehension(comprehension) => of_loop(comprehension, scope),
        Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => 0,
    }
}

fn of_loop<'a>(comprehension: &'a ComprehensionExpr, scope: &Scope<'a>) -> u32 {
    let range = &comprehension.iter_range;
    let anew = match root(range) {
        Some(name) if scope.outer.contains(name) => 1,
        _ => 0,
    };
    let body = of(
        &comprehension.loop_step,
        &scope.within(&comprehension.iter_var),
    );
    of(range, scope) + anew + body
}

/// The variable at whose fields a loop looks.
fn root(range: &IdedExpr) -> Option<&str> {
    match &range.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => root(&select.operand),
        Expr::Comprehension(comprehension) => root(&comprehension.iter_range),
        Expr::Call(call) => call.args.first().and_then(root),
        _ => None,
    }
}

/// Whether a function looks at all rows by itself.
fn is_ours(name: &str) -> bool {
    [
        "rolling_restartable",
        "up",
        "survives_restart",
        "converged",
        "connections",
    ]
    .contains(&name)
}
