//! A setting's value before its type is known, from a file or the environment.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// Characters of a value that an error message repeats.
const MAX_SHOWN_CHARS: usize = 80;

/// A value as it was written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
    /// Something no setting has: a fraction, a date, a number beyond 64 bits.
    Foreign(String),
    /// Text of the environment, where all types look alike.
    Env(String),
}

impl Value {
    /// The value of an environment variable. What reads as a TOML array is one;
    /// an address such as `[::1]:8080` does not.
    pub(crate) fn from_env(text: &str) -> Self {
        let array = text
            .trim_start()
            .starts_with('[')
            .then(|| DeValue::parse(text).ok())
            .flatten();
        array.map_or_else(
            || Self::Env(text.to_owned()),
            |array| Self::from_toml(array.get_ref()),
        )
    }

    /// A value of a TOML file.
    pub(crate) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Self::Foreign(number.to_string()), Self::Integer),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Float(number) => Self::Foreign(number.to_string()),
            DeValue::Datetime(time) => Self::Foreign(time.to_string()),
            DeValue::Array(items) => Self::List(
                items
                    .iter()
                    .map(|item| Self::from_toml(item.get_ref()))
                    .collect(),
            ),
            DeValue::Table(table) => Self::Table(Self::entries(table)),
        }
    }

    fn entries(table: &DeTable<'_>) -> Vec<(String, Self)> {
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), Self::from_toml(value.get_ref())))
            .collect()
    }

    /// The text, when it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Env(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, when it is one.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Env(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The truth value, when it is one.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Env(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The items, when it is a list; in the environment a list may also be
    /// written with commas alone, and an empty text is the empty list.
    pub(crate) fn list(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Env(text) if text.trim().is_empty() => Some(Vec::new()),
            Self::Env(text) => Some(
                text.split(',')
                    .map(|item| Self::Env(item.trim().to_owned()))
                    .collect(),
            ),
            _ => None,
        }
    }
}

/// As TOML would write it, cut after [`MAX_SHOWN_CHARS`].
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.written();
        match whole
            .char_indices()
            .nth(MAX_SHOWN_CHARS)
            .and_then(|(at, _)| whole.get(..at))
        {
            Some(head) => write!(f, "{head}..."),
            None => f.write_str(&whole),
        }
    }
}

impl Value {
    fn written(&self) -> String {
        match self {
            Self::Text(text) | Self::Env(text) => quoted(text),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::Foreign(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::written).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{key} = {}", value.written()))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }
}

/// `text` as a TOML string on one line, which a message can show, too.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use toml::de::DeValue;

    use super::{MAX_SHOWN_CHARS, Value, quoted};

    #[test]
    fn the_environment_writes_lists_with_commas_or_as_toml() {
        for (text, expected) in [
            ("", 0),
            ("10.0.0.0/8", 1),
            ("10.0.0.0/8, 192.0.2.1", 2),
            (r#"["10.0.0.0/8", "192.0.2.1"]"#, 2),
            ("[]", 0),
        ] {
            assert_eq!(
                Value::from_env(text).list().unwrap().len(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_ipv6_address_with_port_in_the_environment_is_no_list() {
        assert_eq!(Value::from_env("[::1]:8080").text(), Some("[::1]:8080"));
    }

    #[test]
    fn a_shown_value_stays_short_and_on_one_line() {
        let shown = Value::Env("line\nline".to_owned()).to_string();
        assert!(!shown.contains('\n'), "{shown}");
        // The two quotation marks count.
        for (chars, cut) in [(MAX_SHOWN_CHARS - 2, false), (MAX_SHOWN_CHARS - 1, true)] {
            let shown = Value::Text("é".repeat(chars)).to_string();
            assert_eq!(shown.ends_with("..."), cut, "{shown}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_text_reads_back_equal_from_one_line(text in any::<String>()) {
            let quoted = quoted(&text);
            prop_assert!(!quoted.contains(char::is_control));
            let read = DeValue::parse(&quoted).unwrap();
            prop_assert_eq!(read.get_ref().as_str(), Some(text.as_str()));
        }
    }
}
