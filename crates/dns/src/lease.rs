//! The lease: which leader may write a name. Pure; who leads and how long nothing changed come in.

use std::time::Duration;

use hafleet_model::{FleetName, NodeId, Term};

use crate::fence::Ownership;

/// The leader that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its fleet.
    pub fleet: FleetName,
    /// Marks of the authorities that the fleet trusts; the first is written. None: fleets of one name are not told apart.
    pub authorities: Vec<String>,
    /// Its id.
    pub node: NodeId,
    /// The term in which it leads.
    pub term: Term,
    /// Whether a majority of the fleet's known nodes is alive as it sees it.
    pub has_majority: bool,
}

impl Claimant {
    /// Whether what `ownership` is of belongs to its fleet. What does not say under which authority was written by an agent
    /// that did not know of it.
    pub fn owns(&self, ownership: &Ownership) -> bool {
        let is_trusted = |mark: &String| self.authorities.contains(mark);
        let is_of_authority = ownership.authority.as_ref().is_none_or(is_trusted);
        ownership.fleet == self.fleet && (self.authorities.is_empty() || is_of_authority)
    }
}

/// Whether a leader may write a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// It wrote last.
    Held,
    /// Nobody has the name.
    Free,
    /// It may take it from the one that wrote last.
    Take,
    /// It may take it when nothing has been written for so much longer.
    Wait(Duration),
    /// The one that wrote last leads in the same term. Only a higher term decides between two of those.
    Tied {
        /// That leader.
        leader: NodeId,
    },
    /// A leader of a higher term has it. Whoever sees that leads no more, or has to claim above it.
    Superseded {
        /// That term.
        term: Term,
        /// That leader.
        leader: NodeId,
    },
    /// It belongs to another fleet, and is not touched.
    Foreign {
        /// That fleet.
        fleet: FleetName,
    },
}

impl Lease {
    /// Whether it may write now.
    pub fn may_write(&self) -> bool {
        matches!(self, Self::Held | Self::Free | Self::Take)
    }
}

/// Whether `claimant` may write a name whose ownership record is `seen`, and was so for `unchanged`, by its own monotonic
/// clock since it first saw it.
pub fn lease(
    claimant: &Claimant,
    seen: Option<&Ownership>,
    unchanged: Duration,
    lease_ttl: Duration,
) -> Lease {
    let Some(seen) = seen else {
        return Lease::Free;
    };
    if !claimant.owns(seen) {
        return Lease::Foreign {
            fleet: seen.fleet.clone(),
        };
    }
    if seen.leader == claimant.node && seen.term == claimant.term {
        return Lease::Held;
    }
    let is_expired = unchanged >= lease_ttl;
    let wait = Lease::Wait(lease_ttl.saturating_sub(unchanged));
    if seen.term > claimant.term {
        return Lease::Superseded {
            term: seen.term,
            leader: seen.leader.clone(),
        };
    }
    match (claimant.has_majority, seen.term < claimant.term) {
        (true, true) => Lease::Take,
        (true, false) => Lease::Tied {
            leader: seen.leader.clone(),
        },
        (false, true) if is_expired => Lease::Take,
        (false, true) => wait,
        (false, false) => Lease::Tied {
            leader: seen.leader.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn node(id: &str) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn claimant(term: u64, has_majority: bool) -> Claimant {
        Claimant {
            fleet: FleetName::new("shop").unwrap(),
            authorities: vec!["a1".to_owned(), "a2".to_owned()],
            node: node("a"),
            term: Term(term),
            has_majority,
        }
    }

    fn seen(fleet: &str, leader: &str, term: u64) -> Ownership {
        Ownership {
            fleet: FleetName::new(fleet).unwrap(),
            term: Term(term),
            leader: node(leader),
            sequence: 1,
            nonce: 1,
            authority: None,
        }
    }

    fn ask(claimant: &Claimant, seen: &Ownership, secs: u64) -> Lease {
        lease(claimant, Some(seen), Duration::from_secs(secs), TTL)
    }

    #[test]
    fn a_majority_takes_it_by_a_higher_term_at_once() {
        assert_eq!(
            ask(&claimant(3, true), &seen("shop", "b", 2), 0),
            Lease::Take
        );
    }

    #[test]
    fn without_a_majority_it_has_to_have_lapsed() {
        let minority = claimant(3, false);
        assert_eq!(
            ask(&minority, &seen("shop", "b", 2), 20),
            Lease::Wait(Duration::from_secs(40))
        );
        assert_eq!(ask(&minority, &seen("shop", "b", 2), 60), Lease::Take);
    }

    #[test]
    fn nobody_takes_it_from_a_higher_or_an_equal_term() {
        for has_majority in [true, false] {
            let claimant = claimant(3, has_majority);
            let later = ask(&claimant, &seen("shop", "b", 4), 9_999);
            assert!(matches!(later, Lease::Superseded { term: Term(4), .. }));
            assert!(matches!(
                ask(&claimant, &seen("shop", "b", 3), 9_999),
                Lease::Tied { .. }
            ));
        }
    }

    #[test]
    fn its_own_is_held_and_nobodys_is_free() {
        assert_eq!(
            ask(&claimant(3, false), &seen("shop", "a", 3), 0),
            Lease::Held
        );
        assert_eq!(
            lease(&claimant(3, false), None, Duration::ZERO, TTL),
            Lease::Free
        );
        assert_eq!(
            ask(&claimant(4, true), &seen("shop", "a", 3), 0),
            Lease::Take
        );
    }

    #[test]
    fn a_fleet_of_the_same_name_under_another_authority_is_another() {
        let mut found = seen("shop", "a", 3);
        for (authority, is_own) in [(None, true), (Some("a2"), true), (Some("b1"), false)] {
            found.authority = authority.map(str::to_owned);
            let lease = ask(&claimant(3, true), &found, 9_999);
            assert_eq!(lease == Lease::Held, is_own, "{authority:?}");
            assert_eq!(matches!(lease, Lease::Foreign { .. }), !is_own);
        }
    }

    #[test]
    fn another_fleets_is_never_touched() {
        let foreign = ask(&claimant(9, true), &seen("other", "a", 1), 9_999);
        assert!(matches!(foreign, Lease::Foreign { .. }) && !foreign.may_write());
    }
}
