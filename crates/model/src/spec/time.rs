//! Lengths of time as HAProxy's manual writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The longest time that HAProxy's timers hold, in milliseconds (`INT_MAX`: 24 days, 20 hours and 31 minutes).
const MAX_MS: u128 = i32::MAX as u128;

/// A length of time: a whole number and one of the units `ms`, `s`, `m`, `h` and `d` (HAProxy's Configuration
/// Manual, section 2.5, "Time format"). A number without a unit is refused, since HAProxy would read it as
/// milliseconds and people mean seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(Duration);

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a length of time: write a whole number and a unit (ms, s, m, h or d), such as 30s, up to 24d"
)]
pub struct TimeSpanError {
    found: String,
}

impl TimeSpan {
    /// So many seconds.
    pub const fn from_secs(secs: u32) -> Self {
        Self(Duration::from_secs(secs as u64))
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u32) -> Self {
        Self(Duration::from_millis(millis as u64))
    }

    /// The same as a standard duration.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        match units
            .into_iter()
            .find(|(size, _)| ms > 0 && ms.is_multiple_of(*size))
        {
            Some((size, unit)) => write!(f, "{}{unit}", ms / size),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let refused = || TimeSpanError {
            found: text.chars().take(40).collect(),
        };
        let unit_at = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(refused)?;
        let (number, unit) = text.split_at(unit_at);
        let unit_ms: u128 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        let ms = u128::from(number) * unit_ms;
        if ms > MAX_MS {
            return Err(refused());
        }
        u64::try_from(ms)
            .map(|ms| Self(Duration::from_millis(ms)))
            .map_err(|_| refused())
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = TimeSpanError;
    fn try_from(text: String) -> Result<Self, TimeSpanError> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> String {
        span.to_string()
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "A whole number and a unit: ms, s, m, h or d. At most 24d.",
            "examples": ["30s", "500ms"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_that_divides_it_is_written() {
        for text in ["0ms", "1ms", "1500ms", "2s", "90s", "2m", "5h", "24d"] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().to_string(), text);
        }
        assert_eq!("120s".parse::<TimeSpan>().unwrap().to_string(), "2m");
    }

    #[test]
    fn what_haproxy_would_misread_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "25d",
            "99999999999999999999s",
            "1us",
            "5S",
        ] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }
}
