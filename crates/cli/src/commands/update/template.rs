//! From instances to the text of a configuration.

use std::collections::BTreeMap;
use std::path::Path;

use hafleet_ec2::Instance;
use hafleet_haproxy::render::quote_word;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use super::ask::Found;
use crate::failure::Failure;
use crate::print::note;

/// Steps that a template may take, as many as those of specs: 20 times what 10,000 servers need.
const FUEL: u64 = 10_000_000;

/// A template and the name that errors call it by.
#[derive(Debug)]
pub(super) struct Template {
    name: String,
    text: String,
}

/// What templates see.
#[derive(Debug, Serialize)]
struct Context<'a> {
    instances: Vec<Shown<'a>>,
    groups: BTreeMap<&'a str, Vec<Shown<'a>>>,
}

/// An instance as templates see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: &'a str,
    region: &'a str,
    zone: Option<&'a str>,
    vpc: Option<&'a str>,
    private_ip: Option<String>,
    public_ip: Option<String>,
    ipv6: Vec<String>,
    security_groups: Vec<&'a str>,
    auto_scaling_group: Option<&'a str>,
    tags: BTreeMap<&'a str, &'a str>,
}

impl Template {
    /// What `file` holds.
    pub(super) fn new(file: &Path, text: String) -> Self {
        Self {
            name: file.display().to_string(),
            text,
        }
    }

    /// One frontend, one backend, HTTP on port 80.
    pub(super) fn built_in() -> Self {
        Self {
            name: "the template that is built in".to_owned(),
            text: include_str!("default.cfg.j2").to_owned(),
        }
    }

    /// The configuration. The same instances give the same bytes.
    pub(super) fn render(&self, found: &Found) -> Result<String, Failure> {
        warn_of_tags(&found.instances);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("quote", quoted);
        block_lines_vanish()
            .and_then(|syntax| {
                environment.set_syntax(syntax);
                let context = Value::from(Serde(Context::of(found)));
                environment.render_named_str(&self.name, &self.text, context)
            })
            .map_err(|error| Failure::invalid(format_args!("{:#}", anyhow::Error::from(error))))
    }
}

impl<'a> Context<'a> {
    fn of(found: &'a Found) -> Self {
        let groups = found.groups.iter();
        Self {
            instances: found.instances.iter().map(show).collect(),
            groups: groups
                .map(|(group, instances)| (group.as_str(), instances.iter().map(show).collect()))
                .collect(),
        }
    }
}

fn show(instance: &Instance) -> Shown<'_> {
    Shown {
        id: &instance.id,
        region: &instance.region,
        zone: instance.zone.as_deref(),
        vpc: instance.vpc.as_deref(),
        private_ip: instance.private_ip.map(|ip| ip.to_string()),
        public_ip: instance.public_ip.map(|ip| ip.to_string()),
        ipv6: instance.ipv6.iter().map(ToString::to_string).collect(),
        security_groups: instance
            .security_groups
            .iter()
            .map(|group| group.name.as_str())
            .collect(),
        auto_scaling_group: instance.auto_scaling_group(),
        tags: tags(instance),
    }
}

/// The tags, without those that would be more than one line of a configuration: whoever may tag instances may not write
/// HAProxy's configuration.
fn tags(instance: &Instance) -> BTreeMap<&str, &str> {
    let tags = instance.tags.iter().filter(is_one_line);
    tags.map(|(tag, value)| (tag.as_str(), value.as_str()))
        .collect()
}

fn is_one_line((tag, value): &(&String, &String)) -> bool {
    !tag.contains(char::is_control) && !value.contains(char::is_control)
}

fn warn_of_tags(instances: &[Instance]) {
    for instance in instances {
        for (tag, _) in instance.tags.iter().filter(|tag| !is_one_line(tag)) {
            note(&format!(
                "hafleet: the tag {tag:?} of {} has control characters and is left out",
                instance.id
            ));
        }
    }
}

/// A line that has only a block tag leaves nothing behind, as in the templates of specs.
fn block_lines_vanish() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
}

/// One word of HAProxy's configuration, whatever is in it; the same filter as in the templates of specs.
fn quoted(value: &Value) -> Result<String, Error> {
    quote_word(&value.to_string()).ok_or_else(|| {
        let message = format!("{value:?} has a control character");
        Error::new(ErrorKind::InvalidOperation, message)
    })
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
