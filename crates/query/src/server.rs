//! The states of a server as HAProxy tells them (Management Guide, section 9.1, `status`), and what each means for
//! traffic.

use std::fmt;

/// A server's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerState {
    /// `UP`: its checks pass, and it takes traffic.
    Up,
    /// `UP 1/3`: it takes traffic, and its last checks failed.
    GoingDown,
    /// `DOWN` or `DOWN (agent)`.
    Down,
    /// `DOWN 1/2`: it takes no traffic yet, and its last checks passed.
    GoingUp,
    /// `DRAIN`, in any of its forms, or a weight of 0: it finishes what it has and takes nothing that is balanced.
    Draining,
    /// `NOLB`: it asked by its check to be left out of balancing (`http-check disable-on-404`).
    Stopping,
    /// `MAINT`, in any of its forms: it takes nothing and is not checked.
    Maintenance,
    /// `no check`: it takes traffic, and nobody knows whether it is up.
    Unchecked,
    /// A word that HAProxy 2.4 to 3.2 do not use.
    Unknown,
}

impl ServerState {
    /// All states, from the best to the worst that is known.
    pub const ALL: [Self; 9] = [
        Self::Up,
        Self::GoingDown,
        Self::Unchecked,
        Self::GoingUp,
        Self::Draining,
        Self::Stopping,
        Self::Maintenance,
        Self::Down,
        Self::Unknown,
    ];

    /// Reads the columns `status` and `weight`. A server without weight takes no traffic whatever its checks say
    /// (Management Guide, section 9.3, `set server weight`); an absent weight is not 0.
    pub fn read(status: &str, weight: Option<&str>) -> Self {
        let is_weightless = weight == Some("0");
        let (word, rest) = status.split_once(' ').unwrap_or((status, ""));
        let state = match (word, rest) {
            ("UP", "") => Self::Up,
            ("UP", _) => Self::GoingDown,
            ("DOWN", rest) if rest.is_empty() || rest.starts_with('(') => Self::Down,
            ("DOWN", _) => Self::GoingUp,
            ("DRAIN", _) => Self::Draining,
            ("NOLB", _) => Self::Stopping,
            ("MAINT", _) => Self::Maintenance,
            ("no", "check") => Self::Unchecked,
            _ => Self::Unknown,
        };
        match state {
            Self::Up | Self::GoingDown | Self::Unchecked if is_weightless => Self::Draining,
            state => state,
        }
    }

    /// The word for it in expressions and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::GoingDown => "going down",
            Self::Down => "down",
            Self::GoingUp => "going up",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Maintenance => "in maintenance",
            Self::Unchecked => "not checked",
            Self::Unknown => "in an unknown state",
        }
    }

    /// The word for it on the wire and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::GoingDown => "going_down",
            Self::Down => "down",
            Self::GoingUp => "going_up",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Maintenance => "maintenance",
            Self::Unchecked => "unchecked",
            Self::Unknown => "unknown",
        }
    }

    /// Whether somebody asked for it, rather than a check found it.
    pub fn is_deliberate(self) -> bool {
        matches!(self, Self::Draining | Self::Stopping | Self::Maintenance)
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_manual_are_told_apart() {
        use ServerState::{
            Down, Draining, GoingDown, GoingUp, Maintenance, Stopping, Unchecked, Unknown, Up,
        };
        for (status, weight, expected) in [
            ("UP", Some("1"), Up),
            ("UP", None, Up),
            ("UP", Some("0"), Draining),
            ("UP 1/3", Some("100"), GoingDown),
            ("UP 2/3", Some("0"), Draining),
            ("DOWN", Some("1"), Down),
            ("DOWN", Some("0"), Down),
            ("DOWN (agent)", Some("1"), Down),
            ("DOWN 1/2", Some("1"), GoingUp),
            ("DRAIN", Some("0"), Draining),
            ("DRAIN 1/3", Some("0"), Draining),
            ("DRAIN (agent)", Some("1"), Draining),
            ("NOLB", Some("1"), Stopping),
            ("NOLB 1/2", Some("1"), Stopping),
            ("MAINT", Some("1"), Maintenance),
            ("MAINT (via app/s1)", Some("1"), Maintenance),
            ("MAINT (resolution)", Some("1"), Maintenance),
            ("no check", Some("1"), Unchecked),
            ("no check", Some("0"), Draining),
            ("", Some("1"), Unknown),
            ("UPPER", Some("1"), Unknown),
            ("no", Some("1"), Unknown),
        ] {
            assert_eq!(
                ServerState::read(status, weight),
                expected,
                "{status} at {weight:?}"
            );
        }
    }
}
