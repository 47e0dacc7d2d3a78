//! What a run fetches: revisions that it lacks, and conflicts that others keep.

use std::sync::Arc;

use hafleet_cluster::machines::repair::Fetch;
use hafleet_cluster::machines::{GatherError, RepairError, gather, repair};

use super::{Effect, FETCH_DEADLINE, KINDS, Purpose, Run, nonsense};
use crate::packet::{Answer, Reply, Request};

impl Run {
    /// Asks for what is due: repairs and conflicts.
    pub(super) fn pump(&mut self) {
        for index in 0..KINDS.len() {
            if self.fetches[index].is_none() {
                let now = self.setting.clock.now();
                let view = Arc::clone(&self.view);
                let next = self.courses[index].next(&view, &self.documents, now);
                if let repair::Next::Fetch(fetch) = next
                    && !self.leaves_out(&fetch)
                {
                    self.fetches[index] = Some(fetch);
                    self.fetch_on(index);
                }
            }
        }
        self.gather_on();
    }

    /// Whether a fetch is one that a flaw leaves out.
    fn leaves_out(&self, fetch: &Fetch) -> bool {
        let keeping = self.setting.keeping;
        let missing = || self.documents.missing(fetch.kind()).unwrap_or_default();
        keeping.0.is_some() && keeping.leaves_out(missing().contains(&fetch.stamp()))
    }

    pub(super) fn fetch_on(&mut self, index: usize) {
        let Some(mut fetch) = self.fetches[index].take() else {
            return;
        };
        match fetch.next_holder(|holder| self.way(holder)) {
            Some(to) => {
                let request = Request::Fetch {
                    kind: fetch.kind(),
                    stamp: Some(fetch.stamp()),
                };
                self.fetches[index] = Some(fetch);
                self.ask(to, request, FETCH_DEADLINE, Purpose::Repair(index));
            }
            None => self.end_fetch(index, fetch, false),
        }
    }

    pub(super) fn end_fetch(&mut self, index: usize, fetch: Fetch, is_fetched: bool) {
        let now = self.setting.clock.now();
        self.courses[index].ended(fetch, is_fetched, now);
        if is_fetched {
            self.effects.push(Effect::Look);
        }
    }

    pub(super) fn take_in(&mut self, reply: Reply) -> Result<(), RepairError> {
        match reply? {
            Answer::Document(document, ancestry) => {
                let (kind, stamp) = (document.kind(), document.stamp());
                let ancestry = self.setting.keeping.ancestry(&ancestry);
                repair::take_in(&self.documents, document, ancestry)?;
                self.note(|| format!("has fetched {kind} {stamp}"));
                self.effects.push(Effect::Changed);
                self.effects.push(Effect::Look);
                Ok(())
            }
            _ => Err(nonsense().into()),
        }
    }

    fn gather_on(&mut self) {
        let now = self.setting.clock.now();
        while self.visit.is_none() {
            let view = Arc::clone(&self.view);
            let gather::Next::Visit(visit) = self.gathering.next(&view, &self.documents, now)
            else {
                return;
            };
            match self.way(visit.from()) {
                Some(to) => {
                    let request = Request::Conflicts { kind: visit.kind() };
                    self.visit = Some(visit);
                    self.ask(to, request, FETCH_DEADLINE, Purpose::List);
                }
                None => self
                    .gathering
                    .ended(visit, Err(GatherError::NotConnected), now),
            }
        }
    }

    pub(super) fn visit_answered(&mut self, reply: Reply) {
        let Some(mut visit) = self.visit.take() else {
            return;
        };
        let result = match reply {
            Ok(Answer::Conflicts(stamps)) => {
                visit.listed(stamps);
                Ok(())
            }
            Ok(Answer::Document(document, _)) => {
                self.effects.push(Effect::Changed);
                self.effects.push(Effect::Look);
                visit.fetched(&self.documents, Ok(document))
            }
            Ok(_) => Err(nonsense().into()),
            Err(error) => visit.fetched(&self.documents, Err(error)),
        };
        let next = result.map(|()| visit.next_stamp(&self.documents));
        let now = self.setting.clock.now();
        match (next, self.way(visit.from())) {
            (Ok(Some(stamp)), Some(to)) => {
                let request = Request::Fetch {
                    kind: visit.kind(),
                    stamp: Some(stamp),
                };
                self.visit = Some(visit);
                self.ask(to, request, FETCH_DEADLINE, Purpose::Gather);
            }
            (Ok(Some(_)), None) => {
                let lost = Err(GatherError::NotConnected);
                self.gathering.ended(visit, lost, now);
            }
            (Ok(None), _) => self.gathering.ended(visit, Ok(()), now),
            (Err(error), _) => self.gathering.ended(visit, Err(error), now),
        }
    }
}
