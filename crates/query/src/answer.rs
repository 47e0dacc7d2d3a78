//! What comes of a question, by the conventions of monitoring systems: a status, one line with performance data, details.

use std::fmt;

use serde::Serialize;

/// The most verdicts that are told in detail; the worst come first.
pub const MOST_VERDICTS: usize = 100;

/// How a question is answered; each has the exit status of monitoring plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// 0: yes.
    Ok,
    /// 1: yes, and somebody should look.
    Warning,
    /// 2: no.
    Critical,
    /// 3: nobody can say.
    Unknown,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Critical, Self::Unknown];

    /// The exit status of monitoring plugins.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// What two load balancers say together: a *no* of one is a no of all, whatever others do not know; what one does not
    /// know, nobody knows.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max_by_weight(other)
    }

    fn max_by_weight(self, other: Self) -> Self {
        if other.weight() > self.weight() {
            other
        } else {
            self
        }
    }

    fn weight(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A load balancer that is no part of an answer, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Which.
    pub lb: String,
    /// Why, in words.
    pub reason: String,
}

/// What one load balancer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which.
    pub lb: String,
    /// What it says.
    pub standing: Standing,
    /// In words.
    pub words: String,
}

/// A figure for monitoring systems (`label=value;warn;crit;min;max`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Datum {
    /// What it counts.
    pub label: String,
    /// How many.
    pub value: i64,
    /// From where on it is a warning.
    pub warn: Option<i64>,
    /// From where on it is critical.
    pub crit: Option<i64>,
    /// The least that it can be.
    pub min: Option<i64>,
    /// The most that it can be.
    pub max: Option<i64>,
}

impl Datum {
    /// A count, which is never below 0.
    pub fn count(label: &str, value: impl TryInto<i64>) -> Self {
        Self {
            label: label.to_owned(),
            value: value.try_into().unwrap_or(i64::MAX),
            warn: None,
            crit: None,
            min: Some(0),
            max: None,
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [Some(self.value), self.warn, self.crit, self.min, self.max];
        let words: Vec<_> = parts
            .iter()
            .map(|part| part.map(|value| value.to_string()).unwrap_or_default())
            .collect();
        write!(
            f,
            "{}={}",
            self.label,
            words.join(";").trim_end_matches(';')
        )
    }
}

/// What comes of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The name of the check.
    pub check: String,
    /// How it is answered.
    pub standing: Standing,
    /// In one line.
    pub summary: String,
    /// Figures.
    pub performance: Vec<Datum>,
    /// What the load balancers say, the worst first, at most [`MOST_VERDICTS`].
    pub verdicts: Vec<Verdict>,
    /// How many more there are.
    pub omitted: u32,
    /// Load balancers that are no part of it.
    pub missing: Vec<Missing>,
}

impl Answer {
    /// An answer of which all that is known is why there is none.
    pub fn unknown(check: &str, summary: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            standing: Standing::Unknown,
            summary: summary.into(),
            performance: Vec::new(),
            verdicts: Vec::new(),
            omitted: 0,
            missing: Vec::new(),
        }
    }

    /// The lines that a monitoring plugin prints: the first with the figures, then the load balancers.
    pub fn lines(&self) -> String {
        let name = self.check.to_uppercase();
        let summary = plain(&self.summary);
        let mut text = format!("{name} {} - {summary}", self.standing);
        if !self.performance.is_empty() {
            let figures: Vec<_> = self.performance.iter().map(ToString::to_string).collect();
            text = format!("{text} | {}", figures.join(" "));
        }
        for verdict in &self.verdicts {
            let (standing, words) = (verdict.standing, plain(&verdict.words));
            text = format!("{text}\n{}: {standing}: {words}", verdict.lb);
        }
        if self.omitted > 0 {
            text = format!("{text}\nand {} more", self.omitted);
        }
        for missing in &self.missing {
            text = format!(
                "{text}\n{}: no answer: {}",
                missing.lb,
                plain(&missing.reason)
            );
        }
        text
    }
}

/// Words that end no line and begin no figures.
fn plain(words: &str) -> String {
    let is_plain = |c: char| c != '|' && !c.is_control();
    words
        .chars()
        .map(|c| if is_plain(c) { c } else { ' ' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_outweighs_what_is_not_known_and_that_outweighs_a_warning() {
        use Standing::{Critical, Ok, Unknown, Warning};
        for (one, other, both) in [
            (Ok, Ok, Ok),
            (Ok, Warning, Warning),
            (Warning, Unknown, Unknown),
            (Unknown, Ok, Unknown),
            (Unknown, Critical, Critical),
            (Critical, Warning, Critical),
        ] {
            assert_eq!(one.and(other), both, "{one} {other}");
            assert_eq!(other.and(one), both, "{other} {one}");
        }
    }

    #[test]
    fn the_first_line_carries_the_figures() {
        let datum = Datum {
            warn: Some(500),
            crit: Some(800),
            ..Datum::count("current", 123)
        };
        let answer = Answer {
            performance: vec![datum, Datum::count("lbs", 3)],
            ..Answer::unknown("connections", "123 of them|\nnow")
        };
        assert_eq!(
            answer.lines(),
            "CONNECTIONS UNKNOWN - 123 of them  now | current=123;500;800;0 lbs=3;;;0"
        );
    }
}
