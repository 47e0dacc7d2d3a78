//! Maintenance in the configuration itself.

/// The keyword (Configuration Manual, section 5.2, `disabled`), at the end of a server's line.
const DISABLED: &str = " disabled";

/// Adds the keyword to the line of a server, given by its backend and name, or takes it away from there. `origins` tells
/// which lines of `body` are of the spec's own servers.
pub(super) fn disable(
    body: &mut String,
    origins: &[String],
    (backend, server): (&str, &str),
    is_disabled: bool,
) {
    let section = format!("backend {backend}");
    let beginning = format!("    server {server} ");
    let mut is_here = false;
    let mut changed = String::with_capacity(body.len() + DISABLED.len());
    for (line, origin) in body.lines().zip(origins) {
        if origin.starts_with("backends[") && !line.starts_with(' ') && !line.is_empty() {
            is_here = line == section;
        }
        let is_it = is_here && line.starts_with(&beginning) && origin.contains("].servers[");
        match (is_it, is_disabled) {
            (true, false) => changed.push_str(line.strip_suffix(DISABLED).unwrap_or(line)),
            (is_it, _) => {
                changed.push_str(line);
                changed.push_str(if is_it { DISABLED } else { "" });
            }
        }
        changed.push('\n');
    }
    *body = changed;
}
