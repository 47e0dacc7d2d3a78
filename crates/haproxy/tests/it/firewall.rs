//! The firewall as tests see it.

use std::path::Path;
use std::process::Command;

/// Whether all `programs` are installed; says which is missing and that the test is skipped.
pub(crate) fn has(programs: &[&str]) -> bool {
    let dirs = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
    let is_here = |name: &&&str| dirs.iter().any(|dir| Path::new(dir).join(name).is_file());
    let missing = programs.iter().find(|name| !is_here(name));
    if let Some(name) = missing {
        eprintln!("skipped: {name} is not installed");
    }
    missing.is_none()
}

/// All rules that are ours, in every firewall that the machine has.
pub(crate) fn rules() -> String {
    let lists: [(&str, &[&str]); 5] = [
        ("iptables-legacy", &["-S"]),
        ("ip6tables-legacy", &["-S"]),
        ("iptables-nft", &["-S"]),
        ("ip6tables-nft", &["-S"]),
        ("nft", &["list", "ruleset"]),
    ];
    let all = lists.iter().filter_map(|(program, arguments)| {
        let output = Command::new(program).args(*arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    let all = all.collect::<String>();
    all.lines()
        .filter(|line| line.to_ascii_lowercase().contains("hafleet-"))
        .collect::<Vec<_>>()
        .join("\n")
}
