//! Every way to ask, before an agent that does what it is told.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

use hafleet_identity::{
    Authority, Identity, IdentityFiles, IssueRequest, PersonName, Principal, Role,
};
use hafleet_model::spec::{Finding, Findings};
use hafleet_model::{FleetName, NodeId, Term};
use hafleet_query::{Facts, Missing, Part, Statistics};
use http::Request;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tower::ServiceExt as _;

use super::*;
use crate::audit::Recorder;
use crate::v1::{AuditRecord, audit_record::Outcome};

mod servers;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Default)]
struct Notes(Mutex<Vec<AuditRecord>>);

impl Recorder for Notes {
    fn record(&self, record: AuditRecord) {
        self.0.lock().unwrap().push(record);
    }
}

/// Takes every configuration but those that say `bad`.
#[derive(Default)]
struct Obliging {
    configured: Mutex<Vec<(String, String, String)>>,
    pages: Vec<(&'static str, &'static str)>,
    missing: Vec<Missing>,
}

#[async_trait]
impl LbAgent for Obliging {
    async fn configure(
        &self,
        configuration: String,
        author: String,
        comment: String,
    ) -> Result<Option<Revision>, Failure> {
        if configuration.contains("bad") {
            let finding = Finding {
                line: Some(2),
                ..Finding::new("haproxy_cfg", "unknown keyword 'bad'")
            };
            return Err(Failure::InvalidSpec(Findings(vec![finding])));
        }
        let mut configured = self.configured.lock().unwrap();
        configured.push((configuration, author, comment));
        Ok(Some(Revision::new(Term(3), 17)))
    }

    async fn servers(&self, _: &str, scope: Scope) -> Asked {
        let count = if scope == Scope::Fleet { usize::MAX } else { 1 };
        let part = |(lb, rows): &(&str, &str)| {
            let page = format!("# pxname,svname,type,status,weight,check_desc,last_chk\n{rows}");
            Part {
                facts: Facts {
                    id: (*lb).to_owned(),
                    ..Facts::default()
                },
                table: Some(Statistics::parse(&page).unwrap()),
                ..Part::default()
            }
        };
        Asked {
            parts: self.pages.iter().take(count).map(part).collect(),
            missing: self.missing.clone(),
            ..Asked::default()
        }
    }
}

struct Scene {
    authority: Authority,
    agent: Arc<Obliging>,
    notes: Arc<Notes>,
    gate: Gate,
    settings: Settings,
    files: tempfile::TempDir,
}

