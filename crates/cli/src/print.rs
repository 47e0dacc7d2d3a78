//! Printing answers: as tables for people, as JSON or YAML for programs.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Cell, Color, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;

/// Where and how answers are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    format: Format,
}

/// How a cell is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As any other.
    Plain,
    /// All is well.
    Good,
    /// Somebody should look.
    Warning,
    /// Something is broken.
    Bad,
}

impl Printer {
    /// A printer of `format` to standard output.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// The format of answers.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Whether answers are for people.
    pub(crate) fn is_for_people(self) -> bool {
        self.format == Format::Table
    }

    /// Prints `answer` for programs, or what `for_people` makes of it.
    pub(crate) fn answer<T: Serialize>(
        self,
        answer: &T,
        for_people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => for_people(answer),
            Format::Json => serde_json::to_string_pretty(answer).map_err(anyhow::Error::from)?,
            Format::Yaml => {
                let value = serde_json::to_value(answer).map_err(anyhow::Error::from)?;
                serde_saphyr::to_string(&value).map_err(anyhow::Error::from)?
            }
        };
        line(&text)
    }

    /// Prints a failure to standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        let text = match self.format {
            Format::Json => {
                let exit = failure.exit as u8;
                serde_json::json!({"error": {"message": failure.to_string(), "exit_status": exit}})
                    .to_string()
            }
            Format::Table | Format::Yaml => format!("hafleet: {failure}"),
        };
        note(&text);
    }
}

/// Prints one text to standard output, ending it with a newline. A closed pipe ends the command quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let text = text.trim_end_matches('\n');
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => {
            other.map_err(|error| anyhow::Error::from(error).context("standard output").into())
        }
    }
}

/// Prints one line to standard error: progress, warnings, hints.
pub(crate) fn note(text: &str) {
    // Nothing is left to do when even standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table without lines, in the manner of `kubectl get`; colours only on a terminal, and not under `NO_COLOR`.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<(String, Tone)>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !has_colour() {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|name| Cell::new(name.to_uppercase())));
    for row in rows {
        table.add_row(row.into_iter().map(|(text, tone)| match tone {
            Tone::Plain => Cell::new(text),
            Tone::Good => Cell::new(text).fg(Color::Green),
            Tone::Warning => Cell::new(text).fg(Color::Yellow),
            Tone::Bad => Cell::new(text).fg(Color::Red),
        }));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether standard output shows colours (the NO_COLOR convention, no-color.org).
pub(crate) fn has_colour() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_refused && io::stdout().is_terminal()
}

/// A plain cell.
pub(crate) fn plain(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Plain)
}
