//! Making a failure small: what can be left out of a plan without its failing otherwise is left out.

use crate::plan::{Action, Plan};
use crate::witness::Violation;
use crate::world::run;

/// How many times a plan is tried, at most.
const TRIES: u32 = 600;

/// The smallest plan that was found to break the same invariant as `plan` does, which breaks `violation`.
pub fn shrink(plan: &Plan, violation: &Violation) -> Plan {
    let mut shrinker = Shrinker {
        best: plan.clone(),
        invariant: violation.invariant,
        tries: 0,
    };
    shrinker.without_actions();
    shrinker.fewer_nodes();
    shrinker.without_actions();
    shrinker.best
}

struct Shrinker {
    best: Plan,
    invariant: &'static str,
    tries: u32,
}

impl Shrinker {
    /// Takes `plan` if it fails in the same way.
    fn takes(&mut self, plan: Plan) -> bool {
        self.tries += 1;
        let report = run(&plan, false);
        let fails = report
            .violation
            .is_some_and(|found| found.invariant == self.invariant);
        if fails {
            self.best = plan;
        }
        fails
    }

    /// Leaves out actions in ever smaller parts (Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input,
    /// 2002).
    fn without_actions(&mut self) {
        let mut size = self.best.actions.len().div_ceil(2);
        while size > 0 && self.tries < TRIES {
            let mut start = 0;
            let mut has_shrunk = false;
            while start < self.best.actions.len() && self.tries < TRIES {
                let mut plan = self.best.clone();
                let end = (start + size).min(plan.actions.len());
                plan.actions.drain(start..end);
                if self.takes(plan) {
                    has_shrunk = true;
                } else {
                    start += size;
                }
            }
            if size == 1 && !has_shrunk {
                return;
            }
            size = if size == 1 { 1 } else { size / 2 };
        }
    }

    fn fewer_nodes(&mut self) {
        while self.best.nodes > 2 && self.tries < TRIES {
            let mut plan = self.best.clone();
            plan.nodes -= 1;
            plan.actions
                .retain(|(_, action)| of_node(action) < plan.nodes);
            if !self.takes(plan) {
                return;
            }
        }
    }
}

/// The highest node that an action is about.
fn of_node(action: &Action) -> usize {
    match action {
        Action::Write { node, .. }
        | Action::PowerLoss { node, .. }
        | Action::Start { node }
        | Action::Leave { node }
        | Action::Stall { node, .. }
        | Action::SetClock { node, .. }
        | Action::FillDisk { node, .. }
        | Action::CutRoute53 { node, .. } => *node,
        Action::Cut { .. } | Action::Mend | Action::Weather(_) => 0,
    }
}
