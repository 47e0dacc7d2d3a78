use super::*;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

fn name(text: &str) -> CertificateName {
    CertificateName::new(text).unwrap()
}

fn one() -> Secrets {
    let mut secrets = Secrets::default();
    secrets
        .put(name("www.pem"), Confidential::new(KEY))
        .unwrap();
    secrets
}

#[test]
fn what_is_written_reads_back() {
    let secrets = one();
    let body = secrets.body();
    assert!(
        body.starts_with(r#"{"version":1,"certificates":{"www.pem":{"pem":"#),
        "{}",
        body.as_str()
    );
    assert_eq!(Secrets::parse(&body).unwrap(), secrets);
}

#[test]
fn only_a_difference_is_a_change() {
    let mut secrets = one();
    let mut put = |text: &str| {
        secrets
            .put(name("www.pem"), Confidential::new(text))
            .unwrap()
    };
    assert!(!put(KEY));
    assert!(put("another"));
    assert!(secrets.remove(&name("www.pem")));
    assert!(!secrets.remove(&name("www.pem")));
}

#[test]
fn bodies_that_are_none_are_refused_without_quoting_them() {
    let bodies = [
        "",
        "c2VjcmV0",
        r#"{"version":1}"#,
        r#"{"version":1,"certificates":"c2VjcmV0"}"#,
        r#"{"version":1,"certificates":{"a":"c2VjcmV0"}}"#,
        r#"{"version":1,"certificates":{"a":{"pem":{"c2VjcmV0":1}}}}"#,
        r#"{"version":2,"certificates":{"a":{"pem":"c2VjcmV0"}}}"#,
        r#"{"version":1,"certificates":{"../a":{"pem":"c2VjcmV0"}}}"#,
    ];
    for body in bodies {
        let error = Secrets::parse(body).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("c2V"), "{error}");
    }
}

#[test]
fn a_key_is_in_no_debug_output() {
    let shown = format!("{:?} {:#?}", one(), one());
    assert!(
        shown.contains("www.pem") && shown.contains("bytes"),
        "{shown}"
    );
    assert!(
        !shown.contains("c2V") && !shown.contains("BEGIN"),
        "{shown}"
    );
}

#[test]
fn names_are_those_of_files_that_stand_alone() {
    for text in ["www.pem", "www.example.com", "a", "wild+card@2"] {
        assert_eq!(name(text).as_str(), text);
    }
    let long = "x".repeat(129);
    for text in [
        "", ".pem", "a/b", "..", "a b", "ü", "a.ocsp", "a.key", "a\n", &long,
    ] {
        assert!(CertificateName::new(text).is_err(), "{text}");
    }
}

#[test]
fn too_much_is_refused() {
    let mut secrets = one();
    let long = "x".repeat(MAX_PEM_BYTES + 1);
    let error = secrets.put(name("a"), Confidential::new(long)).unwrap_err();
    assert!(matches!(error, SecretsError::TooLong { .. }));
    for number in 1..MAX_CERTIFICATES {
        let pem = Confidential::new("x");
        secrets.put(name(&number.to_string()), pem).unwrap();
    }
    let error = secrets.put(name("a"), Confidential::new("x"));
    assert_eq!(error, Err(SecretsError::TooMany));
    assert_eq!(secrets.put(name("1"), Confidential::new("y")), Ok(true));
}
