//! Whatever is given as a certificate with its key, as a request for one, as a list of revoked ones, as a join token, or as
//! something that was sealed, is read or refused; and nothing counts that no authority of ours has signed.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use hafleet_identity::certificate::{self, Serial};
use hafleet_identity::revocation::RevocationList;
use hafleet_identity::sealing::{KeyId, Recipient, SealedKey, SealedText};
use hafleet_identity::{Authority, Bundle, Identity, IssueRequest, JoinToken, NodeIssuer};
use hafleet_model::{FleetName, NodeId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static OURS: OnceLock<Ours> = OnceLock::new();
    let ours = OURS.get_or_init(Ours::new);
    ours.lists(bytes);
    ours.requests(bytes);
    let _ = certificate::facts(&bytes.into());
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(bundle) = Bundle::read([text]) {
        let again = Bundle::read([bundle.pem().expose()]).expect("what is in order stays so");
        assert_eq!(again.pem(), bundle.pem());
    }
    let _ = certificate::describe(text);
    sealed(text);
    words(text);
});

/// An authority and an issuer of which nobody else has the keys.
struct Ours {
    authority: Authority,
    issuer: NodeIssuer,
}

impl Ours {
    fn new() -> Self {
        let fleet = FleetName::new("shop").expect("a name");
        let authority = Authority::create(fleet.clone()).expect("keys");
        let lasting = Duration::from_secs(3600);
        let issued = authority.make_issuer("lb1", lasting, SystemTime::now());
        let place = tempfile::tempdir().expect("a temporary directory");
        let saved = issued.expect("an issuer").save_issuer(place.path());
        saved.expect("it is written");
        let file = |name: &str| place.path().join(Path::new(name));
        let issuer = NodeIssuer::load(&fleet, &file("issuer.pem"), &file("issuer-key.pem"));
        Self {
            authority,
            issuer: issuer.expect("what was written"),
        }
    }

    fn lists(&self, list: &[u8]) {
        assert!(
            self.authority.examine(list).is_err(),
            "nobody has signed it"
        );
        assert!(
            RevocationList::verified(list, &[]).is_err(),
            "nobody can have signed it"
        );
    }

    /// A certificate says what the issuer was told, and nothing of what the request says but its key.
    fn requests(&self, request: &[u8]) {
        let node = NodeId::new("lb7").expect("a name");
        let address = [192, 0, 2, 7].into();
        let wanted = IssueRequest::node(node.clone(), vec![address]);
        let Ok(pem) = self.issuer.certify(request, &wanted, SystemTime::now()) else {
            return;
        };
        let facts = certificate::describe(&pem).expect("a certificate of ours");
        assert_eq!(
            facts.identity.as_ref().and_then(Identity::node_id),
            Some(&node)
        );
        assert_eq!(facts.addresses, [address]);
        assert!(!facts.is_authority, "a request made an authority");
    }
}

fn sealed(text: &str) {
    if let Ok(sealed) = SealedText::parse(text) {
        let again = SealedText::parse(&sealed.body()).expect("it reads back");
        assert_eq!(again, sealed);
    }
    let _ = (text.parse::<Recipient>(), text.parse::<SealedKey>());
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string(), text);
    }
}

fn words(text: &str) {
    if let Ok(token) = text.parse::<JoinToken>() {
        let again = token.to_text().expose().parse::<JoinToken>();
        assert_eq!(again.as_ref(), Ok(&token));
    }
    if let Ok(identity) = Identity::from_uri(text) {
        assert_eq!(identity.to_uri(), text, "two texts for one identity");
    }
    if let Ok(serial) = text.parse::<Serial>() {
        let again = serial.to_string().parse::<Serial>();
        assert_eq!(again.ok(), Some(serial));
    }
}
