//! What callers send, whoever they are, and what other agents answer: each is understood or refused in words, and none is
//! a reason to panic.
//!
//! An input's first line says what the rest is: a method's path (`/hafleet.v1.Admin/ApplySpec`), and the message that is
//! sent to it; `vouched`, and the header by which a node hands on a call of a person; the name of an answer's message
//! (`NodePart`), and that; or else all of it is what comes over a connection of callers of lb-agent.

#![no_main]

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hafleet_api::fleet::{NodePlan, Scope, Written};
use hafleet_api::gate::Gated;
use hafleet_api::lb_agent::{self, Keys, Local, Settings, StateWords};
use hafleet_api::query::QueryService;
use hafleet_api::{AdminService, Gate, access, failure, v1};
use hafleet_identity::{
    Authority, Caller, ConnectionLimits, Credentials, Identity, IdentityFiles, IssueRequest,
    PersonName, Principal, Role, Visitors,
};
use hafleet_model::{FleetName, NodeId};
use hafleet_query::{Answer, Evaluation, Part, Tally};
use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Layer as _, Service as _};

#[path = "api/silent.rs"]
mod silent;

/// How a node shows whose call it hands on.
const ON_BEHALF: &str = hafleet_api::vouching::ON_BEHALF_OF_BIN;

/// What every input needs again.
struct Stage {
    runtime: Runtime,
    services: Gated<Routes>,
    old_callers: SocketAddr,
}

thread_local! {
    static STAGE: OnceCell<Stage> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| -> Corpus {
    STAGE.with(|stage| {
        let stage = stage.get_or_init(Stage::new);
        let end = input.iter().position(|byte| *byte == b'\n');
        let (first, rest) = input.split_at(end.unwrap_or(0));
        let rest = rest.get(1..).unwrap_or_default();
        let Ok(first) = std::str::from_utf8(first) else {
            return Corpus::Reject;
        };
        if first == "vouched" {
            stage.runtime.block_on(stage.hand_on(rest));
            Corpus::Keep
        } else if access::method(first).is_some() {
            stage.runtime.block_on(stage.call(first, rest));
            Corpus::Keep
        } else if answer(first, rest) {
            Corpus::Keep
        } else {
            stage.runtime.block_on(stage.old_call(input))
        }
    })
});

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let gate = gate();
        let old_callers = runtime.block_on(serve_old_callers(gate.clone()));
        let services = Routes::new(AdminService::server(silent::shared()))
            .add_service(QueryService::server(silent::shared()));
        Self {
            runtime,
            services: gate.layer(services),
            old_callers,
        }
    }

    /// Calls the method at `path` as an administrator.
    async fn call(&self, path: &str, message: &[u8]) {
        let (status, body) = self
            .answered(request(path, message, caller(person())))
            .await;
        assert!(
            !matches!(status.code(), Code::Unknown | Code::DataLoss),
            "{status:?}"
        );
        if status.code() == Code::Ok && !body.is_empty() {
            assert!(body.len() >= 5, "an answer is no message");
        }
        let _ = failure::findings(&status);
    }

    /// Calls as a node that hands on what a person is said to have asked.
    async fn hand_on(&self, certificate: &[u8]) {
        let node = Principal::Node(NodeId::new("lb2").expect("a name"));
        let mut request = request("/hafleet.v1.Admin/GetStatus", b"", caller(node));
        let Ok(shown) = http::HeaderValue::from_bytes(certificate) else {
            return;
        };
        request.headers_mut().insert(ON_BEHALF, shown);
        let (status, _) = self.answered(request).await;
        assert_ne!(
            status.code(),
            Code::Ok,
            "nobody was vouched for, and was let in"
        );
    }

    async fn answered(&self, request: http::Request<Body>) -> (Status, Vec<u8>) {
        let response = self.services.clone().call(request).await;
        let Ok(response) = response;
        let head = Status::from_header_map(response.headers());
        let body = response.into_body().collect().await.expect("a body");
        let trailers = body.trailers().and_then(Status::from_header_map);
        let status = head
            .or(trailers)
            .unwrap_or_else(|| Status::unknown("no status"));
        (status, body.to_bytes().to_vec())
    }

    /// Sends `bytes` on a connection of its own, and reads what comes until it ends.
    async fn old_call(&self, bytes: &[u8]) -> Corpus {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Thousands of connections a second: none is to be remembered.
        socket.set_zero_linger().expect("it can be set");
        let mut stream = socket.connect(self.old_callers).await.expect("it listens");
        let mut answer = Vec::new();
        if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
            let read = stream.read_to_end(&mut answer);
            let read = tokio::time::timeout(Duration::from_secs(5), read).await;
            assert!(read.is_ok(), "a connection that was ended is held open");
        }
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "an answer in no form: {}",
            String::from_utf8_lossy(&answer)
        );
        Corpus::Keep
    }
}

