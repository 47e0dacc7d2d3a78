use std::net::Ipv4Addr;
use std::time::Duration;

use hafleet_model::NodeId;
use hafleet_model::endpoints::ServiceKind;
use hafleet_model::spec;

use super::*;
use crate::answer::{Address, AddressKind, Answer, Condition, Found, SourceError};
use crate::source::Said;

const SPEC: &str = "
version: 1
frontends:
  - {name: web, binds: [{port: 80}], default_backend: app}
backends:
  - name: app
    sources:
      - file: {path: /one, port: 80}
      - file: {path: /two, port: 80}
";

fn found(id: &str, last: u8) -> Found {
    Found {
        id: id.into(),
        addresses: vec![Address {
            kind: AddressKind::Private,
            ip: Ipv4Addr::new(192, 0, 2, last).into(),
        }],
        port: Some(80),
        weight: None,
        zone: None,
        condition: Condition::InService,
        labels: BTreeMap::new(),
    }
}

fn answer(ids: &[u8]) -> Result<Answer, SourceError> {
    let found = ids.iter().map(|id| found(&format!("s{id}"), *id));
    Ok(Answer {
        found: found.collect(),
        ..Answer::default()
    })
}

fn failure() -> Result<Answer, SourceError> {
    Err(SourceError::Unreachable {
        what: "it".into(),
        why: "no".into(),
    })
}

/// A leader: what it was told, the document it writes, and a clock.
struct Leader {
    spec: Spec,
    judge: Judge,
    book: Book,
    document: Endpoints,
    now: Instant,
}

impl Leader {
    fn new(text: &str) -> Self {
        Self {
            spec: spec::load(text).unwrap().spec,
            judge: Judge::new("shop"),
            book: Book::default(),
            document: Endpoints::default(),
            now: Instant::now(),
        }
    }

    /// Another one after it, which knows the document only.
    fn successor(self) -> Self {
        Self {
            judge: Judge::new("shop"),
            book: Book::default(),
            ..self
        }
    }

    fn hear(&mut self, query: Query, result: Result<Answer, SourceError>) {
        let said = Said {
            count: 0,
            at: self.now,
            result,
        };
        self.book.pages.entry(query).or_default().note(said);
    }

    fn file(&mut self, path: &str, result: Result<Answer, SourceError>) {
        self.hear(Query::File(path.into()), result);
    }

    /// Decides, and writes it; the servers of `app`, and how that backend is.
    fn decide(&mut self) -> (String, BackendState) {
        let judgement = self
            .judge
            .judge(&self.spec, &self.book, &self.document, self.now);
        self.document = judgement.endpoints;
        let servers = self.document.of("app").iter().map(|e| e.name.clone());
        let servers: Vec<_> = servers.collect();
        (servers.join(" "), judgement.backends["app"].clone())
    }

    fn poll(&mut self, one: &[u8], two: &[u8]) -> (String, BackendState) {
        self.now += Duration::from_secs(10);
        self.file("/one", answer(one));
        self.file("/two", answer(two));
        self.decide()
    }
}

fn is_held(state: &BackendState) -> bool {
    matches!(state, BackendState::Held(_))
}

#[test]
fn nothing_is_written_before_all_sources_have_answered() {
    let mut leader = Leader::new(SPEC);
    leader.file("/one", answer(&[1]));
    let waiting = BackendState::Waiting(vec!["file /two".into()]);
    assert_eq!(leader.decide(), (String::new(), waiting.clone()));
    leader.file("/two", failure());
    assert_eq!(leader.decide(), (String::new(), waiting));
    leader.file("/two", answer(&[2]));
    assert_eq!(leader.decide(), ("s1 s2".into(), BackendState::Followed));
}

#[test]
fn an_error_is_never_empty() {
    let mut leader = Leader::new(SPEC);
    leader.poll(&[1], &[2]);
    for _ in 0..10 {
        leader.now += Duration::from_secs(10);
        leader.file("/one", failure());
        leader.file("/two", answer(&[2, 3]));
        assert_eq!(leader.decide().0, "s1 s2 s3");
    }
}

#[test]
fn a_source_that_went_empty_is_believed_when_it_says_so_again_and_again() {
    let mut leader = Leader::new(SPEC);
    leader.poll(&[1], &[]);
    for _ in 0..2 {
        let (servers, state) = leader.poll(&[], &[]);
        assert!(servers == "s1" && is_held(&state));
    }
    assert_eq!(
        leader.poll(&[], &[]),
        (String::new(), BackendState::Followed)
    );
}

