//! From a spec to the configuration of one node's HAProxy: pure, total and deterministic.
//!
//! The same spec and node give the same bytes, so that equal digests mean equal behaviour. Each line remembers the
//! spec path that it came from, so that what HAProxy says of a line can be said of the spec ([`crate::check`]); and
//! values that HAProxy can change while it runs are known apart from the rest ([`crate::plan`]).
//! Nothing here reads a file or asks the machine; hafleet's own `global` section is added only when a file is written
//! ([`Prelude`]).

mod admin;
mod backend;
mod condition;
mod frontend;
mod lines;
mod listener;
mod prelude;
mod process;
mod quote;
mod routes;
mod server;
mod skeleton;
mod strip;
mod template;
mod written;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hafleet_model::spec::{BindAddress, Finding, Findings};
use hafleet_model::{Digest, Spec, report::NodeContext};

use lines::{Built, Lines};

use crate::certificates::{Held, HeldCertificate};
use crate::runtime::AdminState;

pub(crate) use backend::RenderedBackend;
pub use listener::Listener;
pub use prelude::{Prelude, UnspeakablePath};
pub use quote::word as quote_word;
pub use routes::RenderedMap;
pub use server::RenderedServer;
pub use skeleton::Skeleton;
pub use written::WrittenServer;

/// Which address families a wildcard bind can listen on. A property of the machine, not of the spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6 on one socket (`[::]:80 v4v6`).
    #[default]
    Both,
    /// IPv4 only: the kernel was started without IPv6, where opening an IPv6 socket fails.
    Ipv4,
}

/// A spec that cannot be rendered for a node, and where its faults are. Permanent: it fails until the spec changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct RenderError(#[from] pub Findings);

/// The configuration of one node, without hafleet's own `global` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    body: String,
    digest: Digest,
    maps: Vec<RenderedMap>,
    origins: Vec<String>,
    listeners: Vec<Listener>,
    backends: Vec<RenderedBackend>,
    written: Vec<WrittenServer>,
    frontend_limits: BTreeMap<String, u32>,
    skeleton: Skeleton,
    patience: Duration,
    certificates: Vec<HeldCertificate>,
}

impl Rendered {
    /// The configuration's text.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The digest of [`Self::body`] and of [`Self::maps`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of each backend's health check, of those that have one.
    pub(crate) fn checks(&self) -> BTreeMap<String, Digest> {
        let backends = self.backends.iter();
        let checks = backends.filter_map(|backend| Some((backend.name.clone(), backend.check?)));
        checks.collect()
    }

    /// The maps that its routes are kept in, in the order in which entries are to be added.
    pub fn maps(&self) -> &[RenderedMap] {
        &self.maps
    }

    /// The spec path behind line `line` of the body, counted from 1: such as `frontends[0].binds[1]`,
    /// `backends[0].servers[3]`, `frontends[0].raw[2]`, `template`, `haproxy_cfg` or `raw`; empty for a line that
    /// stands for the whole.
    pub fn origin(&self, line: usize) -> Option<&str> {
        self.origins.get(line.checked_sub(1)?).map(String::as_str)
    }

    /// Where the configuration listens on TCP, as far as its text tells: of binds in raw text, those on plain addresses.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The spec path of the bind that makes `listener`.
    pub(crate) fn origin_of_listener(&self, listener: &Listener) -> Option<&str> {
        let line = self
            .body
            .lines()
            .position(|line| listener::in_line(line).contains(listener));
        self.origin(line? + 1)
    }

    /// The servers that the spec has, by backend in the spec's order and by name in it. Servers in raw text are not
    /// among them: [`Self::written`].
    pub fn servers(&self) -> impl Iterator<Item = &RenderedServer> {
        self.backends.iter().flat_map(|backend| &backend.servers)
    }

    /// The servers that raw text, a template or a whole configuration has, in the order of the text. Those of a
    /// `server-template` line are not among them, and conditions (`.if`) are not looked at.
    pub fn written(&self) -> &[WrittenServer] {
        &self.written
    }

    /// Most connections at once to each frontend of which the spec says it (`maxconn`).
    pub(crate) fn frontend_limits(&self) -> &BTreeMap<String, u32> {
        &self.frontend_limits
    }

    /// The backends that the spec has.
    pub(crate) fn backends(&self) -> &[RenderedBackend] {
        &self.backends
    }

