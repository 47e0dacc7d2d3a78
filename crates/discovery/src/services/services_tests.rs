use hafleet_model::endpoints::{Service, ServiceKind};
use hafleet_model::secrets::{CertificateName, Confidential};
use proptest::prelude::*;

use super::*;

const PREFIX: &str = "/haproxy-prod/";

/// Takes PEMs that say `good`, and has the certificate `www.pem` and that of the service `held`.
#[derive(Debug)]
struct Fleet;

impl Certificates for Fleet {
    fn read(&self, pem: &Confidential) -> Result<Confidential, String> {
        let is_good = pem.expose().contains("good");
        is_good
            .then(|| Confidential::new("in order"))
            .ok_or_else(|| "it has no key".to_owned())
    }

    fn has(&self, name: &CertificateName) -> bool {
        ["www.pem", "etcd-held.pem"].contains(&name.as_str())
    }
}

fn read(pairs: &[(&str, &str)]) -> Answer {
    let keys = pairs
        .iter()
        .map(|(key, value)| (format!("{PREFIX}{key}"), *value));
    answer(PREFIX, &keys.collect(), &Fleet)
}

fn names(answer: &Answer) -> Vec<&str> {
    let services = answer.services.iter();
    services.map(|service| service.name.as_str()).collect()
}

fn why<'a>(answer: &'a Answer, what: &str) -> &'a str {
    let what = format!("{PREFIX}{what}");
    let mut left_out = answer.left_out.iter();
    left_out.find(|item| item.what == what).map_or_else(
        || panic!("{what} is not left out: {answer:?}"),
        |item| item.why.as_str(),
    )
}

#[test]
fn services_come_with_all_that_they_say() {
    let answer = read(&[
        ("services/shop/domain", "Shop.Test.\n"),
        ("services/shop/url_beg", "/cart"),
        ("services/shop/port", " 8080 "),
        ("services/shop/balance", "uri  depth 2"),
        ("services/shop/cert", "www.pem"),
        ("tcp-services/db/external_port", "15432"),
        ("tcp-services/db/internal_port", "5432"),
        ("tcp-services/db/upstreams/b", "192.0.2.8:5433"),
        ("tcp-services/db/upstreams/a", "192.0.2.7"),
        ("config/maxconn", "5"),
    ]);
    assert_eq!(answer.left_out, []);
    let shop = Service {
        name: "shop".into(),
        port: 8080,
        balance: Some("uri depth 2".into()),
        upstreams: Vec::new(),
        kind: ServiceKind::Http {
            domain: Some("shop.test".into()),
            path_prefix: Some("/cart".into()),
            certificate: Some("www.pem".into()),
        },
    };
    let db = Service {
        name: "db".into(),
        port: 5432,
        balance: None,
        upstreams: vec![([192, 0, 2, 7], 5432).into(), ([192, 0, 2, 8], 5433).into()],
        kind: ServiceKind::Tcp {
            external_port: 15432,
        },
    };
    assert_eq!(answer.services, [shop, db]);
}

#[test]
fn a_service_that_cannot_be_used_is_named_with_all_its_faults_and_the_others_work() {
    let answer = read(&[
        ("services/empty/url_beg", ""),
        ("services/good/url_beg", "/good"),
        ("services/good/port", "80"),
        ("services/wrong/domain", "a b"),
        ("services/wrong/url_beg", "api"),
        ("services/wrong/port", "0"),
        ("services/wrong/balance", "fair"),
        ("services/no name/url_beg", "/x"),
        ("services/no name/port", "80"),
        ("tcp-services/half/external_port", "99999"),
    ]);
    assert_eq!(names(&answer), ["good"]);
    for words in ["`port` is missing", "neither `domain` nor `url_beg`"] {
        assert!(why(&answer, "services/empty").contains(words));
    }
    for words in ["`domain`: ", "`url_beg`: ", "`port`: ", "`balance`: "] {
        assert!(why(&answer, "services/wrong").contains(words));
    }
    assert!(why(&answer, "services/no name").contains("not a name for HAProxy"));
    for words in ["`internal_port` is missing", "`external_port`: "] {
        assert!(why(&answer, "tcp-services/half").contains(words));
    }
}

#[test]
fn keys_that_mean_nothing_are_named_and_the_service_works() {
    let answer = read(&[
        ("services/shop/domain", "shop.test"),
        ("services/shop/port", "80"),
        ("services/shop/certs", "x"),
        ("services/shop/upstreams/a", "192.0.2.7"),
        ("services/shop/upstreams/b", "shop-2.internal"),
    ]);
    assert_eq!(names(&answer), ["shop"]);
    assert_eq!(answer.services[0].upstreams, [([192, 0, 2, 7], 80).into()]);
    assert!(why(&answer, "services/shop/certs").contains("is no key of a service"));
    assert!(why(&answer, "services/shop/upstreams/b").contains("not an IP address"));
}

