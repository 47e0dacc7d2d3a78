//! HAProxy as its manual has it reloaded: `haproxy -sf`, with the same program and the same configuration.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use hafleet_haproxy::render;
use hafleet_model::spec::load;

use super::site::{Site, node_context};

/// An HAProxy that nobody looks after. It ends with its site.
pub(crate) struct PlainHaproxy<'s> {
    site: &'s Site,
    config: PathBuf,
    pid_file: PathBuf,
}

impl<'s> PlainHaproxy<'s> {
    /// Starts one; it listens when this returns.
    pub(crate) fn start(site: &'s Site, spec: &str) -> Result<Self, String> {
        let home = site.home();
        let haproxy = Self {
            site,
            config: home.join("haproxy.cfg"),
            pid_file: home.join("haproxy.pid"),
        };
        haproxy.run(spec, &[])?;
        Ok(haproxy)
    }

    /// Starts another in its place, which tells it to finish.
    pub(crate) fn reload(&self, spec: &str) -> Result<(), String> {
        let ids = std::fs::read_to_string(&self.pid_file).map_err(|error| error.to_string())?;
        let ids: Vec<_> = ids.split_whitespace().collect();
        self.run(spec, &ids)
    }

    fn run(&self, spec: &str, before: &[&str]) -> Result<(), String> {
        let spec = load(spec).map_err(|findings| findings.to_string())?.spec;
        let home = self.site.home();
        let rendered = render(&spec, &node_context(&home)).map_err(|error| error.to_string())?;
        let socket = home.join("socket");
        let socket = socket.display();
        let global = format!("global\n    stats socket {socket} mode 600 level admin\n");
        let written = std::fs::write(&self.config, global + rendered.body());
        written.map_err(|error| error.to_string())?;
        let mut command = Command::new("haproxy");
        command.args(["-D", "-f"]).arg(&self.config);
        command.arg("-p").arg(&self.pid_file);
        if !before.is_empty() {
            command.arg("-sf").args(before);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = self.site.node.spawn(command.stderr(Stdio::null())).wait();
        match status {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("haproxy ended with {other:?}")),
        }
    }
}