#[test]
fn errors_between_empty_answers_keep_what_was_there() {
    let mut leader = Leader::new(SPEC);
    leader.poll(&[1], &[]);
    for _ in 0..5 {
        leader.poll(&[], &[]);
        leader.now += Duration::from_secs(10);
        leader.file("/one", failure());
        assert_eq!(leader.decide().0, "s1");
    }
}

#[test]
fn a_person_lets_a_held_change_through() {
    let mut leader = Leader::new(SPEC);
    leader.poll(&[1, 2], &[3]);
    assert!(is_held(&leader.poll(&[1], &[]).1));
    leader.judge.confirm("app");
    assert_eq!(leader.decide(), ("s1".into(), BackendState::Followed));
}

#[test]
fn a_new_leader_begins_with_the_document() {
    let mut leader = Leader::new(SPEC);
    leader.poll(&[1], &[2]);
    let mut leader = leader.successor();
    assert_eq!(leader.decide().0, "s1 s2");
    leader.file("/one", failure());
    assert_eq!(leader.decide().0, "s1 s2");
    leader.file("/two", answer(&[2, 3]));
    assert_eq!(leader.decide(), ("s1 s2 s3".into(), BackendState::Followed));
}

#[test]
fn a_source_taken_out_of_the_spec_takes_its_servers_along_at_once() {
    let mut leader = Leader::new(SPEC);
    leader.poll(&[1, 2, 3], &[4]);
    leader.spec.backends[0].sources.remove(0);
    assert_eq!(leader.decide().0, "s4");
}

#[test]
fn containers_of_a_silent_node_stay_and_those_of_one_that_left_go() {
    let text = SPEC.replace("file: {path: /two, port: 80}", "docker: {}");
    let mut leader = Leader::new(&text);
    let node = |id: &str| NodeId::new(id).unwrap();
    let publish = |leader: &mut Leader, id: &str, mut answer: Answer| {
        for found in &mut answer.found {
            found
                .labels
                .insert(mapping::BACKEND_LABEL.into(), "app".into());
        }
        let said = Said {
            count: 0,
            at: leader.now,
            result: Ok(answer),
        };
        leader
            .book
            .containers
            .entry(node(id))
            .or_default()
            .note(said);
    };
    leader.file("/one", answer(&[1]));
    publish(&mut leader, "a", answer(&[2]).unwrap());
    publish(&mut leader, "b", answer(&[3]).unwrap());
    assert_eq!(leader.decide().0, "s1 s2 s3");
    let mut leader = leader.successor();
    leader.file("/one", answer(&[1]));
    publish(&mut leader, "b", answer(&[3, 4]).unwrap());
    assert_eq!(leader.decide().0, "s1 s2 s3 s4");
    publish(&mut leader, "a", Answer::default());
    assert_eq!(leader.decide().0, "s1 s3 s4");
}

#[test]
fn services_become_backends_with_servers_and_are_guarded_too() {
    let text = SPEC.replace("frontends:", "discovery:\n  etcd: {endpoints: ['http://192.0.2.1:2379']}\n  services: {prefix: /haproxy-a, frontend: web}\nfrontends:");
    let mut leader = Leader::new(&text);
    let query = Query::of_services(&leader.spec).unwrap();
    let service = |name: &str, upstream: Option<&str>| Service {
        name: name.into(),
        port: 80,
        balance: None,
        upstreams: upstream
            .map(|text| text.parse().unwrap())
            .into_iter()
            .collect(),
        kind: ServiceKind::Http {
            domain: Some(format!("{name}.test")),
            path_prefix: None,
            certificate: None,
        },
    };
    let services = |services: Vec<Service>| {
        Ok(Answer {
            services,
            ..Answer::default()
        })
    };
    let both = vec![
        service("db", None),
        service("shop", Some("192.0.2.7:80")),
        service("app", None),
    ];
    leader.hear(query.clone(), services(both));
    leader.decide();
    let judgement = leader
        .judge
        .judge(&leader.spec, &leader.book, &leader.document, leader.now);
    assert_eq!(leader.document.of("shop")[0].name, "192.0.2.7:80");
    let waiting = BackendState::Waiting(vec!["dns db A".into()]);
    assert_eq!(judgement.backends["db"], waiting);
    let left_out: Vec<_> = judgement.left_out[&query.to_string()].iter().collect();
    assert_eq!(
        left_out[0].what, "app",
        "the spec has a backend of its own of that name"
    );
    for _ in 0..2 {
        leader.now += Duration::from_secs(10);
        leader.hear(query.clone(), services(Vec::new()));
        leader.decide();
        assert_eq!(leader.document.services.len(), 3);
    }
    leader.now += Duration::from_secs(10);
    leader.hear(query, services(Vec::new()));
    leader.decide();
    assert!(leader.document.services.is_empty() && leader.document.of("shop").is_empty());
}
