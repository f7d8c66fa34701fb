//! Puts what was written into the settings and collects what does not fit.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::error::{ConfigError, Fault, Origin};
use crate::load::{ENV_LOOKALIKE, ENV_PREFIX};
use crate::schema::{Rejected, Section};
use crate::settings::Settings;
use crate::value::Value;

/// How similar a name must be to be suggested: 1 is equal.
const SIMILAR: f64 = 0.7;

/// Settings under way: which keys were written where, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) settings: Settings,
    pub(crate) errors: Vec<ConfigError>,
    /// Keys that were written and read; the last place counts.
    given: BTreeMap<String, Origin>,
    /// Keys whose value is wrong, and which therefore hold something else.
    wrong: BTreeSet<String>,
}

impl Walk {
    /// Reads TOML; `file` is its name in messages.
    pub(crate) fn read_toml(&mut self, text: &str, file: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (table, faults) = DeTable::parse_recoverable(text);
        let mut unreadable_lines = BTreeSet::new();
        for fault in faults {
            let line = fault.span().map(|span| line_of(text, span.start));
            unreadable_lines.extend(line);
            let origin = Origin::File {
                name: file.to_owned(),
                line,
            };
            self.errors.push(ConfigError {
                origin,
                fault: Fault::Syntax {
                    message: fault.message().to_owned(),
                },
            });
        }
        for (key, value) in table.get_ref() {
            self.read_entry(
                &Place {
                    text,
                    file,
                    unreadable_lines: &unreadable_lines,
                },
                key,
                value,
            );
        }
    }

    /// An entry of the top level: a key, or a section with its keys.
    fn read_entry(
        &mut self,
        place: &Place<'_>,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let name = key.get_ref().as_ref();
        if self.settings.section_mut(name).is_none() {
            self.set_from_file(place, None, key, value);
        } else if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table {
                self.set_from_file(place, Some(name), key, value);
            }
        } else if let Some(origin) = place.origin(key) {
            let fault = Fault::WrongValue {
                key: name.to_owned(),
                value: Value::from_toml(value.get_ref()).to_string(),
                expected: format!("a section: [{name}] and its keys on the lines below"),
            };
            self.errors.push(ConfigError { origin, fault });
        }
    }

    fn set_from_file(
        &mut self,
        place: &Place<'_>,
        section: Option<&str>,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        // What the parser made of a line that it could not read is worth no second message.
        if let Some(origin) = place.origin(key) {
            let value = Value::from_toml(value.get_ref());
            self.set(section, key.get_ref(), &value, origin);
        }
    }

    /// Reads the environment; other variables than those of Layover are skipped.
    /// One that lacks the second underscore is an unknown key.
    pub(crate) fn read_env(&mut self, env: impl Iterator<Item = (String, String)>) {
        let names = env_names();
        for (name, value) in env.filter(|(name, _)| name.starts_with(ENV_LOOKALIKE)) {
            let origin = Origin::Env { name: name.clone() };
            if let Some((section, key)) = names.get(&name) {
                self.set(*section, key, &Value::from_env(&value), origin);
            } else {
                let single = |name: &str| name.replace("__", "_").to_ascii_uppercase();
                let suggestion = names
                    .keys()
                    .find(|known| single(known) == single(&name))
                    .cloned()
                    .or_else(|| nearest(&name, names.keys().map(String::as_str)));
                let fault = Fault::UnknownKey {
                    key: name,
                    suggestion,
                };
                self.errors.push(ConfigError { origin, fault });
            }
        }
    }

    fn set(&mut self, section: Option<&str>, key: &str, value: &Value, origin: Origin) {
        let path = path(section, key);
        let target: Option<&mut dyn Section> = match section {
            None => Some(&mut self.settings),
            Some(name) => self.settings.section_mut(name),
        };
        match target.and_then(|target| target.set(key, value)) {
            Some(Ok(())) => {
                self.given.insert(path, origin);
            }
            Some(Err(Rejected { shown, expected })) => {
                self.wrong.insert(path.clone());
                let fault = Fault::WrongValue {
                    key: path,
                    value: shown,
                    expected,
                };
                self.errors.push(ConfigError { origin, fault });
            }
            None => {
                let suggestion = suggest(section, key);
                let fault = Fault::UnknownKey {
                    key: path,
                    suggestion,
                };
                self.errors.push(ConfigError { origin, fault });
            }
        }
    }

    /// The keys that were written and read, and where.
    pub(crate) const fn given(&self) -> &BTreeMap<String, Origin> {
        &self.given
    }

    /// Whether the key was written, rightly or wrongly.
    pub(crate) fn was_written(&self, path: &str) -> bool {
        self.given.contains_key(path) || self.wrong.contains(path)
    }

    /// Whether the key holds something else than was written.
    pub(crate) fn is_wrong(&self, path: &str) -> bool {
        self.wrong.contains(path)
    }

    /// Where the key's value comes from.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        self.given.get(path).cloned().unwrap_or(Origin::Default)
    }
}

/// The file that is being read.
struct Place<'a> {
    text: &'a str,
    file: &'a str,
    unreadable_lines: &'a BTreeSet<usize>,
}

impl Place<'_> {
    /// Where `key` stands; `None` on a line that the parser could not read.
    fn origin(&self, key: &Spanned<DeString<'_>>) -> Option<Origin> {
        let line = line_of(self.text, key.span().start);
        (!self.unreadable_lines.contains(&line)).then(|| Origin::File {
            name: self.file.to_owned(),
            line: Some(line),
        })
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes()
        .take(at)
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}

fn path(section: Option<&str>, key: &str) -> String {
    section.map_or_else(|| key.to_owned(), |section| format!("{section}.{key}"))
}

/// Every key with its section.
fn keys() -> Vec<(Option<&'static str>, &'static str)> {
    let settings = Settings::default();
    let mut keys: Vec<_> = settings
        .keys()
        .into_iter()
        .map(|key| (None, key.name))
        .collect();
    for (name, section) in settings.sections() {
        keys.extend(section.keys().into_iter().map(|key| (Some(name), key.name)));
    }
    keys
}

fn env_names() -> BTreeMap<String, (Option<&'static str>, &'static str)> {
    let named = keys().into_iter().map(|(section, key)| {
        let section_part = section
            .map(|section| format!("{section}__"))
            .unwrap_or_default();
        let name = format!("{ENV_PREFIX}{section_part}{key}").to_ascii_uppercase();
        (name, (section, key))
    });
    named.collect()
}

/// The key or section that an unknown one was meant to be: one that looks like
/// it in the same place, else one of the same name elsewhere.
fn suggest(section: Option<&str>, key: &str) -> Option<String> {
    let settings = Settings::default();
    let keys = keys();
    let beside = keys
        .iter()
        .filter(|(of, _)| *of == section)
        .map(|(_, name)| *name);
    let sections = settings.sections().into_iter().map(|(name, _)| name);
    let found = match section {
        None => nearest(key, beside.chain(sections)),
        Some(_) => nearest(key, beside),
    };
    let elsewhere = || {
        keys.iter()
            .find(|(_, name)| *name == key)
            .map(|(of, name)| path(*of, name))
    };
    found.map(|found| path(section, &found)).or_else(elsewhere)
}

fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|name| (strsim::normalized_damerau_levenshtein(wrong, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name.to_owned())
}
