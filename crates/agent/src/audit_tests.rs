//! What is remembered, and files that are put aside, moved away and removed.

use super::*;

fn record(subject: &str) -> v1::AuditRecord {
    v1::AuditRecord {
        caller: "ada (admin)".into(),
        subject: subject.into(),
        outcome: Outcome::Done.into(),
        ..v1::AuditRecord::default()
    }
}

fn log(file: &Path, max_bytes: u64, keep: u32) -> AuditLog {
    let config = AuditFileConfig {
        file: file.to_owned(),
        max_bytes,
        keep,
    };
    AuditLog::open(NodeId::new("lb1").unwrap(), Some(config)).unwrap()
}

fn subjects(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let read = |line| serde_json::from_str::<v1::AuditRecord>(line).unwrap();
    let records: Vec<_> = text.lines().map(read).collect();
    assert!(records.iter().all(|record| record.node_id == "lb1"));
    records.into_iter().map(|record| record.subject).collect()
}

#[test]
fn so_many_are_remembered_newest_first() {
    let log = AuditLog::open(NodeId::new("lb1").unwrap(), None).unwrap();
    for number in 0..MAX_REMEMBERED + 5 {
        log.record(record(&number.to_string()));
    }
    let newest = log.newest(2);
    assert_eq!(newest[0].subject, (MAX_REMEMBERED + 4).to_string());
    assert_eq!(newest[1].subject, (MAX_REMEMBERED + 3).to_string());
    assert_eq!(log.newest(usize::MAX).len(), MAX_REMEMBERED);
}

#[test]
fn a_file_at_its_size_is_put_aside_and_the_oldest_goes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.jsonl");
    // Two of these do not fit.
    let log = log(&file, 200, 2);
    for subject in ["a", "b", "c", "d"] {
        log.record(record(subject));
    }
    assert_eq!(subjects(&file), ["d"]);
    assert_eq!(subjects(&directory.path().join("audit.jsonl.1")), ["c"]);
    assert_eq!(subjects(&directory.path().join("audit.jsonl.2")), ["b"]);
    assert!(!directory.path().join("audit.jsonl.3").exists());
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew_and_an_old_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (file, moved) = (
        directory.path().join("audit.jsonl"),
        directory.path().join("moved"),
    );
    let first = log(&file, 1 << 20, 2);
    first.record(record("a"));
    std::fs::rename(&file, &moved).unwrap();
    first.record(record("b"));
    assert_eq!(
        (subjects(&moved), subjects(&file)),
        (vec!["a".into()], vec!["b".into()])
    );
    log(&file, 1 << 20, 2).record(record("c"));
    assert_eq!(subjects(&file), ["b", "c"]);
}

#[test]
fn a_file_in_no_directory_is_refused_at_once() {
    let config = AuditFileConfig {
        file: "/nowhere/at/all/audit.jsonl".into(),
        max_bytes: 1,
        keep: 1,
    };
    assert!(AuditLog::open(NodeId::new("lb1").unwrap(), Some(config)).is_err());
}
