//! Who is counted when a majority is asked for, and is not there: the words for a refusal.

use std::fmt;
use std::time::Duration;

/// A node that a majority is asked of and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Its node id; of a seed that was never met, its address as it is configured.
    pub name: String,
    /// What is known of it.
    pub reason: String,
    /// How long ago it was last seen; none of one that was never seen.
    pub unseen_for: Option<Duration>,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.reason)?;
        if let Some(unseen_for) = self.unseen_for {
            write!(f, ", last seen {} ago", rough(unseen_for))?;
        }
        f.write_str(")")
    }
}

/// How many are named; of more there is only the number.
const MAX_NAMED: usize = 10;

/// The names of `absent`, for a refusal.
pub(crate) fn list(absent: &[Absent]) -> String {
    let mut names: Vec<_> = absent
        .iter()
        .take(MAX_NAMED)
        .map(ToString::to_string)
        .collect();
    if let Some(more) = absent.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// A time span as people say it.
fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(number: u64) -> Absent {
        Absent {
            name: format!("lb{number}"),
            reason: "it has left".into(),
            unseen_for: Some(Duration::from_secs(60 * number)),
        }
    }

    #[test]
    fn the_absent_are_named_with_when_they_were_last_seen() {
        let seed = Absent {
            name: "lb9:7400".into(),
            reason: "a seed that was never met".into(),
            unseen_for: None,
        };
        assert_eq!(
            list(&[absent(1), absent(3), absent(180), seed]),
            "lb1 (it has left, last seen 60 s ago), lb3 (it has left, last seen 3 min ago), \
             lb180 (it has left, last seen 3 h ago), lb9:7400 (a seed that was never met)"
        );
        assert_eq!(list(&[]), "none");
    }

    #[test]
    fn a_long_list_ends_with_a_number() {
        let many: Vec<_> = (0..12).map(absent).collect();
        assert!(list(&many).ends_with(", 2 more"), "{}", list(&many));
    }
}
