//! What a provider promises.

use hafleet_dns::provider::{Change, ChangeStatus};
use hafleet_dns::route53::{Route53, Route53Settings};
use hafleet_dns::{Budget, Ownership, Provider, ProviderError, RecordSet, RecordType};
use hafleet_ec2::StaticKey;
use hafleet_model::{FleetName, NodeId, Term};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::aws::{Fault, KEY};
use crate::stage::{Stage, a, until};

fn ownership(nonce: u64) -> RecordSet {
    Ownership {
        fleet: FleetName::new("shop").unwrap(),
        term: Term(1),
        leader: NodeId::new("n1").unwrap(),
        sequence: nonce,
        nonce,
        authority: None,
    }
    .record("www.example.com")
}

/// The change from one ownership to the next, with an address.
fn written(from: u64, address: &str) -> Vec<Change> {
    vec![
        Change::Delete(ownership(from)),
        Change::Create(ownership(from + 1)),
        Change::Upsert(a("www.example.com", address)),
    ]
}

#[tokio::test]
async fn zones_are_found_by_name_or_id_and_never_guessed() {
    let stage = Stage::start(&[]);
    let route53 = stage.route53();
    let public = stage.zone("example.com", false).await;
    stage.zone("sub.example.com", false).await;
    // moto's ids lack the Z with which AWS's begin.
    for name in [
        "example.com",
        "Example.com.",
        &format!("/hostedzone/{public}"),
    ] {
        assert_eq!(route53.zone(name).await.unwrap().zone(), public);
    }
    let error = route53.zone("example.org").await.unwrap_err();
    assert!(matches!(error, ProviderError::Zone { .. }), "{error}");
    let private = stage.zone("example.com", true).await;
    let error = route53.zone("example.com").await.unwrap_err().to_string();
    assert!(error.contains(&format!("{public} (public)")), "{error}");
    assert!(error.contains(&format!("{private} (private)")), "{error}");
    let missing = route53.zone("Z0NOTTHERE").await.unwrap();
    let error = missing.records().await.unwrap_err();
    assert!(matches!(error, ProviderError::Zone { .. }), "{error}");
}

#[tokio::test]
async fn all_pages_are_read_and_a_change_is_followed_to_its_end() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let zone = stage.route53().zone("example.com").await.unwrap();
    let many: Vec<_> = (0..10)
        .map(|number| a(&format!("w{number}.example.com"), "192.0.2.1"))
        .collect();
    let alias = RecordSet {
        data: hafleet_dns::RecordData::Alias {
            zone: zone.zone().to_owned(),
            target: "w0.example.com".into(),
        },
        ..a("example.com", "")
    };
    let star = RecordSet::simple("*.example.com", RecordType::Txt, 60, ["\"x y\"".to_owned()]);
    let all: Vec<_> = many.into_iter().chain([alias, star]).collect();
    let batch: Vec<_> = all.iter().cloned().map(Change::Create).collect();
    let id = zone.change(&batch).await.unwrap();
    let is_in_sync = async || {
        zone.status(&id)
            .await
            .ok()
            .filter(|status| *status == ChangeStatus::InSync)
    };
    until("INSYNC", is_in_sync).await;
    let records = zone.records().await.unwrap();
    for set in &all {
        assert!(records.contains(set), "{set:?} is not in {records:?}");
    }
    let batch: Vec<_> = all.into_iter().map(Change::Delete).collect();
    zone.change(&batch).await.unwrap();
}

#[tokio::test]
async fn of_two_that_read_the_same_one_writes() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let zone = stage.route53().zone("example.com").await.unwrap();
    let first = [
        Change::Create(ownership(1)),
        Change::Create(a("www.example.com", "192.0.2.1")),
    ];
    zone.change(&first).await.unwrap();
    zone.change(&written(1, "192.0.2.2")).await.unwrap();
    let error = zone.change(&written(1, "192.0.2.3")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Rejected { .. }), "{error:?}");
    assert!(
        error.to_string().contains("_hafleet.www.example.com"),
        "{error}"
    );
    let error = zone.change(&first).await.unwrap_err();
    assert!(matches!(error, ProviderError::Rejected { .. }), "{error:?}");
    let records = zone.records().await.unwrap();
    assert!(
        records.contains(&a("www.example.com", "192.0.2.2")),
        "{records:?}"
    );
    assert!(records.contains(&ownership(2)));
}

