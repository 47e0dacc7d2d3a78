//! Where a configuration listens, as far as its text tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// One address and TCP port that clients can connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Listener {
    /// The address; none for all addresses of the machine, `::` for all its IPv6 addresses.
    pub address: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl Listener {
    /// Whether both are the same address and port, TLS or not.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (self.address, self.port) == (other.address, other.port)
    }

    /// Whether a socket on `taken` would get connections that are meant for this listener. A wildcard IPv6 socket is
    /// taken to be IPv6 only here, which cannot be told from outside: the kernel refuses it if it is not.
    pub(crate) fn overlaps(&self, taken: SocketAddr) -> bool {
        let is_same_address = match self.address {
            None => true,
            Some(address) => {
                let is_same_family = address.is_ipv4() == taken.is_ipv4();
                let is_any = address.is_unspecified() || taken.ip().is_unspecified();
                address == taken.ip() || (is_same_family && is_any)
            }
        };
        is_same_address && self.port == taken.port()
    }
}

/// The listeners of the `bind` lines in `text`. What is not a plain TCP address (UNIX and abstract sockets, QUIC, inherited
/// descriptors, names, port ranges, variables, other network namespaces) is left out: HAProxy has the last word on those.
pub(super) fn in_text(text: &str) -> Vec<Listener> {
    let mut listeners: Vec<_> = text.lines().flat_map(in_line).collect();
    listeners.sort_unstable();
    listeners.dedup();
    listeners
}

/// The listeners of one line.
pub(super) fn in_line(line: &str) -> Vec<Listener> {
    let mut words = line.split_whitespace();
    let (Some("bind"), Some(addresses)) = (words.next(), words.next()) else {
        return Vec::new();
    };
    let options: Vec<_> = words.take_while(|word| !word.starts_with('#')).collect();
    if options.contains(&"namespace") {
        return Vec::new();
    }
    let tls = options.contains(&"ssl");
    let is_v6_only = options.contains(&"v6only");
    addresses
        .split(',')
        .filter_map(|address| parse(address, tls, is_v6_only))
        .collect()
}

fn parse(text: &str, tls: bool, is_v6_only: bool) -> Option<Listener> {
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
        "::" if is_v6_only => Some(Ipv6Addr::UNSPECIFIED.into()),
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
