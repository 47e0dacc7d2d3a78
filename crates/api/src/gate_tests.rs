//! Everybody before every method, in their own name and through a node; and those whose names do not count.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use hafleet_identity::{Authority, Identity, IdentityFiles, IssueRequest, PersonName, Role};
use hafleet_model::{FleetName, NodeId};
use rustls_pki_types::pem::PemObject as _;
use tonic::Code;
use tonic::metadata::BinaryMetadataValue;

use super::*;
use crate::access::tests::{everybody, served};
use crate::v1;
use crate::v1::audit_record;

#[derive(Default)]
struct Records(Mutex<Vec<v1::AuditRecord>>);

impl Recorder for Records {
    fn record(&self, record: v1::AuditRecord) {
        self.0.lock().unwrap().push(record);
    }
}

/// A service that does all that it is asked, and says who asked.
#[derive(Clone)]
struct Obliging(Arc<Mutex<Vec<Caller>>>);

impl Service<Request<Body>> for Obliging {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(request.extensions().get::<Admitted>().is_some());
        let caller = request.extensions().get::<Caller>().unwrap();
        self.0.lock().unwrap().push(caller.clone());
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

struct Scene {
    authority: Authority,
    credentials: Arc<Credentials>,
    records: Arc<Records>,
    seen: Arc<Mutex<Vec<Caller>>>,
    gated: Gated<Obliging>,
}

fn authority(fleet: &str) -> Authority {
    Authority::create(FleetName::new(fleet).unwrap()).unwrap()
}

fn certificate(
    authority: &Authority,
    principal: &Principal,
    now: SystemTime,
) -> CertificateDer<'static> {
    let request = IssueRequest::new(principal.clone());
    let issued = authority.issue_at(&request, now).unwrap();
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
}

fn lb1() -> Principal {
    Principal::Node(NodeId::new("lb1").unwrap())
}

fn person(name: &str, role: Role) -> Principal {
    let name = PersonName::new(name).unwrap();
    Principal::Person { name, role }
}

impl Scene {
    fn new() -> Self {
        let authority = authority("shop");
        let issued = authority.issue(&IssueRequest::new(lb1())).unwrap();
        let pem = [
            authority.certificate_pem(),
            &issued.certificate_pem,
            &issued.key_pem,
        ];
        let credentials = Credentials::from_pem(
            pem.map(str::as_bytes),
            &IdentityFiles::from_directory("test".as_ref()),
            SystemTime::now(),
        );
        let credentials = Arc::new(credentials.unwrap());
        let (records, seen) = (Arc::new(Records::default()), Arc::default());
        let gate = Gate::new(Arc::clone(&credentials), Arc::clone(&records) as _);
        Self {
            authority,
            credentials,
            records,
            gated: gate.layer(Obliging(Arc::clone(&seen))),
            seen,
        }
    }

    fn caller(&self, principal: &Principal) -> Caller {
        Caller {
            identity: Identity {
                fleet: FleetName::new("shop").unwrap(),
                principal: principal.clone(),
            },
            remote: ([10, 0, 0, 9], 4711).into(),
            addresses: Vec::new(),
            certificate: Arc::new(certificate(&self.authority, principal, SystemTime::now())),
            via: None,
        }
    }

    async fn call(
        &self,
        path: &str,
        caller: Option<Caller>,
        behalf: Option<&CertificateDer<'_>>,
    ) -> Code {
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        if let Some(certificate) = behalf {
            let mut metadata = MetadataMap::new();
            let value = BinaryMetadataValue::from_bytes(certificate);
            metadata.insert_bin(ON_BEHALF_OF_BIN, value);
            metadata.insert(CALLER_ADDRESS, "192.0.2.1:5".parse().unwrap());
            request.headers_mut().extend(metadata.into_headers());
        }
        let answer = self.gated.clone().call(request).await.unwrap();
        Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
    }

    fn last_record(&self) -> v1::AuditRecord {
        self.records.0.lock().unwrap().last().unwrap().clone()
    }
}

