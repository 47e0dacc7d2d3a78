//! The writes of a run that leads.

use std::sync::Arc;

use hafleet_cluster::leadership::Role;
use hafleet_cluster::machines::write::{Push, Pushed, Step, Write};
use hafleet_cluster::machines::{RepairError, write};
use hafleet_cluster::{Expect, View, WriteRequest};
use hafleet_model::{Document, DocumentKind, NodeId, Stamp, Term};

use super::{Effect, KINDS, Purpose, Run, nonsense};
use crate::packet::{Answer, Reply, Request};
use crate::plan::Millis;

/// How long a push may take.
const PUSH_DEADLINE: Millis = 3_000;

/// A write under way.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) id: u64,
    pub(super) write: Write,
    pub(super) waits_for: usize,
    pub(super) answers: Vec<(NodeId, write::Answer)>,
    pub(super) stored: Vec<NodeId>,
    pub(super) pushed: Option<(Arc<Document>, Arc<View>)>,
}

impl Run {
    /// A client's write, by way of this node.
    pub(crate) fn begin_write(&mut self, id: u64, kind: DocumentKind, body: String, force: bool) {
        let Some(index) = KINDS.iter().position(|one| *one == kind) else {
            return;
        };
        if self.writes[index].is_some() {
            self.note(|| format!("write {id} has to wait for another, and is given up"));
            return;
        }
        let request = WriteRequest {
            kind,
            body: body.into(),
            expect: Expect::Any,
            author: "a client".to_owned(),
            comment: String::new(),
            force,
        };
        let now_ms = self.setting.clock.now_ms();
        let (keeping, term) = (self.setting.keeping, self.view.leadership.term);
        let view = keeping.fleet(&self.view);
        let ready = keeping.ready(self.ready[index], term);
        let begun = Write::begin(&self.id, request, &view, ready, now_ms);
        match begun {
            Err(error) => self.effects.push(Effect::Written {
                id,
                result: Err(error),
            }),
            Ok((write, step)) => {
                self.writes[index] = Some(Writing {
                    id,
                    write,
                    waits_for: 0,
                    answers: Vec::new(),
                    stored: Vec::new(),
                    pushed: None,
                });
                self.go_on(index, step);
            }
        }
    }

    pub(super) fn go_on(&mut self, index: usize, step: Step) {
        let Some(mut writing) = self.writes[index].take() else {
            return;
        };
        let kind = writing.write.kind();
        match step {
            Step::AskHeads { peers } => {
                let term = writing.write.term();
                let ways = peers
                    .into_iter()
                    .filter_map(|id| Some((self.way(&id)?, id)));
                let ways: Vec<_> = ways.collect();
                writing.waits_for = ways.len();
                self.writes[index] = Some(writing);
                if ways.is_empty() {
                    self.heads_are_in(index);
                }
                for (to, id) in ways {
                    let request = Request::Heads { term };
                    self.ask(to, request, PUSH_DEADLINE, Purpose::Heads(index, id));
                }
            }
            Step::Fetch { from } => {
                let way = self.way(&from);
                let missed = writing.write.fetched(Err(RepairError::NoHolder));
                self.writes[index] = Some(writing);
                match way {
                    Some(to) => {
                        let request = Request::Fetch { kind, stamp: None };
                        let purpose = Purpose::FetchForWrite(index);
                        self.ask(to, request, PUSH_DEADLINE, purpose);
                    }
                    None => self.go_on(index, missed),
                }
            }
            Step::Refuse { error, learned } => {
                self.learn(learned);
                let id = writing.id;
                let result = Err(error);
                self.effects.push(Effect::Written { id, result });
            }
            Step::Append => self.append(index, writing),
        }
    }

    pub(super) fn learn(&mut self, term: Option<Term>) {
        if let Some(term) = term {
            // A disk that refuses is noticed by whoever needs it.
            let _ = self.documents.raise_term(term);
        }
    }

    pub(super) fn heads_are_in(&mut self, index: usize) {
        if let Some(writing) = &self.writes[index] {
            let own = self.documents.newest(writing.write.kind());
            let step = writing
                .write
                .heard(own.map(|own| own.stamp()), &writing.answers);
            self.go_on(index, step);
        }
    }

    fn append(&mut self, index: usize, mut writing: Writing) {
        self.ready[index] = Some(writing.write.term());
        let view = self.setting.keeping.fleet(&self.view);
        let still_leads = |term| view.leadership.role == Role::Leader(term);
        let document = match writing.write.append(&self.documents, still_leads) {
            Ok(document) => document,
            Err(error) => {
                let (id, result) = (writing.id, Err(error));
                self.effects.push(Effect::Written { id, result });
                return;
            }
        };
        let stamp = document.stamp();
        self.note(|| format!("stores {} {stamp}", document.kind()));
        self.effects.push(Effect::Changed);
        self.effects.push(Effect::Look);
        let ancestry: Arc<[Stamp]> = self.documents.ancestry(document.kind(), stamp).into();
        let term = writing.write.term();
        let peers = write::live_peers(&view);
        let ways = peers
            .into_iter()
            .filter_map(|id| Some((self.way(&id)?, id)));
        let ways: Vec<_> = ways.collect();
        writing.waits_for = ways.len();
        writing.pushed = Some((Arc::clone(&document), view));
        self.writes[index] = Some(writing);
        for (to, id) in ways {
            let push = Push::new(Arc::clone(&ancestry));
            self.push(index, to, id, term, &document, push);
        }
        self.finish_if_done(index);
    }

    fn push(
        &mut self,
        index: usize,
        to: usize,
        id: NodeId,
        term: Term,
        document: &Arc<Document>,
        push: Push,
    ) {
        let request = Request::Store {
            term,
            document: Arc::clone(document),
            ancestry: push.ancestry().to_vec(),
        };
        let purpose = Purpose::Push(index, id, push);
        self.ask(to, request, PUSH_DEADLINE, purpose);
    }

    pub(super) fn push_answered(&mut self, index: usize, id: NodeId, mut push: Push, reply: Reply) {
        let answer = reply.and_then(|answer| match answer {
            Answer::Pushed(outcome) => Ok(outcome),
            _ => Err(nonsense()),
        });
        let pushed = push.answered(&answer);
        let way = self.way(&id);
        let Some(writing) = &mut self.writes[index] else {
            return;
        };
        let mut learned = None;
        match (pushed, way, &writing.pushed) {
            (Pushed::Stored, _, _) => writing.stored.push(id),
            (Pushed::Again, Some(to), Some((document, _))) => {
                let (term, document) = (writing.write.term(), Arc::clone(document));
                self.push(index, to, id, term, &document, push);
                return;
            }
            (Pushed::NotStored { learned: later }, _, _) => learned = later,
            (Pushed::Again, _, _) => {}
        }
        writing.waits_for -= 1;
        self.learn(learned);
        self.finish_if_done(index);
    }

    fn finish_if_done(&mut self, index: usize) {
        let is_done = |writing: &Writing| writing.waits_for == 0 && writing.pushed.is_some();
        if !self.writes[index].as_ref().is_some_and(is_done) {
            return;
        }
        if let Some(writing) = self.writes[index].take()
            && let Some((document, view)) = writing.pushed
        {
            let written = writing.write.pushed(&document, &view, writing.stored);
            self.effects.push(Effect::Written {
                id: writing.id,
                result: Ok(written),
            });
        }
    }
}
