use super::*;

fn why(settings: &EtcdSettings) -> String {
    settings.check().unwrap_err().to_string()
}

#[test]
fn halves_of_a_pair_are_named() {
    let user = EtcdSettings {
        username: Some("agent".into()),
        ..EtcdSettings::default()
    };
    assert!(why(&user).contains("`password_file`"));
    let key = EtcdSettings {
        key: Some("/nowhere/key.pem".into()),
        ..EtcdSettings::default()
    };
    assert!(why(&key).contains("`certificate`"));
}

#[test]
fn files_that_are_not_there_are_named_with_their_setting() {
    let settings = EtcdSettings {
        ca: Some("/nowhere/ca.pem".into()),
        ..EtcdSettings::default()
    };
    assert!(why(&settings).contains("`ca`: /nowhere/ca.pem"));
}

#[test]
fn the_end_of_a_line_is_no_part_of_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "secret word \r\n").unwrap();
    let settings = EtcdSettings {
        username: Some("agent".into()),
        password_file: Some(file),
        ..EtcdSettings::default()
    };
    let loaded = settings.load().unwrap();
    assert_eq!(loaded.user.as_ref().unwrap().1.expose(), "secret word ");
    assert!(!format!("{loaded:?}").contains("secret word"));
}

#[test]
fn tls_without_an_authority_cannot_be_asked() {
    let error = Loaded::default().options("https://192.0.2.1:2379", Duration::from_secs(1));
    assert!(error.unwrap_err().to_string().contains("`ca`"));
}
