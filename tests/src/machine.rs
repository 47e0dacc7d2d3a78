//! What tests need of the machine: root for namespaces, the `hafleet` program, and a Python.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether this process may make network namespaces. Says why when it may not, so that a test can return early:
/// `make test` run as root leaves none out.
pub fn can_make_namespaces() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: network namespaces need root, and this is not root");
        return false;
    }
    for program in ["ip", "nft", "haproxy"] {
        let found = Command::new(program)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            found.is_ok(),
            "{program} is not installed; `make test` installs what the tests need"
        );
    }
    true
}

/// The `hafleet` program under test: `HAFLEET_BIN`, or the one built beside this test.
///
/// # Panics
/// When it is not there.
pub fn hafleet() -> PathBuf {
    if let Some(path) = env::var_os("HAFLEET_BIN") {
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "HAFLEET_BIN is {}, and no file is there",
            path.display()
        );
        return path;
    }
    let own = env::current_exe().expect("a process knows its own program");
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("hafleet"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "hafleet is not built beside {}; `make test` and `make bench` build it first",
            own.display()
        )
    })
}

/// The `hafleet` program of an earlier version: `HAFLEET_PREVIOUS`, which `make upgrade-test FROM=REVISION` builds. None
/// where there is none, and then this version has to do for its own predecessor.
///
/// # Panics
/// When it is not where it was said to be.
pub fn previous_hafleet() -> Option<PathBuf> {
    let Some(path) = env::var_os("HAFLEET_PREVIOUS").map(PathBuf::from) else {
        eprintln!("HAFLEET_PREVIOUS is not set: this program is replaced by itself");
        return None;
    };
    let place = path.display();
    assert!(
        path.is_file(),
        "HAFLEET_PREVIOUS is {place}, and no file is there"
    );
    Some(path)
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests are a folder of the repository")
}

/// The interpreter with grpcio and its tools; none when it is missing and that was allowed.
///
/// # Panics
/// When it is missing and `HAFLEET_ALLOW_SKIP` is not set.
pub fn python() -> Option<PathBuf> {
    let own = || repository().join(".tools/venv/bin/python");
    let python = env::var_os("HAFLEET_PYTHON").map_or_else(own, PathBuf::from);
    if python.is_file() {
        return Some(python);
    }
    let missing = format!(
        "{} is not there: `make test-tools` installs it",
        python.display()
    );
    assert!(env::var_os("HAFLEET_ALLOW_SKIP").is_some(), "{missing}");
    eprintln!("left out: {missing}");
    None
}
