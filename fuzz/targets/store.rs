//! What is on the disk where the store was: whatever it is, it is opened as it was written or as it was before, or refused
//! with the file's name; never is a body served that is not the one that was written.
//!
//! An input that begins with `d` is damage to a whole store: behind it stand where (three bytes) and what (one) is changed,
//! again and again, or cut off (`x` in place of `d`). Any other is a table's name on the first line and a record that is put
//! there, for all that a checksum says as an agent has written it.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hafleet_cluster::machines::{Change, Clock, Documents, KnownMember, Storage, blank_report};
use hafleet_cluster::{ConflictReason, Store, StoreError};
use hafleet_model::{Digest, Document, DocumentKind, Header, NodeId, Revision, Stamp, Term};
use libfuzzer_sys::{Corpus, fuzz_target};
use redb::{Database, TableDefinition};
use tempfile::TempDir;
use tokio::sync::Notify;

/// A store that was written to a few times, and what is in it.
struct Sample {
    place: TempDir,
    bytes: Vec<u8>,
    bodies: BTreeMap<Stamp, String>,
}

fuzz_target!(init: hear_panics(), |input: &[u8]| -> Corpus {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    let sample = SAMPLE.get_or_init(Sample::new);
    let path = sample.place.path().join("state.redb");
    match input.split_first() {
        Some((b'd' | b'x', damage)) => {
            let is_cut = input.starts_with(b"x");
            std::fs::write(&path, sample.damaged(damage, is_cut)).expect("a file");
            if let Ok(store) = Store::open(&path) {
                sample.look(&store);
            }
        }
        Some(_) => {
            let Ok(text) = std::str::from_utf8(input) else {
                return Corpus::Reject;
            };
            let Some((table, record)) = text.split_once('\n') else {
                return Corpus::Reject;
            };
            std::fs::write(&path, &sample.bytes).expect("a file");
            if put(&path, table, record).is_none() {
                return Corpus::Reject;
            }
            match Store::open(&path) {
                Ok(store) => look_at_all(&store),
                Err(error) => named(&error),
            }
        }
        None => return Corpus::Reject,
    }
    Corpus::Keep
});

/// The library that keeps the store panics at some lengths that make no sense, and the store takes that for damage. So it
/// is not the panic that is an error here, but one that nobody has caught: then this says where it was.
fn hear_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or("", std::panic::Location::file);
        if !place.contains("/redb-") || backtrace_has_no_opening() {
            usual(panic);
        }
    }));
}

/// Whether nobody above is there to catch the panic: redb is called from outside of `Store::open`.
fn backtrace_has_no_opening() -> bool {
    let backtrace = std::backtrace::Backtrace::force_capture().to_string();
    !backtrace.contains("open_database")
}

impl Sample {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("sample.redb");
        let mut bodies = BTreeMap::new();
        {
            let store = Store::open(&path).expect("a store");
            let storage: &dyn Storage = &*store;
            let node = NodeId::new("lb1").expect("a name");
            storage.begin_generation(&node, 7).expect("it is written");
            storage.establish().expect("it is written");
            let member = KnownMember {
                report: blank_report(node.clone(), 1, ([192, 0, 2, 1], 7440).into()),
                last_seen_ms: 7,
            };
            storage
                .remember_members(&[member], &[])
                .expect("it is written");
            for sequence in 1..=5 {
                let length = usize::try_from(sequence).expect("it is small");
                let document = document(sequence, &"# a line\n".repeat(length * 200));
                bodies.insert(document.stamp(), document.body().to_owned());
                let change = Change {
                    put: Some(document),
                    ..Change::default()
                };
                storage
                    .change(DocumentKind::Spec, &change)
                    .expect("it is written");
            }
            let lost = document(4, "version: 1 # lost\n");
            bodies.insert(lost.stamp(), lost.body().to_owned());
            let change = Change {
                conflict: Some((lost, ConflictReason::Fork)),
                ..Change::default()
            };
            storage
                .change(DocumentKind::Spec, &change)
                .expect("it is written");
            storage.promise(Term(4), &node).expect("it is written");
        }
        let bytes = std::fs::read(&path).expect("the store");
        Self {
            place,
            bytes,
            bodies,
        }
    }

    fn damaged(&self, damage: &[u8], is_cut: bool) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let place = |damage: &[u8]| match damage {
            [high, middle, low, ..] => u32::from_be_bytes([0, *high, *middle, *low]) as usize,
            _ => 0,
        };
        if is_cut {
            bytes.truncate(place(damage) % (self.bytes.len() + 1));
            return bytes;
        }
        for each in damage.chunks_exact(4) {
            let length = bytes.len();
            if let (Some(byte), Some(what)) = (bytes.get_mut(place(each) % length), each.get(3)) {
                *byte ^= what;
            }
        }
        bytes
    }

    /// Reads everything: it is as it was written, or there is an error.
    fn look(&self, store: &Arc<Store>) {
        let storage: &dyn Storage = &**store;
        if let Ok(term) = storage.highest_term() {
            assert!(term <= Term(4), "a term that nobody has seen: {term}");
        }
        for kind in DocumentKind::ALL {
            let Ok(line) = storage.line(kind) else {
                continue;
            };
            for record in line {
                let Ok(Some(body)) = storage.body(kind, record.stamp) else {
                    continue;
                };
                assert_eq!(Some(&body), self.bodies.get(&record.stamp), "another body");
            }
        }
        look_at_all(store);
    }
}

