//! How long something lasts.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::schema::Setting;
use crate::value::{Value, quoted};

/// The longest span: 100 years of 365 days, which no setting needs and all
/// arithmetic on time bears.
pub const MAX_SPAN_SECS: u64 = 100 * 365 * 86_400;

/// Units from large to small; texts use them in this order.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A span of time: whole seconds from 1 to [`MAX_SPAN_SECS`]. As text days,
/// hours, minutes and seconds, each at most once and in this order: `5d`,
/// `1d12h`, `90m`, `30s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span(u64);

/// A text is no [`Span`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a time from \"1s\" to \"36500d\", like \"30s\", \"15m\", \"36h\", \"5d\" or \"1d12h\"")]
pub struct SpanError;

impl Span {
    /// In seconds, at least 1.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// A span that is checked when this is compiled.
    pub(crate) const fn new_static<const SECS: u64>() -> Self {
        const {
            assert!(SECS >= 1 && SECS <= MAX_SPAN_SECS, "out of range");
        }
        Self(SECS)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut units = UNITS.iter();
        let mut secs: u64 = 0;
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| !c.is_ascii_digit()) {
            let (digits, unit_and_rest) = rest.split_at_checked(at).ok_or(SpanError)?;
            let mut after = unit_and_rest.chars();
            let unit = after.next();
            // The iterator walks on, so that a unit can neither come twice nor out of order.
            let (_, unit_secs) = units
                .find(|(name, _)| Some(*name) == unit)
                .ok_or(SpanError)?;
            let count: u64 = digits.parse().map_err(|_| SpanError)?;
            secs = count
                .checked_mul(*unit_secs)
                .and_then(|more| secs.checked_add(more))
                .ok_or(SpanError)?;
            rest = after.as_str();
        }
        if rest.is_empty() && (1..=MAX_SPAN_SECS).contains(&secs) {
            Ok(Self(secs))
        } else {
            Err(SpanError)
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, unit_secs) in UNITS {
            let count = rest / unit_secs;
            rest %= unit_secs;
            if count > 0 {
                text.push_str(&count.to_string());
                text.push(unit);
            }
        }
        f.pad(&text)
    }
}

impl Setting for Span {
    fn read(value: &Value) -> Result<Self, String> {
        let text = value
            .text()
            .ok_or(SpanError)
            .map_err(|error| error.to_string())?;
        text.parse().map_err(|error: SpanError| error.to_string())
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{MAX_SPAN_SECS, Span, SpanError};

    #[test]
    fn a_span_is_read_in_every_documented_form() {
        for (text, secs) in [
            ("30s", 30),
            ("15m", 900),
            ("36h", 129_600),
            ("1d12h", 129_600),
            ("36500d", MAX_SPAN_SECS),
        ] {
            assert_eq!(text.parse::<Span>().map(Span::as_secs), Ok(secs), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_or_out_of_range_is_refused() {
        for text in [
            "",
            "5",
            "d",
            "0s",
            "5x",
            "5 d",
            "-5d",
            "1.5d",
            "1h1d",
            "1d1d",
            "5d6",
            "5D",
            "36500d1s",
            "18446744073709551616s",
            "213503982334602d",
        ] {
            assert_eq!(text.parse::<Span>(), Err(SpanError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(secs in 1..=MAX_SPAN_SECS) {
            let span = Span(secs);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_can_panic_the_parser(text in "\\PC*") {
            let _ = text.parse::<Span>();
        }
    }
}
