//! Whether a backend is up.

use super::{counted, of_standing, of_verdicts, on_backend};
use crate::answer::{Answer, Datum, Standing, Verdict};
use crate::part::Asked;
use crate::server::ServerState;
use crate::tally::{Tally, count};

pub(super) fn answer(asked: &Asked, backend: &str) -> Answer {
    let judged = on_backend(asked, backend, |part, tally| {
        let (standing, words) = judge(tally);
        Verdict {
            lb: part.facts.id.clone(),
            standing,
            words,
        }
    });
    let verdicts = match judged {
        Ok(verdicts) => verdicts,
        Err(answer) => return *answer,
    };
    let noes = of_standing(&verdicts, Standing::Critical);
    let unsure = of_standing(&verdicts, Standing::Unknown);
    let partly = of_standing(&verdicts, Standing::Warning);
    let all = verdicts.len();
    let summary = match (noes, unsure, partly) {
        (0, 0, 0) => format!(
            "{backend} is up on {}",
            counted(all as u64, "load balancer")
        ),
        (0, 0, partly) => {
            format!("{backend} is up, and not wholly on {partly} of {all} load balancers")
        }
        (0, unsure, _) => {
            format!("{unsure} of {all} load balancers cannot say whether {backend} is up")
        }
        (noes, ..) => format!("{backend} is not up on {noes} of {all} load balancers"),
    };
    let tallies = || asked.parts.iter().flat_map(|part| &part.tallies);
    let least_up = tallies().map(Tally::up).min().unwrap_or_default();
    let most = tallies().map(Tally::total).max().unwrap_or_default();
    let up = Datum {
        max: Some(i64::from(most)),
        ..Datum::count("least_up", least_up)
    };
    of_verdicts(verdicts, summary, vec![up])
}

/// A backend is up when an active server is. It is a warning when others are not, unless somebody wanted that, and when
/// only backups serve.
pub(super) fn judge(tally: &Tally) -> (Standing, String) {
    use ServerState::{GoingDown, GoingUp, Unchecked, Up};
    let (up, all) = (tally.up(), tally.total());
    let serving = up + count(&tally.active, GoingDown);
    let unchecked = count(&tally.active, Unchecked);
    let backups = count(&tally.backup, Up) + count(&tally.backup, GoingDown);
    let exceptions = tally.exceptions();
    let exceptions = if exceptions.is_empty() {
        exceptions
    } else {
        format!("; {exceptions}")
    };
    if serving > 0 {
        let deliberate: u32 = tally
            .active
            .iter()
            .filter(|(state, _)| state.is_deliberate() || **state == Unchecked)
            .map(|(_, count)| count)
            .sum();
        let is_whole = up + deliberate + count(&tally.active, GoingUp) == all;
        let standing = if is_whole {
            Standing::Ok
        } else {
            Standing::Warning
        };
        return (standing, format!("{up} of {all} up{exceptions}"));
    }
    if unchecked > 0 {
        let servers = counted(unchecked, "server");
        return (
            Standing::Unknown,
            format!("nobody checks {servers} of {all}, and no other is up{exceptions}"),
        );
    }
    if backups > 0 {
        let backups = counted(backups, "backup");
        return (
            Standing::Warning,
            format!("none of {all} up, and {backups} serving{exceptions}"),
        );
    }
    if count(&tally.backup, Unchecked) > 0 {
        return (
            Standing::Unknown,
            format!("none of {all} up, and nobody checks its backups{exceptions}"),
        );
    }
    (Standing::Critical, format!("none of {all} up{exceptions}"))
}
