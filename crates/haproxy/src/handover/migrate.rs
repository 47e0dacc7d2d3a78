//! The kernel's own remedy: `net.ipv4.tcp_migrate_req`, by which what waits in a closing listener goes to another one of
//! the same `SO_REUSEPORT` group (Linux 5.14 and later; `Documentation/networking/ip-sysctl.rst`). It is for IPv6 too.
//!
//! It is set and left set. A handshake that is under way when the old process closes is moved when its last packet comes,
//! which can be a minute later; whoever took the setting back would lose it. It belongs to the network namespace, and to
//! other programs there it makes a difference only where they share ports, and the same one.

use std::fs::{self, OpenOptions};
use std::io;

const SETTING: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

/// Why the kernel cannot be made to move what closing listeners hold; none when it can, or does so already.
pub(crate) fn obstacle() -> Option<String> {
    match fs::read_to_string(SETTING) {
        Ok(value) if value.trim() != "0" => None,
        // Asked by opening it: access(2) leaves capabilities out, which an agent that is not root has instead.
        Ok(_) => OpenOptions::new()
            .write(true)
            .open(SETTING)
            .err()
            .map(|error| format!("net.ipv4.tcp_migrate_req is 0 and may not be set: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(
            "the kernel has no net.ipv4.tcp_migrate_req (Linux 5.14 and later have)".to_owned(),
        ),
        Err(error) => Some(format!("net.ipv4.tcp_migrate_req cannot be read: {error}")),
    }
}

/// Sees to it that the kernel does.
///
/// # Errors
/// When it may not be set.
pub(crate) fn enable() -> io::Result<()> {
    if fs::read_to_string(SETTING)?.trim() != "0" {
        return Ok(());
    }
    fs::write(SETTING, "1")?;
    tracing::info!("set net.ipv4.tcp_migrate_req to 1 for handovers");
    Ok(())
}