impl Scene {
    fn new(agent: Obliging) -> Self {
        let authority = Authority::create(FleetName::new("shop").unwrap()).unwrap();
        let node = IssueRequest::new(Principal::Node(NodeId::new("lb1").unwrap()));
        let now = SystemTime::now();
        let issued = authority.issue_at(&node, now).unwrap();
        let pem = [
            authority.certificate_pem().as_bytes(),
            issued.certificate_pem.as_bytes(),
            issued.key_pem.as_bytes(),
        ];
        let files = IdentityFiles::from_directory("/nowhere".as_ref());
        let credentials = hafleet_identity::Credentials::from_pem(pem, &files, now).unwrap();
        let notes = Arc::new(Notes::default());
        Self {
            gate: Gate::new(Arc::new(credentials), Arc::clone(&notes) as _),
            authority,
            agent: Arc::new(agent),
            notes,
            settings: Settings {
                scope: Scope::Fleet,
                default_backend: "app".to_owned(),
                only_prefix: String::new(),
                states: StateWords::default(),
                body_deadline: Duration::from_secs(30),
            },
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn certificate(&self, role: Role) -> String {
        let name = PersonName::new(format!("a-{role}")).unwrap();
        let person = IssueRequest::new(Principal::Person { name, role });
        let issued = self.authority.issue_at(&person, SystemTime::now());
        issued.unwrap().certificate_pem
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Callers on loopback count as the person with `role`.
    fn local(&self, role: Role) -> Keys {
        let certificate = self.file("local.pem", &self.certificate(role));
        Keys {
            tokens: Vec::new(),
            local: Local::Person(certificate),
        }
    }

    /// Callers with [`TOKEN`] do.
    fn token(&self, role: Role) -> Keys {
        let token = TokenFiles {
            file: self.file("token", &format!("{TOKEN}\n")),
            certificate: self.file("token.pem", &self.certificate(role)),
        };
        Keys {
            tokens: vec![token],
            local: Local::Refused,
        }
    }

    async fn ask(&self, keys: Keys, request: Request<Body>) -> (StatusCode, serde_json::Value) {
        self.ask_as(None, keys, request).await
    }

    async fn ask_as(
        &self,
        shown: Option<Caller>,
        keys: Keys,
        request: Request<Body>,
    ) -> (StatusCode, serde_json::Value) {
        let visitor = Visitor {
            remote: remote(),
            caller: shown,
        };
        let agent = Arc::clone(&self.agent) as _;
        let router = router(agent, self.gate.clone(), keys, self.settings.clone());
        let answer = router.layer(Extension(visitor)).oneshot(request).await;
        let answer = answer.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        (status, serde_json::from_slice(&body.unwrap()).unwrap())
    }

    fn configured(&self) -> Vec<(String, String, String)> {
        self.agent.configured.lock().unwrap().clone()
    }

    fn noted(&self) -> Vec<(String, String, Outcome)> {
        let notes = self.notes.0.lock().unwrap();
        let note = |note: &AuditRecord| (note.caller.clone(), note.method.clone(), note.outcome());
        notes.iter().map(note).collect()
    }
}

fn remote() -> SocketAddr {
    "127.0.0.1:4242".parse().unwrap()
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

fn with_token(token: &str) -> Request<Body> {
    Request::post("/reload")
        .header("authorization", format!("Bearer {token}"))
        .body("global\n".into())
        .unwrap()
}

fn up_to_date() -> serde_json::Value {
    serde_json::json!({"success": true, "message": "Haproxy up to date"})
}

#[tokio::test]
async fn a_configuration_is_taken_in_the_name_of_whoever_local_callers_are() {
    let scene = Scene::new(Obliging::default());
    for path in ["/reloadHaproxy", "/reload"] {
        let keys = scene.local(Role::Admin);
        let answer = scene.ask(keys, post(path, "global\n")).await;
        assert_eq!(answer, (StatusCode::OK, up_to_date()));
    }
    let expected = ["/reloadHaproxy", "/reload"].map(|path| {
        let comment = format!("POST {path} from 127.0.0.1:4242");
        ("global\n".to_owned(), "a-admin (admin)".to_owned(), comment)
    });
    assert_eq!(scene.configured(), expected);
    let note = (
        "a-admin (admin)".into(),
        "POST /reloadHaproxy".into(),
        Outcome::Done,
    );
    assert_eq!(scene.noted(), [note.clone(), note]);
}

#[tokio::test]
async fn a_body_that_is_no_configuration_changes_nothing_and_is_told_why() {
    let scene = Scene::new(Obliging::default());
    let form = |body: &'static str| {
        let request = Request::post("/reload");
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.into())
    };
    let zipped = Request::post("/reload").header("content-encoding", "gzip");
    let cases = [
        (post("/reload", ""), StatusCode::BAD_REQUEST, "it is empty"),
        (
            post("/reload", " \r\n\t"),
            StatusCode::BAD_REQUEST,
            "it is empty",
        ),
        (
            post("/reload", &b"global\n\xff"[..]),
            StatusCode::BAD_REQUEST,
            "not UTF-8",
        ),
        (
            post("/reload", "global\n bad\n"),
            StatusCode::BAD_REQUEST,
            "unknown keyword 'bad'",
        ),
        (
            post("/reload", vec![b'#'; MAX_SPEC_BYTES + 1]),
            StatusCode::PAYLOAD_TOO_LARGE,
            "16777216",
        ),
        (
            form("globaldefaults").unwrap(),
            StatusCode::BAD_REQUEST,
            "--data-binary",
        ),
        (
            zipped.body("x".into()).unwrap(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "gzip",
        ),
    ];
    for (request, status, words) in cases {
        let (found, answer) = scene.ask(scene.local(Role::Admin), request).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            found == status && error.contains(words),
            "{found}: {answer}"
        );
        assert_eq!(answer["success"], false);
    }
    assert_eq!(scene.configured(), []);
    let body = form("global\n  maxconn 5\n").unwrap();
    assert_eq!(
        scene.ask(scene.local(Role::Admin), body).await.0,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_to_its_end_is_given_up() {
    let scene = Scene::new(Obliging::default());
    let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = post("/reload", Body::from_stream(endless));
    let (status, answer) = scene.ask(scene.local(Role::Admin), request).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{answer}");
}

#[tokio::test]
async fn a_token_may_what_the_person_for_whom_it_stands_may() {
    let scene = Scene::new(Obliging::default());
    let answer = scene.ask(scene.token(Role::Admin), with_token(TOKEN)).await;
    assert_eq!(answer, (StatusCode::OK, up_to_date()));
    let (status, answer) = scene
        .ask(scene.token(Role::Operator), with_token(TOKEN))
        .await;
    let error = answer["error"].as_str().unwrap();
    assert!(
        status == StatusCode::FORBIDDEN && error.contains("the role admin"),
        "{answer}"
    );
    let look = Request::get("/getBackends").header("authorization", format!("bearer {TOKEN}"));
    let (status, _) = scene
        .ask(scene.token(Role::Viewer), look.body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "let in, and there is no load balancer"
    );

    let wrong = "0123456789abcdef0123456789abcdeF";
    for request in [
        with_token(wrong),
        with_token(""),
        post("/reload", "global\n"),
    ] {
        let (status, answer) = scene.ask(scene.token(Role::Admin), request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    }
    assert_eq!(scene.configured().len(), 1);
    let denied = scene
        .noted()
        .into_iter()
        .filter(|note| note.2 == Outcome::Denied);
    let denied: Vec<_> = denied.map(|note| note.0).collect();
    assert_eq!(denied[..2], ["a-operator (operator)", "nobody known"]);
}

#[tokio::test]
async fn a_token_whose_certificate_does_not_count_is_worth_nothing() {
    let scene = Scene::new(Obliging::default());
    let keys = scene.token(Role::Admin);
    let other = Authority::create(FleetName::new("shop").unwrap()).unwrap();
    let name = PersonName::new("mallory").unwrap();
    let mallory = IssueRequest::new(Principal::Person {
        name,
        role: Role::Admin,
    });
    let issued = other.issue_at(&mallory, SystemTime::now()).unwrap();
    scene.file("token.pem", &issued.certificate_pem);
    let (status, answer) = scene.ask(keys.clone(), with_token(TOKEN)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    std::fs::remove_file(scene.files.path().join("token.pem")).unwrap();
    let (status, answer) = scene.ask(keys, with_token(TOKEN)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
}

#[tokio::test]
async fn a_shown_certificate_counts_for_itself_and_a_nodes_for_nothing() {
    let scene = Scene::new(Obliging::default());
    let keys = || Keys {
        tokens: Vec::new(),
        local: Local::Refused,
    };
    let caller = |principal: Principal| {
        let issued = scene
            .authority
            .issue_at(&IssueRequest::new(principal.clone()), SystemTime::now());
        let pem = issued.unwrap().certificate_pem;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Some(Caller {
            identity: Identity {
                fleet: FleetName::new("shop").unwrap(),
                principal,
            },
            addresses: Vec::new(),
            remote: remote(),
            certificate: Arc::new(certificate),
            via: None,
        })
    };
    let name = PersonName::new("ada").unwrap();
    let admin = caller(Principal::Person {
        name,
        role: Role::Admin,
    });
    let (status, _) = scene
        .ask_as(admin, keys(), post("/reload", "global\n"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let node = caller(Principal::Node(NodeId::new("lb2").unwrap()));
    let (status, answer) = scene
        .ask_as(node, keys(), post("/reload", "global\n"))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
}

#[tokio::test]
async fn without_a_person_only_this_nodes_own_configuration_changes() {
    let mut scene = Scene::new(Obliging::default());
    let keys = || Keys {
        tokens: Vec::new(),
        local: Local::Node,
    };
    let (status, answer) = scene.ask(keys(), post("/reload", "global\n")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    scene.settings.scope = Scope::ThisNode;
    let (status, _) = scene.ask(keys(), post("/reload", "global\n")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(scene.configured()[0].1, "node lb1");
}

#[tokio::test]
async fn web_pages_cannot_call_loopback() {
    let scene = Scene::new(Obliging::default());
    let request = || Request::post("/reload");
    let cases = [
        (
            request().header("origin", "http://127.0.0.1:6666"),
            StatusCode::FORBIDDEN,
        ),
        (
            request().header("host", "rebound.example.com:6666"),
            StatusCode::FORBIDDEN,
        ),
        (request().header("host", "127.0.0.1:6666"), StatusCode::OK),
        (request().header("host", "localhost:6666"), StatusCode::OK),
        (request().header("host", "[::1]:6666"), StatusCode::OK),
    ];
    for (request, expected) in cases {
        let request = request.body("global\n".into()).unwrap();
        let words = format!("{:?}", request.headers());
        let (status, _) = scene.ask(scene.local(Role::Admin), request).await;
        assert_eq!(status, expected, "{words}");
    }
}

#[tokio::test]
async fn what_is_not_there_says_what_is() {
    let scene = Scene::new(Obliging::default());
    let request = |method: Method, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap()
    };
    for (method, path, status, words) in [
        (
            Method::GET,
            "/reloadHaproxy",
            StatusCode::METHOD_NOT_ALLOWED,
            "POST",
        ),
        (
            Method::DELETE,
            "/getBackends",
            StatusCode::METHOD_NOT_ALLOWED,
            "GET, POST",
        ),
        (Method::GET, "/", StatusCode::NOT_FOUND, "/getBackends"),
        (
            Method::POST,
            "/reloadhaproxy",
            StatusCode::NOT_FOUND,
            "/reloadHaproxy",
        ),
        (
            Method::GET,
            "/getBackends?scope=world",
            StatusCode::BAD_REQUEST,
            "scope=fleet",
        ),
    ] {
        let (found, answer) = scene
            .ask(scene.local(Role::Admin), request(method, path))
            .await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            found == status && error.contains(words),
            "{path}: {found}: {answer}"
        );
    }
}

#[test]
fn a_token_is_long_and_not_for_everybody_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let read = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        read_token(&file)
    };
    assert!(read(&format!(" {TOKEN}\n"), 0o640).is_ok());
    for (text, mode, words) in [
        (TOKEN, 0o644, "everybody may read it"),
        ("short", 0o600, "openssl rand"),
        ("two words of some length here", 0o600, "one line"),
    ] {
        let error = read(text, mode).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