    /// Asks for a server's admin state, as operators do; whether there is such a server. Maintenance stands in the
    /// configuration (`disabled`), so that HAProxy comes up with it. For drain there is no word: who starts HAProxy
    /// has to tell it.
    pub fn set_admin(&mut self, backend: &str, server: &str, admin: AdminState) -> bool {
        let mut servers = self.backends.iter_mut().flat_map(|item| &mut item.servers);
        let found = servers.find(|item| item.backend == backend && item.name == server);
        let Some(found) = found else {
            return self.ask_written(backend, server, admin);
        };
        let before = std::mem::replace(&mut found.admin, admin);
        let was_disabled = before == AdminState::Maint;
        if was_disabled != (admin == AdminState::Maint) {
            admin::disable(
                &mut self.body,
                &self.origins,
                (backend, server),
                !was_disabled,
            );
            self.digest = digest(&self.body, &self.maps);
        }
        true
    }

    fn ask_written(&mut self, backend: &str, server: &str, admin: AdminState) -> bool {
        let mut written = self.written.iter_mut();
        let found = written.find(|item| item.backend == backend && item.name == server);
        let Some(found) = found else {
            return false;
        };
        found.asked = Some(admin);
        written::put(&mut self.body, found);
        self.digest = digest(&self.body, &self.maps);
        true
    }

    /// The fleet's certificates that it names.
    pub fn certificates(&self) -> &[HeldCertificate] {
        &self.certificates
    }

    /// How long connections may go on to what serves no more: the spec's `hard_stop_after`.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// What of the configuration only a reload can change.
    pub fn skeleton(&self) -> &Skeleton {
        &self.skeleton
    }

    /// The whole file: hafleet's own `global` section, then the body. HAProxy merges the `global` sections.
    pub fn file(&self, prelude: &Prelude) -> String {
        format!("{prelude}{}", self.body)
    }

    /// The same for people who read it: with the contents of the maps as comments behind it.
    pub fn preview(&self, prelude: &Prelude) -> String {
        let maps = self.maps().iter().map(|map| {
            let lines: Vec<_> = map
                .text()
                .lines()
                .map(|line| format!("#   {line}\n"))
                .collect();
            format!("\n# {}:\n{}", map.name, lines.concat())
        });
        format!("{}{}", self.file(prelude), maps.collect::<String>())
    }

    fn from_text(text: &str, origin: &str) -> Self {
        let mut body = text.to_owned();
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Self {
            origins: body.lines().map(|_| origin.to_owned()).collect(),
            listeners: listener::in_text(&body),
            backends: Vec::new(),
            written: written::in_text(&body, &[]),
            frontend_limits: BTreeMap::new(),
            patience: process::HARD_STOP_AFTER.duration(),
            skeleton: Skeleton::of(&body),
            certificates: Vec::new(),
            maps: Vec::new(),
            digest: Digest::of(body.as_bytes()),
            body,
        }
    }

    fn from_built(built: Built, backends: Vec<RenderedBackend>, maps: Vec<RenderedMap>) -> Self {
        Self {
            written: written::in_text(&built.text, &built.origins),
            origins: built.origins,
            listeners: listener::in_text(&built.text),
            backends,
            frontend_limits: BTreeMap::new(),
            patience: process::HARD_STOP_AFTER.duration(),
            skeleton: Skeleton::of(&built.shape),
            certificates: Vec::new(),
            digest: digest(&built.text, &maps),
            maps,
            body: built.text,
        }
    }
}

/// The configuration of `spec` for `node`, on a machine with both address families.
///
/// # Errors
/// What cannot be written: a value with control characters, a host or path with no meaning, or a fault in the template.
pub fn render(spec: &Spec, node: &NodeContext) -> Result<Rendered, RenderError> {
    render_on(spec, node, Families::Both)
}

/// The configuration of `spec` for `node` on a machine with `families`.
///
/// # Errors
/// As [`render`].
pub fn render_on(
    spec: &Spec,
    node: &NodeContext,
    families: Families,
) -> Result<Rendered, RenderError> {
    render_with(spec, node, families, &Held::default())
}

/// The configuration of `spec` for `node`, which holds certificates of the fleet.
pub(crate) fn render_with(
    spec: &Spec,
    node: &NodeContext,
    families: Families,
    held: &Held,
) -> Result<Rendered, RenderError> {
    let mut rendered = render_text(spec, node, families, held)?;
    rendered.certificates = held.used_in(&rendered.body);
    if let Some(patience) = spec.global.hard_stop_after {
        rendered.patience = patience.duration();
    }
    Ok(rendered)
}

