//! A wall clock of an agent's own, which can be set while the agent runs.
//!
//! libfaketime stands between the process and the C library's clock calls, through which Rust and HAProxy ask for the
//! time. The monotonic clock stays the machine's, as it does when somebody sets a real clock; a time namespace can do
//! only the opposite.

use std::fs;
use std::path::{Path, PathBuf};

use crate::agent::Settings;

/// Where Debian and Ubuntu have the library, by architecture.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// The file in an agent's home that says how far its clock is from the machine's.
const FILE: &str = "clock";

/// Gives the agent of `settings` such a clock, which shows the machine's time as yet. Its HAProxy has it too.
pub fn give(settings: &mut Settings) {
    let library = LIBRARIES.iter().find(|path| Path::new(path).exists());
    let library = library.expect("libfaketime is installed; `make test-deps` installs it");
    let file = file(settings);
    set(settings, 0);
    let told = [
        ("LD_PRELOAD", (*library).to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let told = told.map(|(name, value)| (name.to_owned(), value));
    settings.environment.extend(told);
}

/// Sets it so many seconds before or after the machine's.
pub fn set(settings: &Settings, seconds: i64) {
    let (file, new) = (file(settings), settings.home.join("clock.new"));
    // Whoever reads it meanwhile sees the old or the new one.
    fs::write(&new, format!("{seconds:+}\n")).expect("a clock's file");
    fs::rename(&new, &file).expect("a clock's file");
}

fn file(settings: &Settings) -> PathBuf {
    settings.home.join(FILE)
}
