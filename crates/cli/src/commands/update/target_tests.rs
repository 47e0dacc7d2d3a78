use super::*;

#[test]
fn a_replaced_file_is_not_loaded_until_it_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("haproxy.cfg");
    let target = Target::lock(&path).unwrap();
    assert_eq!(target.text().unwrap(), None);
    assert!(target.is_loaded(), "there is nothing to load");
    target.replace(target.candidate("one\n").unwrap()).unwrap();
    assert_eq!(target.text().unwrap().as_deref(), Some("one\n"));
    assert!(!target.is_loaded());
    drop(target);
    let target = Target::lock(&path).unwrap();
    assert!(!target.is_loaded(), "the next update knows");
    target.loaded().unwrap();
    assert!(target.is_loaded());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "only the file is left"
    );
}

#[test]
fn one_update_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("haproxy.cfg");
    let first = Target::lock(&path).unwrap();
    assert_eq!(Target::lock(&path).unwrap_err().exit, Exit::Refused);
    drop(first);
    assert!(Target::lock(&path).is_ok());
}

#[test]
fn permissions_stay_and_links_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("real.cfg"), dir.path().join("haproxy.cfg"));
    fs::write(&file, "one\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let target = Target::lock(&link).unwrap();
    target.replace(target.candidate("two\n").unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o640
    );
}