#[test]
fn a_service_whose_upstreams_are_all_wrong_is_not_looked_for_in_dns() {
    let answer = read(&[
        ("services/shop/domain", "shop.test"),
        ("services/shop/port", "80"),
        ("services/shop/upstreams/a", "nowhere"),
    ]);
    assert!(answer.services.is_empty());
    assert!(why(&answer, "services/shop").contains("none of its `upstreams`"));
}

#[test]
fn certificates_come_along_checked() {
    let pem = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n");
    let (good, bad) = (pem("good"), pem("bad"));
    let service = |name: &str, cert: &str| {
        [
            ("url_beg", format!("/{name}")),
            ("port", "80".into()),
            ("cert", cert.into()),
        ]
        .map(|(key, value)| (format!("{PREFIX}services/{name}/{key}"), value))
    };
    let keys = ["a:b", "broken", "held", "other"]
        .into_iter()
        .zip([good.as_str(), &bad, &bad, "unknown.pem"])
        .flat_map(|(name, cert)| service(name, cert));
    let answer = answer(PREFIX, &keys.collect(), &Fleet);
    assert_eq!(names(&answer), ["a:b", "held"]);
    let held: Vec<_> = answer.certificates.iter().collect();
    let name = CertificateName::new("etcd-a@b.pem").unwrap();
    assert_eq!(held, [(&name, &Confidential::new("in order"))]);
    assert!(why(&answer, "services/broken").contains("`cert`: it has no key"));
    assert!(why(&answer, "services/held/cert").contains("serves on"));
    assert!(why(&answer, "services/other").contains("no certificate unknown.pem"));
}

#[test]
fn what_two_services_want_the_first_by_name_gets() {
    let answer = read(&[
        ("services/a/url_beg", "/x/"),
        ("services/a/port", "80"),
        ("services/b/url_beg", "/x"),
        ("services/b/port", "80"),
        ("tcp-services/a/external_port", "1000"),
        ("tcp-services/a/internal_port", "80"),
        ("tcp-services/c/external_port", "1001"),
        ("tcp-services/c/internal_port", "80"),
        ("tcp-services/d/external_port", "1001"),
        ("tcp-services/d/internal_port", "81"),
    ]);
    assert_eq!(names(&answer), ["a", "c"]);
    assert!(why(&answer, "services/b").contains("\"a\""));
    assert!(why(&answer, "tcp-services/a").contains("an HTTP service has the same name"));
    assert!(why(&answer, "tcp-services/d").contains("\"c\""));
}

#[test]
fn only_algorithms_that_haproxy_takes_are_let_through() {
    for good in [
        "roundrobin",
        "uri depth 3",
        "hdr(X-User)",
        "url_param id",
        "random",
    ] {
        assert_eq!(values::http_balance(good).as_deref(), Ok(good));
    }
    for bad in [
        "uri depth x",
        "uri depth 0",
        "hdr()",
        "hdr(a b)",
        "leastconn 1",
        "url_param",
        "hash x",
        "",
    ] {
        assert!(values::http_balance(bad).is_err(), "{bad}");
    }
    assert!(values::tcp_balance("leastconn").is_ok());
    assert!(values::tcp_balance("uri").is_err());
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("services".to_owned()),
        Just("tcp-services".to_owned()),
        Just("upstreams".to_owned()),
        Just("port".to_owned()),
        Just("domain".to_owned()),
        Just("external_port".to_owned()),
        "[a-b]{0,2}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_written_there_panics(
        pairs in prop::collection::vec((prop::collection::vec(part(), 0..5), any::<Vec<u8>>()), 0..12)
    ) {
        let keys = pairs
            .into_iter()
            .map(|(parts, value)| (format!("{PREFIX}{}", parts.join("/")), value));
        let _ = answer(PREFIX, &keys.collect(), &Fleet);
    }

    #[test]
    fn what_is_let_through_is_a_route(domain in any::<String>(), path in any::<String>(), port in any::<String>()) {
        let answer = read(&[
            ("services/a/domain", &domain),
            ("services/a/url_beg", &path),
            ("services/a/port", &port),
        ]);
        for service in answer.services {
            prop_assert!(service.port > 0);
            let ServiceKind::Http { domain, path_prefix, .. } = service.kind else {
                return Err(TestCaseError::fail("it is HTTP"));
            };
            prop_assert!(domain.is_some() || path_prefix.is_some());
            prop_assert!(path_prefix.is_none_or(|path| path.starts_with('/')));
        }
    }
}
