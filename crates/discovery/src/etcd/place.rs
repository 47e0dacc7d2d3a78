//! Addresses as people write them into keys.

use std::net::{IpAddr, SocketAddr};

/// An IP address with or without a port.
pub(crate) fn place(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let with_port = |place: SocketAddr| (place.ip(), Some(place.port()));
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let alone = bare.parse().map(|ip| (ip, None));
    alone.or_else(|_| text.parse().map(with_port)).map_err(|_| {
        format!(
            "{:?} is not an IP address with or without a port: write 192.0.2.7:8080 or [2001:db8::7]:8080",
            short(text)
        )
    })
}

/// The beginning of a text, for messages.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
