//! `hafleet check`, `hafleet query` and `hafleet wait`: questions over all load balancers, to a fleet's agents or to plain
//! HAProxies.

pub(crate) mod args;
pub(crate) mod fleet;
mod netrc;
mod plain;
pub(crate) mod source;
mod transport;

use std::process::ExitCode;
use std::time::Duration;

use hafleet_query::{Answer, Check, Evaluation, Expression, Standing};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::args::{CheckArgs, CheckCommand, QueryArgs, QuestionArgs, WaitArgs};
use self::fleet::Asker;
use crate::args::Target;
use crate::failure::Failure;
use crate::print::{self, Printer};
use crate::progress::Progress;

/// How long `wait` waits unless it is told.
const USUAL_WAIT: Duration = Duration::from_secs(300);

const DAY: Duration = Duration::from_secs(86_400);

/// What a command that asks ends with.
fn ended(standing: Standing) -> ExitCode {
    ExitCode::from(standing.exit_status())
}

/// Nobody can say, since the question could not even be asked.
fn not_asked(printer: Printer, failure: &Failure) -> ExitCode {
    printer.failure(failure);
    ended(Standing::Unknown)
}

/// Runs `check`.
pub(crate) async fn check(args: CheckArgs, target: &Target, printer: Printer) -> ExitCode {
    let check = question(args.check);
    let answer = match answered(&check, &args.question, target).await {
        Ok(answer) => answer,
        Err(failure) => Answer::unknown(check.name(), failure.to_string()),
    };
    let printed = printer.answer(&shown(&answer), |_| answer.lines());
    match printed {
        Ok(()) => ended(answer.standing),
        Err(failure) => not_asked(printer, &failure),
    }
}

async fn answered(
    check: &Check,
    question: &QuestionArgs,
    target: &Target,
) -> Result<Answer, Failure> {
    let mut asker = Asker::new(question, target).await?;
    asker.check(check).await
}

fn question(command: CheckCommand) -> Check {
    match command {
        CheckCommand::RollingRestart {
            backend,
            at_a_time,
            min_up,
        } => Check::RollingRestart {
            backend,
            at_a_time,
            min_up,
        },
        CheckCommand::RestartImpact { servers } => Check::RestartImpact { servers },
        CheckCommand::Up { backend } => Check::Up { backend },
        CheckCommand::Converged => Check::Converged,
        CheckCommand::Connections { warn, crit } => Check::Connections { warn, crit },
        CheckCommand::Certificates {
            days,
            critical_days,
        } => Check::Certificates {
            warn: DAY * days,
            crit: DAY * critical_days,
            now: Timestamp::now(),
        },
    }
}

/// An answer for programs.
fn shown(answer: &Answer) -> Value {
    let mut value = json!(answer);
    value["exit_status"] = answer.standing.exit_status().into();
    value
}

/// Runs `query`.
pub(crate) async fn query(args: &QueryArgs, target: &Target, printer: Printer) -> ExitCode {
    let evaluation = match evaluated(args, target).await {
        Ok(evaluation) => evaluation,
        Err(failure) => return not_asked(printer, &failure),
    };
    let value = match evaluation.outcome {
        Ok(value) => value,
        Err(words) => {
            let missing = evaluation.missing.iter();
            let missing = missing.map(|missing| format!("\n{}: {}", missing.lb, missing.reason));
            let words = format!("unknown: {words}{}", missing.collect::<String>());
            return not_asked(printer, &Failure::invalid(words));
        }
    };
    for missing in &evaluation.missing {
        print::note(&format!("without {}: {}", missing.lb, missing.reason));
    }
    let standing = match (args.exit_code, &value) {
        (true, Value::Bool(false)) => Standing::Critical,
        _ => Standing::Ok,
    };
    match printer.answer(&value, plain_value) {
        Ok(()) => ended(standing),
        Err(failure) => not_asked(printer, &failure),
    }
}

async fn evaluated(args: &QueryArgs, target: &Target) -> Result<Evaluation, Failure> {
    let expression = compiled(&args.expression, args.exit_code)?;
    let mut asker = Asker::new(&args.question, target).await?;
    asker.evaluate(&expression).await
}

/// Reads and checks an expression before anybody is asked.
fn compiled(text: &str, has_to_be_bool: bool) -> Result<Expression, Failure> {
    let expression = Expression::compile(text).map_err(Failure::invalid)?;
    if has_to_be_bool && !expression.is_bool() {
        let words = "the expression has to be true or false; compare its value with something";
        return Err(Failure::invalid(words));
    }
    Ok(expression)
}