/// What becomes of four changes at once, where `setting` lets one pass: the errors of the others.
async fn errors_of_four(setting: (&str, &str)) -> Vec<ProviderError> {
    let stage = Stage::start(&[setting]);
    stage.zone("example.com", false).await;
    let zone = stage.route53().zone("example.com").await.unwrap();
    let batches: Vec<_> = (0..4)
        .map(|number| {
            [Change::Create(a(
                &format!("w{number}.example.com"),
                "192.0.2.1",
            ))]
        })
        .collect();
    let changes = batches.iter().map(|batch| zone.change(batch));
    let answers = futures_util::future::join_all(changes).await;
    until("it is taken again", async || {
        let batch = [Change::Upsert(a("x.example.com", "192.0.2.1"))];
        zone.change(&batch).await.ok()
    })
    .await;
    answers.into_iter().filter_map(Result::err).collect()
}

#[tokio::test]
async fn who_is_asked_to_come_later_is_told_so() {
    for (setting, code) in [
        (("STRICT_R53_RPS", "1"), "Throttling"),
        (("STRICT_R53_PRIOR_MS", "3000"), "PriorRequestNotComplete"),
    ] {
        let errors = errors_of_four(setting).await;
        assert!(!errors.is_empty(), "{code}");
        for error in errors {
            let is_later = matches!(error, ProviderError::Throttled { .. });
            assert!(is_later && error.to_string().contains(code), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_down_leaves_it_open_and_comes_back() {
    let stage = Stage::start(&[]);
    stage.zone("example.com", false).await;
    let zone = stage.route53().zone("example.com").await.unwrap();
    stage.gate.set(Fault::Down);
    let batch = [Change::Create(a("w.example.com", "192.0.2.1"))];
    for error in [
        zone.change(&batch).await.map(|_| ()).unwrap_err(),
        zone.records().await.map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, ProviderError::Unknown { .. }), "{error:?}");
    }
    stage.gate.set(Fault::None);
    zone.change(&batch).await.unwrap();
    stage.gate.set(Fault::OtherPage);
    let error = zone.records().await.unwrap_err();
    assert!(matches!(error, ProviderError::Unknown { .. }), "{error:?}");
}

/// An endpoint that answers each request with `body`, and ends each answer by closing, so that HTTP cannot tell what is missing.
async fn endpoint(body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut asked, mut part) = (Vec::new(), [0; 4096]);
            // Both requests of the test have been sent whole when the head is there, or when the batch ends.
            while !asked.ends_with(b"\r\n\r\n")
                && !asked.ends_with(b"</ChangeResourceRecordSetsRequest>")
            {
                match stream.read(&mut part).await {
                    Ok(length) if length > 0 => asked.extend_from_slice(&part[..length]),
                    _ => break,
                }
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let half = "<?xml version=\"1.0\"?><ListResourceRecordSetsResponse><ResourceRecordSets><ResourceRecordSet>\
        <Name>a.example.com.</Name><Type>A</Type><TTL>30</TTL><ResourceRecords><ResourceRecord>\
        <Value>192.0.2.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></ResourceRecordSets>";
    let accepted = "<?xml version=\"1.0\"?><ChangeResourceRecordSetsResponse><ChangeInfo><Id>/change/C1</Id>\
        <Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>";
    let zone = async |body| {
        let settings = Route53Settings {
            endpoint: Some(endpoint(body).await),
            key: Some(StaticKey {
                id: KEY.into(),
                secret: "nobody checks it".into(),
            }),
            ..Route53Settings::default()
        };
        let route53 = Route53::new(settings, Budget::new(1000));
        route53.zone("Z0123").await.unwrap()
    };
    let error = zone(half).await.records().await.unwrap_err();
    assert!(matches!(error, ProviderError::Unknown { .. }), "{error:?}");
    assert!(error.to_string().contains("ends in the middle"), "{error}");
    let batch = [Change::Create(a("a.example.com", "192.0.2.1"))];
    let error = zone(accepted).await.change(&batch).await.unwrap_err();
    assert!(matches!(error, ProviderError::Unknown { .. }), "{error:?}");
}
