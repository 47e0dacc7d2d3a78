//! The values of a service's keys. Each function takes a text without space around it, and says why it is none.

use std::net::SocketAddr;

use crate::etcd::place::{place, short};

/// The longest name of a domain (RFC 1035, section 2.3.4), in bytes.
const MAX_DOMAIN_BYTES: usize = 253;

/// The longest beginning of a path, in bytes.
const MAX_PATH_BYTES: usize = 255;

/// The longest name of a service, in bytes: those of its certificate and its frontend are a little longer.
const MAX_NAME_BYTES: usize = 110;

/// Algorithms that need no argument and no request (Configuration Manual, section 4.2, `balance`).
const PLAIN_ALGORITHMS: [&str; 6] = [
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "source",
    "random",
];

/// A service's name has to be one of HAProxy's (Configuration Manual, section 4, "Proxies").
pub(super) fn name(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "{:?} is not a name for HAProxy: use 1 to {MAX_NAME_BYTES} of A-Z, a-z, 0-9, '-', '_', '.' and ':'",
        short(text)
    ))
}

/// A TCP port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("{:?} is not a port: 1 to 65535 are", short(text)))
}

/// A host as requests name it, in lower case; `*.example.com` is all names below that one.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    let name = text.strip_prefix("*.").unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = !name.is_empty() && name.split('.').all(|label| !label.is_empty());
    if is_name && text.len() <= MAX_DOMAIN_BYTES && name.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{:?} is not a host: write one name without port, such as www.example.com or *.example.com",
        short(text)
    ))
}

/// The beginning of a path.
pub(super) fn path(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_graphic() && c != '?' && c != '#';
    if text.starts_with('/') && text.len() <= MAX_PATH_BYTES && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{:?} is not a path: it begins with / and has no space, ? or #",
        short(text)
    ))
}

/// An algorithm for HTTP with arguments that HAProxy takes. One that it refuses would keep the whole configuration from
/// being used, so only forms that are known to be good are let through.
pub(super) fn http_balance(text: &str) -> Result<String, String> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let is_number = |word: &str| {
        (1..=4).contains(&word.len()) && word.parse().is_ok_and(|number: u16| number > 0)
    };
    let is_token = |word: &str| {
        (1..=64).contains(&word.len())
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    let header = |word: &str| {
        let name = word
            .strip_prefix("hdr(")
            .and_then(|rest| rest.strip_suffix(')'));
        name.is_some_and(is_token)
    };
    let is_good = match words.as_slice() {
        ["uri"] => true,
        ["uri", "depth" | "len", number] => is_number(number),
        ["url_param", parameter] => is_token(parameter),
        [word] => PLAIN_ALGORITHMS.contains(word) || header(word),
        _ => false,
    };
    if is_good {
        return Ok(words.join(" "));
    }
    Err(format!(
        "{:?} is not an algorithm: one of {}, uri, uri depth <n>, url_param <name>, hdr(<name>)",
        short(text),
        PLAIN_ALGORITHMS.join(", ")
    ))
}

/// An algorithm for TCP.
pub(super) fn tcp_balance(text: &str) -> Result<String, String> {
    if PLAIN_ALGORITHMS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{:?} is not an algorithm for TCP: one of {}",
        short(text),
        PLAIN_ALGORITHMS.join(", ")
    ))
}

/// A server of a service: an address and a port, which is the service's own if it says none.
pub(super) fn upstream(text: &str, port: u16) -> Result<SocketAddr, String> {
    match place(text.trim())? {
        (_, Some(0)) => Err("0 is not a port: 1 to 65535 are".to_owned()),
        (ip, own) => Ok(SocketAddr::new(ip, own.unwrap_or(port))),
    }
}
