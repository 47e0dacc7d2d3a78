//! One measured figure, and the table of all.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

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

    /// A figure that must be `limit` or more.
    pub(crate) fn over(name: &str, value: f64, unit: &'static str, limit: f64) -> Self {
        Self {
            must: Some(format!(">= {limit}")),
            ok: value >= limit,
            ..Self::plain(name, value, unit)
        }
    }

    /// A figure that could not be measured: it has no value, and misses what it must reach.
    pub(crate) fn missing(name: &str, unit: &'static str, why: &str) -> Self {
        Self {
            must: Some("be measured".to_owned()),
            ok: false,
            ..Self::plain(name, f64::NAN, unit)
        }
        .beside(why)
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

/// Says what was measured before all else is, and gives it back.
pub(crate) fn told(figures: Vec<Figure>) -> Vec<Figure> {
    eprint!("{}", table(&figures));
    figures
}

/// The time in milliseconds that `percent` of `times` do not exceed: the nearest rank, so that of few times the
/// 99th percentile is the longest.
///
/// # Panics
/// When there are no times.
pub(crate) fn percentile_ms(times: &[Duration], percent: u32) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
    let time = sorted
        .get(rank - 1)
        .expect("something was measured, and a percentile is at most 100");
    time.as_secs_f64() * 1e3
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let of = |percent| percentile_ms(&times, percent).round();
        assert_eq!([of(0), of(50), of(99), of(100)], [1.0, 100.0, 198.0, 200.0]);
        assert_eq!(percentile_ms(&times[..20], 99).round(), 200.0);
    }

    #[test]
    fn a_figure_that_misses_says_so() {
        let figures = [
            Figure::under("a", 2.0, "s", 1.0),
            Figure::exactly("b", 0.0, "of all", 0.0),
        ];
        assert!(!figures[0].ok && figures[1].ok);
        let text = table(&figures);
        assert!(
            text.contains("< 1 MISSED") && text.contains("= 0 ok"),
            "{text}"
        );
    }
}
