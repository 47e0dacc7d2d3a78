//! One measured figure, and the table of all.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What was measured, and what it must reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it must reach, such as `< 1000`; nothing for a figure that is there to compare with.
    pub(crate) must: Option<String>,
    /// Whether it does.
    pub(crate) ok: bool,
    /// What stands beside it in the table.
    #[serde(skip)]
    pub(crate) beside: String,
}

impl Figure {
    /// A figure that must stay under `limit`.
    pub(crate) fn under(name: &str, value: f64, unit: &'static str, limit: f64) -> Self {
        Self {
            must: Some(format!("< {limit}")),
            ok: value < limit,
            ..Self::plain(name, value, unit)
        }
    }

    /// A figure that must be `wanted`.
    pub(crate) fn exactly(name: &str, value: f64, unit: &'static str, wanted: f64) -> Self {
        let ok = (value - wanted).abs() < f64::EPSILON;
        Self {
            must: Some(format!("= {wanted}")),
            ok,
            ..Self::plain(name, value, unit)
        }
    }

    /// A figure that is there to compare with.
    pub(crate) fn plain(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            must: None,
            ok: true,
            beside: String::new(),
        }
    }

    /// With words beside it.
    pub(crate) fn beside(self, words: impl Into<String>) -> Self {
        Self {
            beside: words.into(),
            ..self
        }
    }
}

/// The figures as a table for people.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = String::new();
    let width = figures
        .iter()
        .map(|figure| figure.name.chars().count())
        .max()
        .unwrap_or(0);
    for figure in figures {
        let Figure {
            name,
            value,
            unit,
            must,
            ok,
            beside,
        } = figure;
        let verdict = match (must, ok) {
            (None, _) => String::new(),
            (Some(must), true) => format!("{must} ok"),
            (Some(must), false) => format!("{must} MISSED"),
        };
        let value = if value.fract() == 0.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.2}")
        };
        writeln!(
            text,
            "{name:<width$}  {value:>9} {unit:<10} {verdict:<16} {beside}"
        )
        .expect("text takes text");
    }
    text
}

/// A percentile of `times` in milliseconds.
pub(crate) fn percentile_ms(times: &[Duration], percent: f64) -> f64 {
    let mut histogram = Histogram::<u64>::new(3).expect("three digits are allowed");
    for time in times {
        histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
    Duration::from_micros(histogram.value_at_percentile(percent)).as_secs_f64() * 1e3
}

/// Says how far a measurement is, on one line that is written over on a terminal.
pub(crate) fn progress(what: &str, done: u32, of: u32, last: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}: {done} of {of}, {last}");
        if done == of {
            eprintln!();
        }
    } else if done == of || done.is_multiple_of((of / 10).max(1)) {
        eprintln!("{what}: {done} of {of}, {last}");
    }
}
