//! Where a configuration listens, as far as its text tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// One address and TCP port that clients can connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Listener {
    /// The address; none for all addresses of the machine.
    pub address: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// The listeners of the `bind` lines in `text`. What is not a plain TCP address (UNIX and abstract sockets, QUIC, inherited
/// descriptors, names, port ranges, variables, other network namespaces) is left out: HAProxy has the last word on those.
pub(super) fn in_text(text: &str) -> Vec<Listener> {
    let mut listeners: Vec<_> = text.lines().flat_map(in_line).collect();
    listeners.sort_unstable();
    listeners.dedup();
    listeners
}

fn in_line(line: &str) -> Vec<Listener> {
    let mut words = line.split_whitespace();
    let (Some("bind"), Some(addresses)) = (words.next(), words.next()) else {
        return Vec::new();
    };
    let options: Vec<_> = words.take_while(|word| !word.starts_with('#')).collect();
    if options.contains(&"namespace") {
        return Vec::new();
    }
    let tls = options.contains(&"ssl");
    addresses
        .split(',')
        .filter_map(|address| parse(address, tls))
        .collect()
}

fn parse(text: &str, tls: bool) -> Option<Listener> {
    let text = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let address = match host {
        "" | "*" => None,
        host => Some(host.parse::<IpAddr>().ok()?).filter(|address| !any.contains(address)),
    };
    Some(Listener { address, port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_found_and_others_left_out() {
        let text = "frontend a\n bind [::]:80 v4v6\n bind 192.0.2.1:443,:8443 ssl crt x\n bind [2001:db8::1]:81\n\
                    bind unix@/x:1\n bind quic4@:443 ssl\n bind *:1-5\n bind $X:80\n bind abns@a\n\
                    \n bind :9 namespace n\n binding :7\n # bind :6\n";
        let found = in_text(text);
        let shown: Vec<_> = found
            .iter()
            .map(|l| format!("{:?} {} {}", l.address, l.port, l.tls))
            .collect();
        assert_eq!(
            shown,
            [
                "None 80 false",
                "None 8443 true",
                "Some(192.0.2.1) 443 true",
                "Some(2001:db8::1) 81 false"
            ]
        );
    }
}
