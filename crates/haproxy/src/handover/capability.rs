//! Whether this agent may change the firewall.

use std::fs;

use super::FirewallChoice;

/// The bit of `CAP_NET_ADMIN` in the kernel's masks (capabilities(7)).
const CAP_NET_ADMIN: u32 = 12;

/// Why first packets can be neither dropped nor held here; none when they can, as far as can be told without touching the
/// firewall.
pub(crate) fn firewall_obstacle(choice: FirewallChoice) -> Option<String> {
    if !has_net_admin() {
        return Some("the agent lacks CAP_NET_ADMIN".to_owned());
    }
    choice
        .missing()
        .map(|program| format!("{program} is not installed"))
}

fn has_net_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAP_NET_ADMIN) != 0)
}
