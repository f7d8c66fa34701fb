//! Short words.

use std::borrow::Cow;
use std::fmt;

use crate::schema::Setting;
use crate::value::{Value, quoted};

/// Longest [`Label`]: it must fit into a banner.
const MAX_LABEL_BYTES: usize = 32;

/// Levels of log lines, from few to many.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A word of 1 to 32 letters, digits, `.`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Label(Cow<'static, str>);

impl Label {
    pub(crate) const fn new_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Setting for Label {
    fn read(value: &Value) -> Result<Self, String> {
        let word = value.text().filter(|text| {
            (1..=MAX_LABEL_BYTES).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
        word.map(|text| Self(Cow::Owned(text.to_owned())))
            .ok_or_else(|| {
                format!("a word of 1 to {MAX_LABEL_BYTES} letters, digits, \".\", \"_\" and \"-\"")
            })
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

/// Which log lines are written: a level, or several directives
/// `part=level` and at most one bare level, separated by commas.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LogLevel(Cow<'static, str>);

impl LogLevel {
    pub(crate) const fn info() -> Self {
        Self(Cow::Borrowed("info"))
    }

    /// The directives as they were written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Setting for LogLevel {
    fn read(value: &Value) -> Result<Self, String> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        };
        let is_directive = |directive: &str| match directive.split_once('=') {
            Some((part, level)) => is_part(part) && LEVELS.contains(&level),
            None => LEVELS.contains(&directive),
        };
        let is_level = |text: &&str| {
            text.split(',').all(is_directive)
                && text
                    .split(',')
                    .filter(|directive| !directive.contains('='))
                    .count()
                    <= 1
        };
        let level = value.text().filter(is_level);
        level
            .map(|text| Self(Cow::Owned(text.to_owned())))
            .ok_or_else(|| {
                format!(
                    "{}, or by part like \"info,layover_sftp=debug\"",
                    LEVELS.join(", ")
                )
            })
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Label, LogLevel};
    use crate::schema::Setting;
    use crate::value::Value;

    #[test]
    fn a_label_has_1_to_32_safe_characters() {
        for (text, ok) in [
            ("production", true),
            ("eu-west_1.a", true),
            (&"a".repeat(32), true),
            (&"a".repeat(33), false),
            ("", false),
            ("two words", false),
            ("line\r\n", false),
        ] {
            assert_eq!(
                Label::read(&Value::Text(text.to_owned())).is_ok(),
                ok,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_log_level_is_a_level_or_directives() {
        for (text, ok) in [
            ("info", true),
            ("off", true),
            ("info,layover_sftp=debug,russh::server=warn", true),
            ("INFO", false),
            ("verbose", false),
            ("info,debug", false),
            ("layover=", false),
            ("=info", false),
            ("", false),
        ] {
            assert_eq!(
                LogLevel::read(&Value::Text(text.to_owned())).is_ok(),
                ok,
                "{text:?}"
            );
        }
    }
}