fn document(sequence: u64, body: &str) -> Document {
    let stamp = |sequence, body: &str| Stamp {
        revision: Revision::new(Term(3), sequence),
        digest: Digest::of(body.as_bytes()),
    };
    let header = Header {
        kind: DocumentKind::Spec,
        stamp: stamp(sequence, body),
        parent: None,
        author: "ada (admin)".to_owned(),
        comment: "more".to_owned(),
        written_at_ms: 7,
    };
    Document::new(header, body).expect("its digest is right")
}

/// Puts `record` into the table where an agent looks for such; none if there is no such table.
fn put(path: &Path, table: &str, record: &str) -> Option<()> {
    const LINE: TableDefinition<'_, (u8, u64, u64), &str> = TableDefinition::new("line");
    const CONFLICTS: TableDefinition<'_, (u8, u64, u64, &str), &str> =
        TableDefinition::new("conflicts");
    const BODIES: TableDefinition<'_, (u8, u64, u64, &str), &str> = TableDefinition::new("bodies");
    const MEMBERS: TableDefinition<'_, &str, &str> = TableDefinition::new("members");
    const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("meta_text");
    let digest = Digest::of(b"x").to_string();
    let database = Database::create(path).expect("the sample");
    let write = database.begin_write().expect("a transaction");
    let opened = "the table is there";
    match table {
        "line" => {
            let mut table = write.open_table(LINE).expect(opened);
            table.insert((1, 3, 6), record).expect("it fits");
        }
        "conflicts" => {
            let mut table = write.open_table(CONFLICTS).expect(opened);
            table
                .insert((1, 3, 4, digest.as_str()), record)
                .expect("it fits");
        }
        "bodies" => {
            let newest = document(5, &"# a line\n".repeat(5 * 200))
                .stamp()
                .digest
                .to_string();
            let mut table = write.open_table(BODIES).expect(opened);
            table
                .insert((1, 3, 5, newest.as_str()), record)
                .expect("it fits");
        }
        "members" => {
            let mut table = write.open_table(MEMBERS).expect(opened);
            table.insert("lb2", record).expect("it fits");
        }
        "format" | "term" | "generation" | "promised_term" => {
            let mut numbers = write.open_table(NUMBERS).expect(opened);
            numbers
                .insert(table, record.trim().parse::<u64>().ok()?)
                .expect("it fits");
        }
        "promised_to" | "node" => {
            let mut texts = write.open_table(TEXTS).expect(opened);
            texts.insert(table, record).expect("it fits");
        }
        _ => return None,
    }
    write.commit().expect("it is written");
    Some(())
}

/// All that an agent reads, and a write.
fn look_at_all(store: &Arc<Store>) {
    let storage: Arc<dyn Storage> = Arc::clone(store) as _;
    let node = NodeId::new("lb1").expect("a name");
    let began = storage.begin_generation(&node, 8);
    if let Err(error) = &began {
        named(error);
    }
    let _ = (storage.members(), storage.is_established());
    let term = storage.highest_term();
    if let (Ok(before), Ok(after)) = (term, storage.promise(Term(9), &node)) {
        assert!(
            after >= Term(9) && after >= before,
            "a term fell: {before}, {after}"
        );
    }
    let clock = Clock::new(std::time::Instant::now, || 9);
    let documents = match Documents::load(storage, clock, 10, Arc::new(Notify::new())) {
        Ok(documents) => documents,
        Err(error) => return named(&error),
    };
    for kind in DocumentKind::ALL {
        let conflicts = documents.conflicts(kind);
        let stamps = documents.history(kind).unwrap_or_default();
        let stamps = stamps
            .into_iter()
            .chain(conflicts.iter().map(|lost| lost.header.clone()));
        for stamp in stamps.map(|header| header.stamp) {
            let _ = documents.ancestry(kind, stamp);
            match documents.stamped(kind, stamp) {
                Ok(Some(document)) => {
                    assert_eq!(Digest::of(document.body().as_bytes()), stamp.digest);
                }
                Ok(None) => {}
                Err(error) => named(&error),
            }
        }
        let newest = documents.newest(kind);
        let next = newest.map_or(1, |newest| newest.revision().sequence.saturating_add(1));
        let _: Result<_, StoreError> = documents.append(kind, |parent| {
            let next = document(next, "version: 1\n");
            let header = Header {
                kind,
                parent,
                ..next.header().clone()
            };
            Ok(Document::new(header, next.body()).expect("its digest is right"))
        });
    }
}

fn named(error: &StoreError) {
    let words = error.to_string();
    assert!(words.contains("state.redb"), "which file? {words}");
}
