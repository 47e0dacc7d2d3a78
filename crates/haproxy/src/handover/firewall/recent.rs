//! Rules of iptables that match while an entry of the kernel's `recent` list is young (iptables-extensions(8), `recent`).
//! Arming is one write to `/proc/net/xt_recent`, which takes some microseconds.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::{ARMED, FirewallError, Target, call};

/// How long a call waits for the firewall's lock, should another program hold it.
const LOCK_SECS: &str = "3";

/// The rules of both families.
#[derive(Debug, Clone)]
pub(crate) struct RecentRules {
    chain: String,
    families: Vec<Family>,
}

#[derive(Debug, Clone, Copy)]
struct Family {
    program: &'static str,
    /// Distinguishes the lists of the two, which share a directory.
    suffix: &'static str,
    unspecified: &'static str,
}

fn both(programs: [&'static str; 2]) -> [Family; 2] {
    let [four, six] = programs;
    [
        Family {
            program: four,
            suffix: "-4",
            unspecified: "0.0.0.0",
        },
        Family {
            program: six,
            suffix: "-6",
            unspecified: "::",
        },
    ]
}

impl RecentRules {
    /// Puts the rules for `sockets` into `chain`, unarmed.
    pub(super) async fn install(
        programs: [&'static str; 2],
        chain: &str,
        target: Target,
        sockets: &[SocketAddr],
    ) -> Result<Self, FirewallError> {
        if !Self::remove(programs, chain).await {
            // Said in the program's own words by the first call that changes something.
            let [first, _] = both(programs);
            first.call(&["-N", chain]).await?;
        }
        let mut families = Vec::new();
        for family in both(programs) {
            let places: BTreeSet<_> = sockets
                .iter()
                .filter_map(|socket| family.destination(*socket))
                .collect();
            if places.is_empty() {
                continue;
            }
            families.push(family);
            family.call(&["-N", chain]).await?;
            for (address, port) in places {
                let words = family.rule(chain, address, port, target);
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                family.call(&words).await?;
            }
            family
                .call(&["-I", "INPUT", "-p", "tcp", "--syn", "-j", chain])
                .await?;
        }
        Ok(Self {
            chain: chain.to_owned(),
            families,
        })
    }

    /// Lets the rules match for [`ARMED`] at most.
    pub(super) fn arm(&self) -> Result<(), FirewallError> {
        self.write(|family| format!("+{}\n", family.unspecified))
    }

    /// Lets everything through again.
    pub(super) fn disarm(&self) -> Result<(), FirewallError> {
        self.write(|_| "/\n".to_owned())
    }

    fn write(&self, words: impl Fn(&Family) -> String) -> Result<(), FirewallError> {
        for family in &self.families {
            let path = PathBuf::from("/proc/net/xt_recent").join(family.list(&self.chain));
            fs::write(&path, words(family))
                .map_err(|source| FirewallError::Arm { path, source })?;
        }
        Ok(())
    }

    /// Removes the rules and the chain of a node; whether nothing is left.
    pub(super) async fn remove(programs: [&'static str; 2], chain: &str) -> bool {
        for family in both(programs) {
            if !family.remove(chain).await {
                return false;
            }
        }
        true
    }
}

impl Family {
    fn list(self, chain: &str) -> String {
        format!("{chain}{}", self.suffix)
    }

    /// What a rule of this family has to match to cover `socket`; none when it is the other family's. A wildcard
    /// IPv6 socket takes IPv4 too, unless it is told not to, and a rule too many does no harm.
    fn destination(self, socket: SocketAddr) -> Option<(Option<IpAddr>, u16)> {
        let address = socket.ip();
        let is_any = address.is_unspecified();
        let is_four = self.suffix == "-4";
        let is_mine = match address {
            IpAddr::V4(_) => is_four,
            IpAddr::V6(_) => is_any || !is_four,
        };
        is_mine.then(|| (Some(address).filter(|_| !is_any), socket.port()))
    }

    fn rule(self, chain: &str, address: Option<IpAddr>, port: u16, target: Target) -> Vec<String> {
        let list = self.list(chain);
        let seconds = ARMED.as_secs();
        let mut words = format!("-A {chain} -p tcp --syn --dport {port}");
        if let Some(address) = address {
            words.push_str(&format!(" -d {address}"));
        }
        let mask = self.unspecified;
        words.push_str(&format!(
            " -m recent --name {list} --rcheck --seconds {seconds} --rdest --mask {mask}"
        ));
        words.push_str(&match target {
            Target::Drop => " -j DROP".to_owned(),
            Target::Queue(number) => format!(" -j NFQUEUE --queue-num {number} --queue-bypass"),
        });
        words.split(' ').map(str::to_owned).collect()
    }

    async fn remove(self, chain: &str) -> bool {
        let jump = ["-D", "INPUT", "-p", "tcp", "--syn", "-j", chain];
        loop {
            match self.call(&jump).await {
                Ok(()) => {}
                Err(error) if is_absence(&error) => break,
                Err(_) => return false,
            }
        }
        for words in [["-F", chain], ["-X", chain]] {
            match self.call(&words).await {
                Err(error) if !is_absence(&error) => return false,
                _ => {}
            }
        }
        true
    }

    async fn call(self, arguments: &[&str]) -> Result<(), FirewallError> {
        // The one program that has a lock waits for it; the other takes the words and does not mind.
        let words: Vec<_> = ["-w", LOCK_SECS].iter().chain(arguments).copied().collect();
        call(self.program, &words, "").await.map(|_| ())
    }
}

/// Whether iptables says that there is no such rule or chain, rather than that it could not look (status 3 and above) or
/// could not be run. A program that is not installed has left nothing either.
fn is_absence(error: &FirewallError) -> bool {
    match error {
        FirewallError::Refused { status, .. } => matches!(status, Some(1 | 2)),
        FirewallError::Run { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_is_covered_in_its_families() {
        let [four, six] = both(["iptables", "ip6tables"]);
        let any6: SocketAddr = "[::]:80".parse().unwrap();
        let one4: SocketAddr = "192.0.2.1:81".parse().unwrap();
        assert_eq!(four.destination(any6), Some((None, 80)));
        assert_eq!(six.destination(any6), Some((None, 80)));
        assert_eq!(four.destination(one4), Some((Some(one4.ip()), 81)));
        assert_eq!(six.destination(one4), None);
    }

    #[test]
    fn every_rule_expires_by_itself() {
        for target in [Target::Drop, Target::Queue(7)] {
            for family in both(["iptables", "ip6tables"]) {
                let words = family.rule("C", None, 80, target).join(" ");
                assert!(words.contains("--rcheck --seconds 2"), "{words}");
                assert!(!words.contains("NFQUEUE") || words.contains("--queue-bypass"));
            }
        }
    }
}