#[tokio::test]
async fn everybody_may_call_what_the_table_says_and_nothing_else() {
    let scene = Scene::new();
    let node = scene.caller(&lb1());
    let mut walked = 0;
    for (service, methods) in served() {
        for name in methods {
            let path = format!("/{service}/{name}");
            let needed = access::method(&path).unwrap().needed;
            assert_eq!(scene.call(&path, None, None).await, Code::Unauthenticated);
            for principal in everybody() {
                let expected = match (needed, &principal) {
                    (access::Needed::Anyone, _) => Code::Ok,
                    (access::Needed::Node | access::Needed::NodeOr(_), Principal::Node(_)) => {
                        Code::Ok
                    }
                    (
                        access::Needed::Role(least) | access::Needed::NodeOr(least),
                        Principal::Person { role, .. },
                    ) if *role >= least => Code::Ok,
                    _ => Code::PermissionDenied,
                };
                let caller = scene.caller(&principal);
                let shown = Arc::clone(&caller.certificate);
                let direct = scene.call(&path, Some(caller), None).await;
                assert_eq!(direct, expected, "{principal} {path}");
                if matches!(principal, Principal::Person { .. }) {
                    let handed_on = scene.call(&path, Some(node.clone()), Some(&shown)).await;
                    assert_eq!(handed_on, expected, "{principal} through a node: {path}");
                }
                walked += 1;
            }
        }
    }
    assert!(walked > 100, "{walked} calls");
    let unknown = scene.call("/hafleet.v1.Admin/Nothing", Some(node), None);
    assert_eq!(unknown.await, Code::Unimplemented);
}

#[tokio::test]
async fn a_call_that_a_node_hands_on_is_its_callers_and_says_through_whom() {
    let scene = Scene::new();
    let ada = person("ada", Role::Admin);
    let shown = scene.caller(&ada).certificate;
    let code = scene
        .call(
            "/hafleet.v1.Admin/ApplySpec",
            Some(scene.caller(&lb1())),
            Some(&shown),
        )
        .await;
    assert_eq!(code, Code::Ok);
    let seen = scene.seen.lock().unwrap().last().unwrap().clone();
    assert_eq!(seen.identity.principal, ada);
    assert_eq!(seen.via, Some(NodeId::new("lb1").unwrap()));
    let record = scene.last_record();
    assert_eq!(record.outcome(), audit_record::Outcome::Done);
    assert_eq!(
        (
            record.caller.as_str(),
            record.via.as_str(),
            record.address.as_str(),
            record.method.as_str()
        ),
        ("ada (admin)", "lb1", "192.0.2.1:5", "ApplySpec")
    );
}

#[tokio::test]
async fn a_node_of_an_earlier_version_is_told_that_it_is_one() {
    let scene = Scene::new();
    let call = async |path: &str| {
        let mut request = Request::builder()
            .uri(path)
            .header(ON_BEHALF_OF, "ada (admin)");
        let extensions = request.extensions_mut().unwrap();
        extensions.insert(scene.caller(&lb1()));
        let answer = scene
            .gated
            .clone()
            .call(request.body(Body::empty()).unwrap());
        Status::from_header_map(answer.await.unwrap().headers())
    };
    let refused = call("/hafleet.v1.Admin/ApplySpec").await.unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("lb1") && refused.message().contains("upgrade it"));
    let record = scene.last_record();
    assert!(record.message.contains("upgrade it"), "{record:?}");
    // What it may do in its own name it may do.
    let heads = call("/hafleet.v1.Peer/Heads").await;
    assert!(heads.is_none_or(|status| status.code() == Code::Ok));
}

#[tokio::test]
async fn a_person_cannot_borrow_the_certificate_of_another() {
    let scene = Scene::new();
    let admins = scene.caller(&person("ada", Role::Admin)).certificate;
    let eve = scene.caller(&person("eve", Role::Viewer));
    let code = scene
        .call("/hafleet.v1.Admin/ApplySpec", Some(eve), Some(&admins))
        .await;
    assert_eq!(code, Code::PermissionDenied);
    let record = scene.last_record();
    assert_eq!(record.caller, "eve (viewer)");
    assert_eq!(record.address, "10.0.0.9:4711");
    assert_eq!(record.outcome(), audit_record::Outcome::Denied);
}