/// Reads `bytes` as the message `name` that another agent answered, and what it says once more. False if there is none of
/// that name.
fn answer(name: &str, bytes: &[u8]) -> bool {
    match name {
        "NodePart" => {
            if let Some(part) = read::<v1::NodePart, Part>(bytes) {
                let again = v1::NodePart::from(part.clone());
                let again = Part::try_from(again).expect("what was read can be sent");
                assert_eq!(again.facts, part.facts);
                assert_eq!(again.certificates, part.certificates);
            }
        }
        "EvaluateAnswer" => {
            if let Some(evaluation) = read::<v1::EvaluateAnswer, Evaluation>(bytes) {
                let _ = v1::EvaluateAnswer::from(evaluation);
            }
        }
        "CheckAnswer" => {
            if let Ok(message) = v1::CheckAnswer::decode(bytes) {
                let answer = Answer::from(message);
                let again = Answer::from(v1::CheckAnswer::from(answer.clone()));
                assert_eq!(format!("{again:?}"), format!("{answer:?}"));
            }
        }
        "BackendTally" => {
            if let Ok(message) = v1::BackendTally::decode(bytes) {
                let _ = v1::BackendTally::from(Tally::from(message));
            }
        }
        "WriteSpecResponse" => {
            if let Some(written) = read::<v1::WriteSpecResponse, Written>(bytes) {
                let again = Written::try_from(v1::WriteSpecResponse::from(written.clone()));
                let again = again.expect("what was read can be sent");
                assert_eq!(again.header.stamp, written.header.stamp);
            }
        }
        "WriteCertificateResponse" => {
            let _ = read::<v1::WriteCertificateResponse, Written>(bytes);
        }
        "NodePlan" => {
            if let Some(plan) = read::<v1::NodePlan, NodePlan>(bytes) {
                let again = NodePlan::try_from(v1::NodePlan::from(plan.clone()));
                assert_eq!(again.ok(), Some(plan));
            }
        }
        "refusal" => {
            let details = bytes::Bytes::copy_from_slice(bytes);
            let status = Status::with_details(Code::InvalidArgument, "no", details);
            let _ = (failure::findings(&status), failure::is_no_leader(&status));
        }
        _ => return false,
    }
    true
}

fn read<M, V>(bytes: &[u8]) -> Option<V>
where
    M: Message + Default,
    V: TryFrom<M>,
{
    V::try_from(M::decode(bytes).ok()?).ok()
}

fn person() -> Principal {
    let name = PersonName::new("ada").expect("a name");
    Principal::Person {
        name,
        role: Role::Admin,
    }
}

fn caller(principal: Principal) -> Caller {
    Caller {
        identity: Identity {
            fleet: FleetName::new("shop").expect("a name"),
            principal,
        },
        remote: ([127, 0, 0, 1], 1).into(),
        addresses: Vec::new(),
        certificate: Arc::new(Vec::new().into()),
        via: None,
    }
}

fn request(path: &str, message: &[u8], caller: Caller) -> http::Request<Body> {
    let length = u32::try_from(message.len()).expect("inputs are short");
    let framed = [&[0], length.to_be_bytes().as_slice(), message].concat();
    http::Request::post(path)
        .header("content-type", "application/grpc")
        .extension(caller)
        .body(Body::new(Full::from(framed)))
        .expect("a request")
}

/// A gate that believes an authority of which nobody else has heard.
fn gate() -> Gate {
    let authority = Authority::create(FleetName::new("shop").expect("a name")).expect("keys");
    let node = IssueRequest::new(Principal::Node(NodeId::new("lb1").expect("a name")));
    let now = SystemTime::now();
    let issued = authority.issue_at(&node, now).expect("a certificate");
    let pem = [
        authority.certificate_pem().as_bytes(),
        issued.certificate_pem.as_bytes(),
        issued.key_pem.as_bytes(),
    ];
    let files = IdentityFiles::from_directory("/nowhere".as_ref());
    let credentials = Credentials::from_pem(pem, &files, now).expect("credentials");
    Gate::new(Arc::new(credentials), silent::shared())
}

/// Listens for callers of lb-agent, who are taken for this node; where.
async fn serve_old_callers(gate: Gate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let limits = ConnectionLimits {
        handshakes_per_second: NonZeroU32::MAX,
        ..ConnectionLimits::default()
    };
    let settings = Settings {
        scope: Scope::ThisNode,
        default_backend: "app".to_owned(),
        only_prefix: String::new(),
        states: StateWords::default(),
        body_deadline: Duration::from_secs(5),
    };
    let keys = Keys {
        tokens: Vec::new(),
        local: Local::Node,
    };
    let visitors = Visitors::in_clear(listener, limits);
    let stop = CancellationToken::new();
    tokio::spawn(lb_agent::serve(
        visitors,
        silent::shared(),
        gate,
        keys,
        settings,
        stop,
    ));
    address
}