/// A value for people: text as it is, a list of plain values line by line, anything else as JSON.
fn plain_value(value: &Value) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    };
    if let Some(word) = word(value) {
        return word;
    }
    let words: Option<Vec<_>> = value
        .as_array()
        .and_then(|values| values.iter().map(word).collect());
    match words {
        Some(words) => words.join("\n"),
        None => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// How a wait stands.
#[derive(Debug, Default)]
struct Wait {
    in_a_row: u32,
    asked: u32,
    /// Why the last answer was none.
    unknown: Option<String>,
}

impl Wait {
    fn take(&mut self, outcome: Result<Evaluation, Failure>) {
        self.asked += 1;
        let outcome = outcome.map_err(|failure| failure.to_string());
        match outcome.and_then(|evaluation| evaluation.outcome) {
            Ok(value) => {
                self.unknown = None;
                let is_true = value == Value::Bool(true);
                self.in_a_row = if is_true { self.in_a_row + 1 } else { 0 };
            }
            Err(words) => {
                self.in_a_row = 0;
                self.unknown = Some(words);
            }
        }
    }

    fn words(&self, successes: u32) -> String {
        match (&self.unknown, self.in_a_row) {
            (Some(words), _) => format!("unknown: {words}"),
            (None, 0) => "not true yet".to_owned(),
            (None, in_a_row) => format!("true {in_a_row} of {successes} times in a row"),
        }
    }
}

/// Runs `wait`.
pub(crate) async fn wait(args: &WaitArgs, target: &Target, printer: Printer) -> ExitCode {
    let expression = match compiled(&args.expression, true) {
        Ok(expression) => expression,
        Err(failure) => return not_asked(printer, &failure),
    };
    let deadline = Instant::now() + target.timeout.unwrap_or(USUAL_WAIT);
    let mut progress = Progress::begin(format!("waiting for {}", args.expression));
    let mut asker = None;
    let mut wait = Wait::default();
    while wait.in_a_row < args.successes {
        if wait.asked > 0 && Instant::now() + args.interval > deadline {
            break;
        }
        if wait.asked > 0 {
            tokio::time::sleep(args.interval).await;
        }
        let outcome = ask(&mut asker, &expression, &args.question, target);
        match tokio::time::timeout_at(deadline, outcome).await {
            Ok(outcome) => wait.take(outcome),
            Err(_) if wait.asked > 0 => break,
            Err(_) => wait.take(Err(Failure::invalid("no answer came in that time"))),
        }
        progress.say(wait.words(args.successes));
    }
    let (standing, status) = match (&wait.unknown, wait.in_a_row >= args.successes) {
        (_, true) => ("true", 0),
        (None, false) => ("timed out", 1),
        (Some(_), false) => ("unknown", 3),
    };
    progress.end(&format!("{standing}: {}", wait.words(args.successes)));
    let told = json!({"outcome": standing, "asked": wait.asked, "reason": wait.unknown});
    if !printer.is_for_people()
        && let Err(failure) = printer.answer(&told, |_| String::new())
    {
        return not_asked(printer, &failure);
    }
    ExitCode::from(status)
}

/// Asks once, over the connection of last time while it is good.
async fn ask(
    asker: &mut Option<Asker>,
    expression: &Expression,
    question: &QuestionArgs,
    target: &Target,
) -> Result<Evaluation, Failure> {
    let mut asking = match asker.take() {
        Some(asking) => asking,
        None => Asker::new(question, target).await?,
    };
    let evaluation = asking.evaluate(expression).await?;
    *asker = Some(asking);
    Ok(evaluation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(outcome: Result<Value, &str>) -> Result<Evaluation, Failure> {
        Ok(Evaluation {
            outcome: outcome.map_err(str::to_owned),
            asked: 1,
            missing: Vec::new(),
        })
    }

    #[test]
    fn what_is_true_has_to_be_so_in_a_row() {
        let mut wait = Wait::default();
        let mut after = |outcome| {
            wait.take(evaluation(outcome));
            (wait.in_a_row, wait.unknown.is_some())
        };
        assert_eq!(after(Ok(json!(true))), (1, false));
        assert_eq!(after(Ok(json!(true))), (2, false));
        assert_eq!(after(Err("lb2 is gone")), (0, true));
        assert_eq!(after(Ok(json!(true))), (1, false));
        assert_eq!(after(Ok(json!(false))), (0, false));
    }

    #[test]
    fn values_are_shown_plainly() {
        assert_eq!(plain_value(&json!("a")), "a");
        assert_eq!(plain_value(&json!(7)), "7");
        assert_eq!(plain_value(&json!(["a", 1, true])), "a\n1\ntrue");
        assert_eq!(
            plain_value(&json!([{"a": 1}])),
            "[\n  {\n    \"a\": 1\n  }\n]"
        );
    }
}