#[tokio::test]
async fn a_node_cannot_speak_for_whom_the_authority_does_not_vouch() {
    let scene = Scene::new();
    let (ada, now) = (person("ada", Role::Admin), SystemTime::now());
    let years_ago = now - Duration::from_secs(800 * 24 * 3600);
    let revoked = certificate(&scene.authority, &ada, now);
    let pem = scene
        .authority
        .issue(&IssueRequest::new(ada.clone()))
        .unwrap();
    let taken_back = hafleet_identity::certificate::describe(&pem.certificate_pem).unwrap();
    let list = scene
        .authority
        .revoke(None, &[taken_back.serial], now)
        .unwrap();
    assert!(scene.credentials.revoke(list.as_bytes()).unwrap());
    let taken_back = CertificateDer::from_pem_slice(pem.certificate_pem.as_bytes()).unwrap();
    let refused = [
        (
            "another authority",
            certificate(&authority("shop"), &ada, now),
        ),
        ("another fleet", certificate(&authority("other"), &ada, now)),
        ("expired", certificate(&scene.authority, &ada, years_ago)),
        ("a node", certificate(&scene.authority, &lb1(), now)),
        ("revoked", taken_back),
        ("nonsense", CertificateDer::from(vec![1, 2, 3])),
        ("nothing", CertificateDer::from(Vec::new())),
    ];
    for (why, shown) in refused {
        let node = scene.caller(&lb1());
        let code = scene
            .call("/hafleet.v1.Admin/GetStatus", Some(node), Some(&shown))
            .await;
        assert_eq!(code, Code::PermissionDenied, "{why}");
        let record = scene.last_record();
        assert_eq!(record.outcome(), audit_record::Outcome::Denied, "{why}");
        assert_eq!(record.caller, "node lb1", "{why}");
    }
    assert!(scene.seen.lock().unwrap().is_empty());
    let node = scene.caller(&lb1());
    let code = scene
        .call("/hafleet.v1.Admin/GetStatus", Some(node), Some(&revoked))
        .await;
    assert_eq!(
        code,
        Code::Ok,
        "the other certificate of the same person counts"
    );
}

#[tokio::test]
async fn what_only_looks_is_recorded_when_it_is_denied_alone() {
    let scene = Scene::new();
    let viewer = scene.caller(&person("vic", Role::Viewer));
    scene
        .call("/hafleet.v1.Admin/GetStatus", Some(viewer.clone()), None)
        .await;
    assert!(scene.records.0.lock().unwrap().is_empty());
    scene
        .call("/hafleet.v1.Peer/Gossip", Some(viewer), None)
        .await;
    let record = scene.last_record();
    assert_eq!(record.method, "/hafleet.v1.Peer/Gossip");
    assert!(record.message.contains("node"), "{}", record.message);
}

#[tokio::test]
async fn what_hands_on_shows_the_certificate_of_whoever_asked() {
    let scene = Scene::new();
    let ada = scene.caller(&person("ada", Role::Admin));
    let shown = Arc::clone(&ada.certificate);
    let request = vouching::for_caller(ada, async {
        let mut request = tonic::Request::new(());
        vouching::vouch(&mut request);
        request
    });
    let metadata = request.await.into_parts().0;
    let sent = metadata
        .get_bin(ON_BEHALF_OF_BIN)
        .unwrap()
        .to_bytes()
        .unwrap();
    assert_eq!(sent.as_ref(), shown.as_ref().as_ref());
    assert_eq!(metadata.get(CALLER_ADDRESS).unwrap(), "10.0.0.9:4711");

    let mut request = tonic::Request::new(());
    vouching::vouch(&mut request);
    assert!(request.metadata().is_empty(), "nobody asked");
}
