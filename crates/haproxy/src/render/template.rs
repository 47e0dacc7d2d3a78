//! Templates: a whole configuration written in Jinja, with the node and the rest of the spec as variables.
//!
//! | variable | what it is |
//! |---|---|
//! | `node.id`, `node.address`, `node.zone`, `node.certificate_dir` | the node that this is rendered for; `zone` may be none |
//! | `fleet` | the fleet's name |
//! | `global`, `defaults`, `frontends`, `backends` | the spec's parts as they were written |
//! | `vars` | values of the author's own |
//! | `certificate(name)` | the file of a certificate: the fleet's of that name, or else one of the node's |
//!
//! What the author left out of the spec is not defined: ask with `is defined`, or give a `default`.
//! The filter `quote` makes any value one word of the configuration. A variable that does not exist is an error, files
//! cannot be included, and a template that runs too long or writes too much is ended.

use std::io;

use hafleet_model::Spec;
use hafleet_model::report::NodeContext;
use hafleet_model::spec::{Finding, Findings};
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value, context, syntax::SyntaxConfig,
    value::Serde,
};

use super::quote;
use crate::certificates::Held;

/// Instructions after which a template is ended: below a second's work, and 20 times what 10,000 servers need.
const FUEL: u64 = 10_000_000;

/// Bytes after which a template's output is ended.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// The text that the template `source` amounts to.
///
/// # Errors
/// The fault, with its line in the template, at path `template`.
pub(super) fn expand(
    source: &str,
    spec: &Spec,
    node: &NodeContext,
    held: &Held,
) -> Result<String, Findings> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_syntax(block_lines_vanish()?);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("quote", quoted);
    let (held, dir) = (held.clone(), node.certificate_dir.clone());
    environment.add_function("certificate", move |name: &str| held.resolve(name, &dir));
    let variables = context! {
        node => context! {
            id => node.id.as_str(),
            address => node.address.to_string(),
            zone => node.zone.as_deref(),
            certificate_dir => node.certificate_dir.as_str(),
        },
        fleet => node.fleet.as_str(),
        global => Serde(&spec.global),
        defaults => Serde(&spec.defaults),
        frontends => Serde(&spec.frontends),
        backends => Serde(&spec.backends),
        vars => Serde(&spec.vars),
    };
    let template = environment.template_from_named_str("template", source);
    let mut output = Bounded(Vec::new());
    template
        .and_then(|template| {
            template
                .render_captured_to(variables, &mut output)
                .map(|_| ())
        })
        .map_err(|error| finding(&error))?;
    String::from_utf8(output.0)
        .map_err(|_| Finding::new("template", "its output is not UTF-8").into())
}

/// A line that has only a block tag leaves nothing behind, as people expect of configuration templates.
fn block_lines_vanish() -> Result<SyntaxConfig, Findings> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .map_err(|error| finding(&error))
}

fn quoted(value: &Value) -> Result<String, Error> {
    quote::word(&value.to_string()).ok_or_else(|| {
        let message = format!(
            "{value:?} has a control character, which no configuration of HAProxy can hold"
        );
        Error::new(ErrorKind::InvalidOperation, message)
    })
}

fn finding(error: &Error) -> Findings {
    let mut message = match error.kind() {
        ErrorKind::OutOfFuel => "it runs too long and was ended".to_owned(),
        ErrorKind::WriteFailure => format!("it writes more than {MAX_OUTPUT} bytes and was ended"),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    if let Some(line) = error.line() {
        message = format!("line {line} of the template: {message}");
    }
    Finding::new("template", message).into()
}

/// Output that refuses to grow without end.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
