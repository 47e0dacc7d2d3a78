//! How far accepted changes are: asked until all name servers have them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::memory::NameMemory;
use crate::provider::{ChangeId, ChangeStatus, Provider};

/// The first time to ask; Route53 usually needs up to a minute (Amazon Route 53 API Reference, `ChangeResourceRecordSets`).
const FIRST: Duration = Duration::from_secs(2);

/// The longest time between two questions.
const LONGEST: Duration = Duration::from_secs(16);

/// After so many questions nobody asks any more.
const MOST: u32 = 40;

/// The changes of one zone that are under way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    id: ChangeId,
    asked: u32,
    next: Instant,
}

impl Progress {
    /// A change was accepted.
    pub(super) fn began(&mut self, id: ChangeId) {
        self.pending.push(Pending {
            id,
            asked: 0,
            next: Instant::now() + FIRST,
        });
    }

    /// Asks for those that are due. What cannot be asked is asked again later.
    pub(super) async fn ask(
        &mut self,
        provider: &dyn Provider,
        names: &mut BTreeMap<String, NameMemory>,
    ) {
        // A later change of the same names tells as much.
        self.pending
            .retain(|pending| names.values().any(|memory| memory.awaits(&pending.id)));
        let now = Instant::now();
        for pending in self
            .pending
            .iter_mut()
            .filter(|pending| pending.next <= now)
        {
            let answer = provider.status(&pending.id).await;
            pending.asked += 1;
            pending.next = Instant::now() + (FIRST * 2u32.pow(pending.asked.min(8))).min(LONGEST);
            if let Ok(status) = answer {
                for memory in names.values_mut() {
                    memory.learned(&pending.id, status);
                }
                if status == ChangeStatus::InSync {
                    pending.asked = MOST;
                }
            }
        }
        self.pending.retain(|pending| pending.asked < MOST);
    }

    /// When to ask next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.next).min()
    }
}