fn render_text(
    spec: &Spec,
    node: &NodeContext,
    families: Families,
    held: &Held,
) -> Result<Rendered, RenderError> {
    if let Some(text) = &spec.haproxy_cfg {
        return no_nul("haproxy_cfg", text).map(|()| Rendered::from_text(text, "haproxy_cfg"));
    }
    if let Some(source) = &spec.template {
        let text = template::expand(source, spec, node, held)?;
        return no_nul("template", &text).map(|()| Rendered::from_text(&text, "template"));
    }
    no_double_bind(spec, node)?;
    let mut lines = Lines::default();
    process::global(&mut lines, &spec.global);
    process::defaults(&mut lines, &spec.defaults);
    let names = spec
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let mut maps = Vec::new();
    for (index, item) in spec.frontends.iter().enumerate() {
        let place = frontend::Place {
            node,
            families,
            held,
            backends: &names,
        };
        let path = format!("frontends[{index}]");
        maps.extend(frontend::frontend(&mut lines, &path, item, place));
    }
    let stripped = strip::lengths(&spec.frontends);
    let mut backends = Vec::new();
    let has_agent = |raw: &[String]| raw.iter().any(|line| line.contains("agent-"));
    let is_agent_default = has_agent(&spec.defaults.raw);
    let default_lines = spec.defaults.raw.iter().flat_map(|text| text.lines());
    let has_default_server = default_lines
        .map(str::trim_start)
        .any(|line| line.starts_with("default-server"));
    for (index, item) in spec.backends.iter().enumerate() {
        let context = backend::Context {
            node,
            has_agent_check: is_agent_default || has_agent(&item.raw),
            has_default_server,
            stripped: &stripped,
        };
        let path = format!("backends[{index}]");
        backends.push(backend::backend(&mut lines, &path, item, context));
    }
    if let Some(text) = &spec.raw {
        lines.verbatim("raw", "", "\n");
        lines.verbatim("raw", "", text);
    }
    let built = lines.finish().map_err(Findings)?;
    let frontends = spec.frontends.iter();
    // A raw line has the last word.
    let frontends = frontends.filter(|item| !item.raw.iter().any(|line| line.contains("maxconn")));
    let limits = frontends.filter_map(|item| Some((item.name.clone(), item.maxconn?)));
    Ok(Rendered {
        frontend_limits: limits.collect(),
        ..Rendered::from_built(built, backends, maps)
    })
}

/// One digest for the body and the maps, if there are any.
fn digest(body: &str, maps: &[RenderedMap]) -> Digest {
    let mut all = Cow::Borrowed(body);
    for map in maps {
        all.to_mut()
            .push_str(&format!("\0{}\0{}", map.name, map.text()));
    }
    Digest::of(all.as_bytes())
}

/// Refuses two binds that are one on this node, since `node` stands for an address that another bind names. HAProxy
/// would take both and spread connections over the two frontends.
fn no_double_bind(spec: &Spec, node: &NodeContext) -> Result<(), RenderError> {
    let mut taken = BTreeMap::new();
    for (index, frontend) in spec.frontends.iter().enumerate() {
        for (bind_index, bind) in frontend.binds.iter().enumerate() {
            let path = format!("frontends[{index}].binds[{bind_index}]");
            let address = match bind.address {
                BindAddress::Any => continue,
                BindAddress::Node => node.address,
                BindAddress::Ip(address) => address,
            };
            if let Some(first) = taken.insert((address, bind.port), path.clone()) {
                let message = format!(
                    "on node {} this is {address} port {}, which {first} binds already",
                    node.id, bind.port
                );
                return Err(Findings::from(Finding::new(path, message)).into());
            }
        }
    }
    Ok(())
}

fn no_nul(path: &str, text: &str) -> Result<(), RenderError> {
    if text.contains('\0') {
        let message = "it has a NUL character, which HAProxy does not read";
        return Err(Findings::from(Finding::new(path, message)).into());
    }
    Ok(())
}

/// HAProxy's proxy, server and cookie names (Configuration Manual, section 4, "Proxies").
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
}

/// Notes a `text` at `path` that is no name. Names also stand where HAProxy reads more than a word, so that quoting
/// alone would not do.
fn expect_name(lines: &mut Lines, path: &str, text: &str) {
    if !is_name(text) {
        lines.fault(
            path,
            format!("{text:?} is not a name: use A-Z, a-z, 0-9, '-', '_', '.' and ':'"),
        );
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
