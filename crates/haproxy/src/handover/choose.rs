//! Which strategy: what was asked for, or else the best of what can be had at this reload. Pure; the obstacles are found
//! by others.

use super::{Choice, HandoverChoice, HandoverError, Strategy};

/// What stands in the way of each strategy at this reload; nothing where it can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Why the old process cannot pass its sockets.
    pub(crate) passing: Option<String>,
    /// Why the two processes cannot listen on the same ports at once.
    pub(crate) sharing: Option<String>,
    /// Why the kernel cannot move connections.
    pub(crate) migrating: Option<String>,
    /// Why first packets cannot be held.
    pub(crate) holding: Option<String>,
    /// Why first packets cannot be dropped.
    pub(crate) dropping: Option<String>,
}

impl Situation {
    fn obstacle(&self, strategy: Strategy) -> Option<String> {
        match strategy {
            Strategy::PassFds => self.passing.clone(),
            Strategy::Migrate => self.sharing.clone().or_else(|| self.migrating.clone()),
            Strategy::HoldSyn => self.holding.clone(),
            Strategy::DropSyn => self.dropping.clone(),
            Strategy::None => None,
        }
    }

    /// Takes a strategy out that was tried and could not be had.
    pub(crate) fn rule_out(&mut self, strategy: Strategy, reason: String) {
        let obstacle = match strategy {
            Strategy::PassFds => &mut self.passing,
            Strategy::Migrate => &mut self.migrating,
            Strategy::HoldSyn => &mut self.holding,
            Strategy::DropSyn | Strategy::None => &mut self.dropping,
        };
        *obstacle = Some(reason);
    }
}

/// Best first.
const BY_MERIT: [Strategy; 5] = [
    Strategy::PassFds,
    Strategy::Migrate,
    Strategy::HoldSyn,
    Strategy::DropSyn,
    Strategy::None,
];

/// Chooses by what is asked for, and what can be had.
///
/// # Errors
/// When one is asked for that cannot be had.
pub(crate) fn choose(
    asked: HandoverChoice,
    situation: &Situation,
) -> Result<Choice, HandoverError> {
    let with = |strategy, reason| Choice {
        strategy,
        reason,
        stops_first: strategy != Strategy::PassFds && situation.sharing.is_some(),
        migrates: strategy == Strategy::Migrate
            || (asked == HandoverChoice::Auto
                && strategy == Strategy::PassFds
                && situation.migrating.is_none()),
    };
    if let Some(asked) = asked.strategy() {
        return match situation.obstacle(asked) {
            Some(reason) => Err(HandoverError::Unavailable { asked, reason }),
            None => Ok(with(asked, "the settings ask for it".to_owned())),
        };
    }
    let mut reasons = Vec::new();
    for strategy in BY_MERIT {
        match situation.obstacle(strategy) {
            Some(why) => reasons.push(format!("not {strategy} ({why})")),
            None => {
                let reason = merit(strategy, situation);
                reasons.insert(0, reason);
                return Ok(with(strategy, reasons.join("; ")));
            }
        }
    }
    Ok(with(Strategy::None, reasons.join("; ")))
}

fn merit(strategy: Strategy, situation: &Situation) -> String {
    match (strategy, &situation.migrating) {
        (Strategy::PassFds, None) => {
            "the running HAProxy passes its listening sockets on, and the kernel moves what waits in those that the new one does not take"
                .to_owned()
        }
        (Strategy::PassFds, Some(why)) => format!(
            "the running HAProxy passes its listening sockets on; what waits in those that the new one does not take is lost ({why})"
        ),
        (Strategy::Migrate, _) => {
            "the kernel moves what waits in closing sockets to the new process".to_owned()
        }
        (Strategy::HoldSyn, _) => "new connections wait in the kernel meanwhile".to_owned(),
        (Strategy::DropSyn, _) => "new connections are put off by 1 s meanwhile".to_owned(),
        (Strategy::None, _) => "what waits in the old process's sockets is lost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(situation: &Situation) -> Choice {
        choose(HandoverChoice::Auto, situation).unwrap()
    }

    #[test]
    fn auto_takes_the_best_that_can_be_had_and_says_why() {
        let mut situation = Situation::default();
        let first = best(&situation);
        assert_eq!(first.strategy, Strategy::PassFds);
        assert!(first.migrates);
        for (ruled_out, next) in BY_MERIT.iter().zip(&BY_MERIT[1..]) {
            situation.rule_out(*ruled_out, format!("no {ruled_out} today"));
            let choice = best(&situation);
            assert_eq!(choice.strategy, *next);
            assert!(
                choice
                    .reason
                    .contains(&format!("not {ruled_out} (no {ruled_out} today)"))
            );
        }
    }

    #[test]
    fn what_is_asked_for_is_had_or_refused() {
        let situation = Situation {
            dropping: Some("iptables is missing".into()),
            ..Situation::default()
        };
        let none = choose(HandoverChoice::None, &situation).unwrap();
        assert_eq!((none.strategy, none.migrates), (Strategy::None, false));
        let passing = choose(HandoverChoice::PassFds, &situation).unwrap();
        assert!(!passing.migrates, "nothing but what was asked for");
        let refused = choose(HandoverChoice::DropSyn, &situation).unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains("drop-syn") && words.contains("iptables"),
            "{words}"
        );
    }

    #[test]
    fn where_ports_cannot_be_shared_the_old_process_stops_first_or_passes_its_sockets() {
        let mut situation = Situation {
            sharing: Some("noreuseport".into()),
            ..Situation::default()
        };
        assert!(!best(&situation).stops_first);
        situation.rule_out(Strategy::PassFds, "gone".into());
        let choice = best(&situation);
        assert_eq!(
            (choice.strategy, choice.stops_first),
            (Strategy::HoldSyn, true)
        );
    }
}
