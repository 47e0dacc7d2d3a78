//! Which keys belong to which service.

use std::collections::BTreeMap;

use crate::answer::LeftOut;
use crate::etcd::Keys;
use crate::etcd::place::short;

/// The two kinds of services, in the order in which they get their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// HTTP, by routes.
    Http,
    /// TCP, by ports.
    Tcp,
}

impl Section {
    /// The part of the key.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Http => "services",
            Self::Tcp => "tcp-services",
        }
    }

    fn of(folder: &str) -> Option<Self> {
        [Self::Http, Self::Tcp]
            .into_iter()
            .find(|section| section.folder() == folder)
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["domain", "url_beg", "port", "cert", "balance"],
            Self::Tcp => &["external_port", "internal_port", "balance"],
        }
    }
}

/// The keys of one service.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    pub(super) section: Section,
    pub(super) name: &'a str,
    fields: BTreeMap<&'a str, &'a str>,
    pub(super) upstreams: BTreeMap<&'a str, &'a str>,
}

impl<'a> Raw<'a> {
    /// A value, without the space around it. An empty one is none.
    pub(super) fn field(&self, key: &str) -> Option<&'a str> {
        self.fields
            .get(key)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }
}

/// All services, HTTP before TCP and then by name, and the keys that are no part of one.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) services: Vec<Raw<'a>>,
    pub(super) left_out: Vec<LeftOut>,
}

impl<'a> Layout<'a> {
    /// Sorts `keys` below `prefix`. What is in other folders than those of services is not looked at.
    pub(super) fn read(prefix: &'a str, keys: &'a Keys) -> Self {
        let mut services: BTreeMap<(Section, &str), Raw<'_>> = BTreeMap::new();
        let mut left_out = Vec::new();
        for (key, value) in keys.below(prefix) {
            let (Ok(key), value) = (std::str::from_utf8(key), std::str::from_utf8(value)) else {
                let what = format!("{prefix}{}", String::from_utf8_lossy(key));
                let why = "its name is not text".to_owned();
                left_out.push(LeftOut { what, why });
                continue;
            };
            let mut parts = key.splitn(3, '/');
            let section = parts.next().and_then(Section::of);
            let (Some(section), Some(name), Some(field)) = (section, parts.next(), parts.next())
            else {
                continue;
            };
            let raw = services.entry((section, name)).or_insert_with(|| Raw {
                section,
                name,
                fields: BTreeMap::new(),
                upstreams: BTreeMap::new(),
            });
            if let Err(why) = enter(raw, field, value) {
                let what = format!("{prefix}{key}");
                left_out.push(LeftOut { what, why });
            }
        }
        Self {
            services: services.into_values().collect(),
            left_out,
        }
    }
}

fn enter<'a>(
    raw: &mut Raw<'a>,
    field: &'a str,
    value: Result<&'a str, std::str::Utf8Error>,
) -> Result<(), String> {
    let known = raw.section.fields();
    let value = value.map_err(|_| "its value is not text".to_owned());
    match field.strip_prefix("upstreams/") {
        // Entered even if it cannot be used: a service with upstreams is not one that has none.
        Some(upstream) => raw
            .upstreams
            .insert(upstream, value.unwrap_or("bytes that are no text")),
        None if known.contains(&field) => raw.fields.insert(field, value?),
        None => {
            let known = known.join(", ");
            return Err(format!(
                "{:?} is no key of a service: {known} and upstreams/<name> are",
                short(field)
            ));
        }
    };
    Ok(())
}
