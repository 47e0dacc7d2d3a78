//! The `global` and `defaults` sections: the spec's settings, and hafleet's defaults for what it leaves open.

use hafleet_model::spec::{Defaults, Global, TimeSpan, Timeouts};

use super::lines::Lines;

/// How long an old process may finish its connections unless the spec says otherwise: 10 minutes.
pub(super) const HARD_STOP_AFTER: TimeSpan = TimeSpan::from_secs(600);

/// Writes the `global` section (Configuration Manual, section 3).
pub(super) fn global(lines: &mut Lines, global: &Global) {
    lines.section("global", "global").end();
    if let Some(maxconn) = global.maxconn {
        lines.line("global.maxconn", "maxconn").word(maxconn).end();
    }
    if let Some(threads) = global.threads {
        lines.line("global.threads", "nbthread").word(threads).end();
    }
    if let Some(user) = &global.user {
        lines.line("global.user", "user").word(user).end();
    }
    if let Some(group) = &global.group {
        lines.line("global.group", "group").word(group).end();
    }
    lines
        .line("global.hard_stop_after", "hard-stop-after")
        .word(global.hard_stop_after.unwrap_or(HARD_STOP_AFTER))
        .end();
    if let Some(span) = global.close_spread_time {
        lines
            .line("global.close_spread_time", "close-spread-time")
            .word(span)
            .end();
    }
    raw(lines, "global", &global.raw);
}

/// Writes the `defaults` section (Configuration Manual, section 4). `raw` comes last, so that it can take back what
/// hafleet chose.
pub(super) fn defaults(lines: &mut Lines, defaults: &Defaults) {
    lines.section("defaults", "defaults").end();
    lines.line("defaults", "mode http").end();
    // Without it, clients on kept-alive connections lose a request at each reload (HANDOVER: six or seven of 20).
    lines
        .line("defaults", "option idle-close-on-response")
        .end();
    lines
        .line("defaults", "load-server-state-from-file global")
        .end();
    lines.line("defaults", "option redispatch").end();
    lines.line("defaults", "option dontlognull").end();
    if let Some(maxconn) = defaults.maxconn {
        lines
            .line("defaults.maxconn", "maxconn")
            .word(maxconn)
            .end();
    }
    let given = &defaults.timeouts;
    let chosen = Timeouts {
        connect: given.connect.or(Some(TimeSpan::from_secs(5))),
        client: given.client.or(Some(TimeSpan::from_secs(30))),
        server: given.server.or(Some(TimeSpan::from_secs(30))),
        ..given.clone()
    };
    timeouts(lines, "defaults", &chosen);
    raw(lines, "defaults", &defaults.raw);
}

/// Writes the timeouts that are given.
pub(super) fn timeouts(lines: &mut Lines, path: &str, timeouts: &Timeouts) {
    for (keyword, span) in timeouts.given() {
        let origin = format!("{path}.timeouts.{}", keyword.replace('-', "_"));
        lines
            .line(&origin, "timeout")
            .fixed(keyword)
            .word(span)
            .end();
    }
}

/// Writes a section's `raw` lines as they are.
pub(super) fn raw(lines: &mut Lines, path: &str, raw: &[String]) {
    for (index, text) in raw.iter().enumerate() {
        lines.verbatim(&format!("{path}.raw[{index}]"), "    ", text);
    }
}
