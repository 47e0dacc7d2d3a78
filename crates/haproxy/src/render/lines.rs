//! Lines under construction: each knows which part of the spec it came from, and what of it may change at run time.
//!
//! Keywords enter as `&'static str`; everything that comes from a spec enters through [`Line::word`] and its
//! relatives, which quote. Only [`Lines::verbatim`], for `raw` fields, lets text through as it is. So an injection
//! is a type error, not a matter of care.

use std::fmt::Display;

use hafleet_model::spec::Finding;

use super::quote;

/// A configuration under construction.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    shape: String,
    origins: Vec<String>,
    findings: Vec<Finding>,
}

/// What [`Lines`] amount to.
#[derive(Debug)]
pub(super) struct Built {
    /// The configuration.
    pub(super) text: String,
    /// The same with a blank in place of each value that the Runtime API can change.
    pub(super) shape: String,
    /// The spec path behind each line of `text`.
    pub(super) origins: Vec<String>,
}

impl Lines {
    /// Begins a section after an empty line, such as `frontend web`.
    pub(super) fn section(&mut self, origin: &str, keyword: &'static str) -> Line<'_> {
        if !self.text.is_empty() {
            self.push("", Some(""), origin);
        }
        Line::new(self, origin, "").fixed(keyword)
    }

    /// A line inside a section.
    pub(super) fn line(&mut self, origin: &str, keyword: &'static str) -> Line<'_> {
        Line::new(self, origin, "    ").fixed(keyword)
    }

    /// A `raw` field's text as it is, one or more lines.
    pub(super) fn verbatim(&mut self, origin: &str, indent: &str, text: &str) {
        if text.contains('\0') {
            self.fault(
                origin,
                "it has a NUL character, which HAProxy does not read",
            );
        }
        for line in text.lines() {
            let line = format!("{indent}{line}");
            self.push(&line, Some(&line), origin);
        }
    }

    /// Notes that a value cannot be written.
    pub(super) fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.findings.push(Finding::new(path, message));
    }

    /// The finished text.
    ///
    /// # Errors
    /// All values that cannot be written.
    pub(super) fn finish(self) -> Result<Built, Vec<Finding>> {
        if !self.findings.is_empty() {
            return Err(self.findings);
        }
        Ok(Built {
            text: self.text,
            shape: self.shape,
            origins: self.origins,
        })
    }

    fn push(&mut self, text: &str, shape: Option<&str>, origin: &str) {
        for (all, line) in [(&mut self.text, Some(text)), (&mut self.shape, shape)] {
            if let Some(line) = line {
                all.push_str(line);
                all.push('\n');
            }
        }
        self.origins.push(origin.to_owned());
    }
}

/// One line under construction; it is written when dropped by [`Line::end`].
#[must_use = "a line is written by end()"]
pub(super) struct Line<'a> {
    lines: &'a mut Lines,
    origin: String,
    text: String,
    shape: String,
    is_apart: bool,
}

impl<'a> Line<'a> {
    fn new(lines: &'a mut Lines, origin: &str, indent: &str) -> Self {
        Self {
            lines,
            origin: origin.to_owned(),
            text: indent.to_owned(),
            shape: indent.to_owned(),
            is_apart: false,
        }
    }

    fn append(&mut self, text: &str, shape: &str) {
        let shape = (!self.is_apart).then_some((&mut self.shape, shape));
        for (line, word) in [(&mut self.text, text)].into_iter().chain(shape) {
            if !line.trim_start().is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }

    fn quoted(&mut self, value: &str) -> String {
        quote::word(value).unwrap_or_else(|| {
            let message = format!(
                "{value:?} has a control character, which no configuration of HAProxy can hold"
            );
            self.lines.fault(&self.origin, message);
            "''".to_owned()
        })
    }

    /// One or more words of HAProxy's own.
    pub(super) fn fixed(mut self, words: &'static str) -> Self {
        self.append(words, words);
        self
    }

    /// A value, as one word.
    pub(super) fn word(mut self, value: impl Display) -> Self {
        let word = self.quoted(&value.to_string());
        self.append(&word, &word);
        self
    }

    /// A value where HAProxy expects a log-format string; it stands for itself.
    pub(super) fn format_word(self, value: &str) -> Self {
        self.word(quote::format_literal(value))
    }

    /// A value that the Runtime API can change while HAProxy runs.
    pub(super) fn changeable(mut self, value: impl Display) -> Self {
        let word = self.quoted(&value.to_string());
        self.append(&word, "_");
        self
    }

    /// An expression of HAProxy's own around a map file of ours; `file` is made of characters of names.
    pub(super) fn map_lookup(
        mut self,
        before: &'static str,
        file: &str,
        after: &'static str,
    ) -> Self {
        if !super::is_name(file) {
            let message = format!("{file:?} is no name of a map file");
            self.lines.fault(&self.origin, message);
            return self;
        }
        let word = format!("\"{before}'${{{}}}/{file}'{after}\"", super::prelude::MAPS);
        self.append(&word, &word);
        self
    }

    /// A keyword and its value, if there is one.
    pub(super) fn option(self, keyword: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.fixed(keyword).word(value),
            None => self,
        }
    }

    /// A keyword without value, if it holds.
    pub(super) fn flag(self, keyword: &'static str, holds: bool) -> Self {
        if holds { self.fixed(keyword) } else { self }
    }

    /// What follows in this line can be turned on and off while HAProxy runs, if `is_apart`.
    pub(super) fn apart(mut self, is_apart: bool) -> Self {
        self.is_apart = is_apart;
        self
    }

    /// Writes the line.
    pub(super) fn end(self) {
        self.lines.push(&self.text, Some(&self.shape), &self.origin);
    }

    /// Writes a line that the Runtime API can add and remove while HAProxy runs.
    pub(super) fn end_apart(self) {
        self.lines.push(&self.text, None, &self.origin);
    }

    /// What was written so far, without its indent.
    pub(super) fn text(&self) -> &str {
        self.text.trim_start()
    }
}
