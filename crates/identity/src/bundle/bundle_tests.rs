use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

/// A certificate with its key, both as PEM, and what it needs to sign others.
struct Made {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str, days: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example.com")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let at = |days: i64| {
        let span = Duration::from_secs(86_400 * days.unsigned_abs());
        let now = SystemTime::now();
        let at = if days < 0 { now - span } else { now + span };
        at.into()
    };
    (params.not_before, params.not_after) = (at(days.0), at(days.1));
    params.use_authority_key_identifier_extension = true;
    params
}

fn make(name: &str, days: (i64, i64), signer: Option<&Made>) -> Made {
    let mut params = params(name, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = match signer {
        Some(signer) => params.signed_by(&key, &signer.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        issuer: Issuer::new(params, key),
    }
}

/// A root, what it signed, and what that signed.
fn three() -> [Made; 3] {
    let root = make("root", (-1, 90), None);
    let middle = make("middle", (-1, 90), Some(&root));
    let leaf = make("www", (-1, 90), Some(&middle));
    [leaf, middle, root]
}

fn refusal(texts: &[&str]) -> BundleError {
    Bundle::read(texts.iter().copied()).unwrap_err()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_order_becomes_the_right_one(
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        is_one_file in any::<bool>(),
    ) {
        let made = three();
        let parts = [&made[0].key, &made[0].certificate, &made[1].certificate, &made[2].certificate];
        let texts: Vec<_> = order.iter().map(|at| parts[*at].as_str()).collect();
        let bundle = if is_one_file {
            Bundle::read([texts.join("# a remark\n\n").as_str()])
        } else {
            Bundle::read(texts)
        };
        let bundle = bundle.unwrap();
        prop_assert_eq!(&bundle.leaf().subject, "CN=www");
        let chain: Vec<_> = bundle.chain().iter().map(|signer| signer.subject.as_str()).collect();
        prop_assert_eq!(chain, ["CN=middle", "CN=root"]);
        let wanted: String = [1, 2, 3, 0].iter().map(|at| parts[*at].as_str()).collect();
        prop_assert_eq!(bundle.pem().expose(), wanted.replace('\r', ""));
        // What was put in order is left as it is.
        prop_assert_eq!(Bundle::read([bundle.pem().expose()]).unwrap(), bundle);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(-----(BEGIN|END) (PRIVATE KEY|CERTIFICATE|X)-----\n|[a-z=A+/]{0,70}\n|MII\n){0,8}") {
        let _ = Bundle::read([text.as_str()]);
    }
}

#[test]
fn facts_are_those_that_people_and_haproxy_compare() {
    let made = make("www", (-1, 90), None);
    let bundle = Bundle::read([made.certificate.as_str(), &made.key]).unwrap();
    let leaf = bundle.leaf();
    assert_eq!(leaf.names, ["www.example.com"]);
    assert_eq!((leaf.sha1.len(), leaf.sha256.len()), (40, 64));
    assert_eq!(leaf.key, "ECDSA 256");
    assert!(bundle.warnings().is_empty() && leaf.is_self_issued);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let [leaf, middle, root] = three();
    let (www, key) = (leaf.certificate.as_str(), leaf.key.as_str());
    let other = make("other", (-1, 90), None);
    let wrong = refusal(&[www, &other.key]);
    assert_eq!(
        wrong,
        BundleError::WrongKey {
            subjects: "CN=www".into()
        }
    );
    let strangers = BundleError::Strangers {
        subjects: "CN=other".into(),
    };
    assert_eq!(refusal(&[www, key, &other.certificate]), strangers);
    // What stands between is missing.
    let gap = BundleError::Strangers {
        subjects: "CN=root".into(),
    };
    assert_eq!(refusal(&[www, key, &root.certificate]), gap);
    assert_eq!(refusal(&[www]), BundleError::NoKey);
    assert_eq!(refusal(&[key]), BundleError::NoCertificate);
    assert_eq!(refusal(&[]), BundleError::NoCertificate);
    assert_eq!(
        refusal(&[www, key, &other.key]),
        BundleError::ManyKeys { count: 2 }
    );
    // The same file twice is no harm.
    assert!(Bundle::read([www, key, www, key, &middle.certificate]).is_ok());
}

#[test]
fn an_authority_of_the_same_name_and_another_key_is_no_signer() {
    let old = make("root", (-1, 90), None);
    let new = make("root", (-1, 90), None);
    let leaf = make("www", (-1, 90), Some(&new));
    let texts = [leaf.certificate.as_str(), &leaf.key, &old.certificate];
    assert!(matches!(refusal(&texts), BundleError::Strangers { .. }));
}

#[test]
fn what_is_cut_or_encrypted_or_of_no_use_is_named() {
    let made = make("www", (-1, 90), None);
    let (www, key) = (made.certificate.as_str(), made.key.as_str());
    let half = &key[..key.len() / 2];
    assert_eq!(refusal(&[www, half]), BundleError::CutShort);
    let bent = key.replacen("MI", "%%", 1);
    assert!(matches!(
        refusal(&[www, &bent]),
        BundleError::Malformed { .. }
    ));
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert_eq!(refusal(&[www, &encrypted]), BundleError::EncryptedKey);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(refusal(&[www, old]), BundleError::EncryptedKey);
    let request = www.replace("CERTIFICATE", "CERTIFICATE REQUEST");
    assert!(
        refusal(&[&request])
            .to_string()
            .contains("CERTIFICATE REQUEST")
    );
}

#[test]
fn each_of_the_chain_has_to_be_valid() {
    let root = make("root", (-9, -1), None);
    let leaf = make("www", (-1, 90), Some(&root));
    let read = |signer: &Made, leaf: &Made| {
        Bundle::read([leaf.certificate.as_str(), &leaf.key, &signer.certificate]).unwrap()
    };
    let error = read(&root, &leaf).check_time(Timestamp::now()).unwrap_err();
    assert!(error.to_string().starts_with("CN=root expired"), "{error}");
    let root = make("root", (-1, 90), None);
    let leaf = make("www", (1, 90), Some(&root));
    let error = read(&root, &leaf).check_time(Timestamp::now()).unwrap_err();
    assert!(matches!(error, BundleError::NotYetValid { .. }), "{error}");
}

#[test]
fn a_missing_chain_is_a_warning() {
    let [leaf, ..] = three();
    let bundle = Bundle::read([leaf.certificate.as_str(), &leaf.key]).unwrap();
    assert!(
        bundle.warnings()[0].contains("CN=middle"),
        "{:?}",
        bundle.warnings()
    );
}

#[test]
fn no_key_is_shown() {
    let made = make("www", (-1, 90), None);
    let bundle = Bundle::read([made.certificate.as_str(), &made.key]).unwrap();
    let secret = made.key.lines().nth(1).unwrap();
    assert!(bundle.pem().expose().contains(secret));
    assert!(!format!("{bundle:?}").contains(secret));
}
