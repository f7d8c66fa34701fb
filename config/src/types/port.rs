//! TCP ports.

use std::fmt;

use crate::schema::Setting;
use crate::value::{Value, quoted};

/// A port to listen on. 0 lets the operating system choose a free one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port(u16);

impl Port {
    pub(crate) const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the operating system chooses.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Setting for Port {
    fn read(value: &Value) -> Result<Self, String> {
        let number = value
            .integer()
            .and_then(|number| u16::try_from(number).ok());
        number
            .map(Self)
            .ok_or_else(|| "a port number from 0 to 65535".to_owned())
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

/// Ports from a first to a last one, both included. Never empty, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// A range that is checked when this is compiled.
    pub(crate) const fn new_static<const FIRST: u16, const LAST: u16>() -> Self {
        const {
            assert!(0 < FIRST && FIRST <= LAST, "out of range");
        }
        Self {
            first: FIRST,
            last: LAST,
        }
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is one of them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Setting for PortRange {
    fn read(value: &Value) -> Result<Self, String> {
        let expected = || "ports such as \"31000-32000\", from 1 to 65535".to_owned();
        let (first, last) = value
            .text()
            .and_then(|text| text.split_once('-'))
            .ok_or_else(expected)?;
        let port = |text: &str| {
            let digits = text.trim();
            let number = digits
                .parse::<u16>()
                .ok()
                .filter(|_| !digits.starts_with('+'));
            number.filter(|number| *number > 0).ok_or_else(expected)
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("the lower port first: \"{last}-{first}\""));
        }
        Ok(Self { first, last })
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Port, PortRange};
    use crate::schema::Setting;
    use crate::value::Value;

    #[test]
    fn ports_reach_from_0_to_65535() {
        for (number, ok) in [(-1, false), (0, true), (65_535, true), (65_536, false)] {
            assert_eq!(Port::read(&Value::Integer(number)).is_ok(), ok, "{number}");
        }
    }

    #[test]
    fn a_range_is_two_ports_in_order() {
        for (text, ok) in [
            ("31000-32000", true),
            ("1 - 65535", true),
            ("31000-31000", true),
            ("0-10", false),
            ("10-65536", false),
            ("31000", false),
            ("31000-", false),
            ("-31000", false),
            ("1-2-3", false),
            ("+1-2", false),
        ] {
            assert_eq!(
                PortRange::read(&Value::Text(text.to_owned())).is_ok(),
                ok,
                "{text}"
            );
        }
    }

    #[test]
    fn a_reversed_range_is_refused_with_the_right_order() {
        let expected = PortRange::read(&Value::Text("32000-31000".to_owned())).unwrap_err();
        assert_eq!(expected, "the lower port first: \"31000-32000\"");
    }
}
