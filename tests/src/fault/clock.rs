//! A machine's wall clock that somebody sets. It needs a fleet with breakable machines.

use std::fmt;

use super::Fault;
use crate::clock;
use crate::trial::Trial;

/// One node's clock goes wrong, and is right again when it ends. Further ahead than certificates hold, it takes all of
/// them for expired; further back, for not valid yet.
#[derive(Debug)]
pub struct WrongClock {
    node: usize,
    seconds: i64,
    is_restarted: bool,
}

impl WrongClock {
    /// That of the node `node`, by so many seconds.
    pub fn of(node: usize, seconds: i64) -> Self {
        Self {
            node,
            seconds,
            is_restarted: false,
        }
    }

    /// Its agent is started again while the clock is wrong; it refuses where its certificate is not valid then, and is
    /// started by its supervisor afterwards.
    pub fn with_restart(mut self) -> Self {
        self.is_restarted = true;
        self
    }
}

impl fmt::Display for WrongClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, seconds, .. } = self;
        write!(f, "the clock of node {node} is set by {seconds:+} s")?;
        if self.is_restarted {
            write!(f, " and its agent started again")?;
        }
        Ok(())
    }
}

impl Fault for WrongClock {
    fn begin(&mut self, trial: &Trial) {
        clock::set(trial.fleet().node(self.node).settings(), self.seconds);
        if self.is_restarted {
            trial.fleet().restart(self.node);
        }
    }

    fn end(&mut self, trial: &Trial) {
        let node = trial.fleet().node(self.node);
        clock::set(node.settings(), 0);
        if !node.has_agent() {
            let said = node.log_tail(5);
            assert!(
                ["is not valid before", "expired"]
                    .iter()
                    .any(|words| said.contains(words)),
                "an agent whose certificate is of another time says so:\n{said}"
            );
            node.start_agent();
        }
    }
}
