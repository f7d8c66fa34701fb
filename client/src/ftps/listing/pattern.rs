//! Date formats as operators write them: `yyyy-MM-dd HH:mm`, `MM-dd-yy hh:mma`.

use jiff::civil;

use super::{Written, month};
use crate::remote::Precision;

/// Longest format.
pub(crate) const MAX_PATTERN_BYTES: usize = 64;

/// A date format, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatePattern {
    text: String,
    fields: Vec<Field>,
}

/// Why a text is no date format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatePatternError {
    /// Nothing, or more than 64 bytes.
    #[error("a date format has 1 to {MAX_PATTERN_BYTES} bytes")]
    Length,
    /// A letter that means nothing.
    #[error("the letter `{0}` means nothing in a date format (known: y M d H h m s a E)")]
    Letter(char),
    /// A quote that is not closed.
    #[error("a quote in the date format is not closed")]
    Quote,
    /// Day or month is missing, or a field stands twice.
    #[error("a date format has one day, one month, and no field twice")]
    Fields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// Four digits.
    Year,
    /// Two digits: 70 to 99 are of the last century.
    ShortYear,
    /// One or two digits.
    Month,
    MonthName,
    Day,
    Hour,
    /// 1 to 12.
    HalfHour,
    Minute,
    Second,
    /// AM or PM.
    Half,
    /// Letters that say nothing new.
    Weekday,
    /// One or more spaces.
    Space,
    Literal(u8),
}

impl DatePattern {
    /// Reads a format: letters as in `yyyy-MM-dd HH:mm:ss`, other text in
    /// single quotes.
    ///
    /// # Errors
    /// When it has no meaning.
    pub fn parse(text: &str) -> Result<Self, DatePatternError> {
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            return Err(DatePatternError::Length);
        }
        let mut fields = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '\'' {
                quoted(&mut characters, &mut fields)?;
                continue;
            }
            let mut count = 1;
            while character.is_ascii_alphabetic() && characters.next_if_eq(&character).is_some() {
                count += 1;
            }
            match character {
                'y' if count == 2 => fields.push(Field::ShortYear),
                'y' => fields.push(Field::Year),
                'M' | 'L' if count > 2 => fields.push(Field::MonthName),
                'M' | 'L' => fields.push(Field::Month),
                'd' => fields.push(Field::Day),
                'H' => fields.push(Field::Hour),
                'h' => fields.push(Field::HalfHour),
                'm' => fields.push(Field::Minute),
                's' => fields.push(Field::Second),
                'a' => fields.push(Field::Half),
                'E' => fields.push(Field::Weekday),
                ' ' if fields.last() == Some(&Field::Space) => {}
                ' ' => fields.push(Field::Space),
                other if other.is_ascii_alphabetic() => {
                    return Err(DatePatternError::Letter(other));
                }
                other => literal(other, &mut fields),
            }
        }
        check(&fields)?;
        Ok(Self {
            text: text.to_owned(),
            fields,
        })
    }

    /// The format as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A time at the beginning of `text`, and how many bytes it takes.
    pub(super) fn read(&self, text: &[u8], now: civil::DateTime) -> Option<(Written, usize)> {
        let mut cursor = Cursor { text, at: 0 };
        let mut found = Found::default();
        for field in &self.fields {
            match field {
                Field::Year => found.year = Some(cursor.number(4, 4)?),
                Field::ShortYear => {
                    let year = cursor.number(2, 2)?;
                    found.year = Some(if year < 70 { 2000 + year } else { 1900 + year });
                }
                Field::Month => found.month = i8::try_from(cursor.number(1, 2)?).ok()?,
                Field::MonthName => found.month = month::number(cursor.word())?,
                Field::Day => found.day = i8::try_from(cursor.number(1, 2)?).ok()?,
                Field::Hour => found.hour = Some(i8::try_from(cursor.number(1, 2)?).ok()?),
                Field::HalfHour => {
                    let hour = i8::try_from(cursor.number(1, 2)?).ok()?;
                    if !(1..=12).contains(&hour) {
                        return None;
                    }
                    found.half_hour = Some(hour % 12);
                }
                Field::Minute => found.minute = i8::try_from(cursor.number(1, 2)?).ok()?,
                Field::Second => found.second = Some(i8::try_from(cursor.number(1, 2)?).ok()?),
                Field::Half => {
                    found.is_afternoon = match cursor.word() {
                        [b'A' | b'a', ..] => false,
                        [b'P' | b'p', ..] => true,
                        _ => return None,
                    };
                }
                Field::Weekday => {
                    cursor.word();
                }
                Field::Space => cursor.spaces()?,
                Field::Literal(byte) => cursor.byte(*byte)?,
            }
        }
        Some((found.written(now)?, cursor.at))
    }
}

fn quoted(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    fields: &mut Vec<Field>,
) -> Result<(), DatePatternError> {
    // Two quotes are one.
    if characters.next_if_eq(&'\'').is_some() {
        fields.push(Field::Literal(b'\''));
        return Ok(());
    }
    loop {
        match characters.next() {
            None => return Err(DatePatternError::Quote),
            Some('\'') => return Ok(()),
            Some(' ') => fields.push(Field::Space),
            Some(other) => literal(other, fields),
        }
    }
}

fn literal(character: char, fields: &mut Vec<Field>) {
    let mut bytes = [0; 4];
    let encoded = character.encode_utf8(&mut bytes);
    fields.extend(encoded.bytes().map(Field::Literal));
}

fn check(fields: &[Field]) -> Result<(), DatePatternError> {
    let count = |of: &[Field]| fields.iter().filter(|field| of.contains(field)).count();
    let good = count(&[Field::Day]) == 1
        && count(&[Field::Month, Field::MonthName]) == 1
        && count(&[Field::Year, Field::ShortYear]) <= 1
        && count(&[Field::Hour, Field::HalfHour]) <= 1
        && count(&[Field::Minute]) <= 1
        && count(&[Field::Second]) <= 1
        && count(&[Field::Half]) <= 1;
    if good {
        Ok(())
    } else {
        Err(DatePatternError::Fields)
    }
}

#[derive(Default)]
struct Found {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: Option<i8>,
    half_hour: Option<i8>,
    is_afternoon: bool,
    minute: i8,
    second: Option<i8>,
}

impl Found {
    fn written(self, now: civil::DateTime) -> Option<Written> {
        let half = self
            .half_hour
            .map(|hour| if self.is_afternoon { hour + 12 } else { hour });
        let hour = self.hour.or(half);
        let precision = match (hour, self.second) {
            (None, _) => Precision::Day,
            (Some(_), None) => Precision::Minute,
            (Some(_), Some(_)) => Precision::Second,
        };
        let time = civil::Time::new(hour.unwrap_or(0), self.minute, self.second.unwrap_or(0), 0);
        let at = match self.year {
            Some(year) => civil::Date::new(year, self.month, self.day)
                .ok()?
                .to_datetime(time.ok()?),
            None => super::date::without_year(self.month, self.day, time.ok()?, now)?,
        };
        Some(Written { at, precision })
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn number(&mut self, least: usize, most: usize) -> Option<i16> {
        let digits = self
            .rest()
            .iter()
            .take(most)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits < least {
            return None;
        }
        let number = super::number(self.rest().get(..digits)?)?;
        self.at += digits;
        Some(number)
    }

    /// Letters, of any alphabet, and a dot behind them.
    fn word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let letters = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
            .count();
        let dot = usize::from(letters > 0 && rest.get(letters) == Some(&b'.'));
        self.at += letters + dot;
        rest.get(..letters).unwrap_or_default()
    }

    fn spaces(&mut self) -> Option<()> {
        let spaces = self.rest().iter().take_while(|byte| **byte == b' ').count();
        self.at += spaces;
        (spaces > 0).then_some(())
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.rest().first() == Some(&byte)).then(|| self.at += 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: civil::DateTime = civil::datetime(2024, 3, 10, 12, 0, 0, 0);

    #[test]
    fn formats_are_read_as_they_say() {
        for (format, text, at, precision, taken) in [
            (
                "yyyy-MM-dd HH:mm",
                "2024-05-01 07:08 x",
                "2024-05-01T07:08:00",
                Precision::Minute,
                16,
            ),
            (
                "yyyy-MM-dd HH:mm:ss",
                "2024-05-01 07:08:09",
                "2024-05-01T07:08:09",
                Precision::Second,
                19,
            ),
            (
                "MM-dd-yy hh:mma",
                "05-01-24  12:08AM",
                "2024-05-01T00:08:00",
                Precision::Minute,
                17,
            ),
            (
                "MM-dd-yy hh:mma",
                "05-01-24 12:08PM",
                "2024-05-01T12:08:00",
                Precision::Minute,
                16,
            ),
            (
                "MM-dd-yy hh:mm a",
                "05-01-99 01:08 pm",
                "1999-05-01T13:08:00",
                Precision::Minute,
                17,
            ),
            (
                "dd.MM.yyyy HH:mm",
                "1.5.2024 7:08",
                "2024-05-01T07:08:00",
                Precision::Minute,
                13,
            ),
            (
                "d MMM yyyy",
                "1 juil. 2024",
                "2024-07-01T00:00:00",
                Precision::Day,
                12,
            ),
            (
                "MMM d HH:mm",
                "Dec 31 23:59",
                "2023-12-31T23:59:00",
                Precision::Minute,
                12,
            ),
            (
                "EEE MMM dd yyyy",
                "Wed May 01 2024",
                "2024-05-01T00:00:00",
                Precision::Day,
                15,
            ),
            (
                "yyyy'T'MMdd",
                "2024T0501",
                "2024-05-01T00:00:00",
                Precision::Day,
                9,
            ),
            (
                "yyyy''MM dd",
                "2024'05 01",
                "2024-05-01T00:00:00",
                Precision::Day,
                10,
            ),
        ] {
            let (written, length) = DatePattern::parse(format)
                .unwrap()
                .read(text.as_bytes(), NOW)
                .unwrap();
            assert_eq!(written.at.to_string(), at, "{format}");
            assert_eq!(written.precision, precision, "{format}");
            assert_eq!(length, taken, "{format}");
        }
    }

    #[test]
    fn texts_that_are_no_such_date_are_not_read() {
        let iso = DatePattern::parse("yyyy-MM-dd hh:mma").unwrap();
        for text in [
            "",
            "2024",
            "2024-13-01 01:00AM",
            "2024-02-30 01:00AM",
            "2024-02-01 13:00AM",
            "2024-02-01 01:60AM",
            "24-02-01 01:00AM",
            "2024-02-01 01:00XM",
        ] {
            assert_eq!(iso.read(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn formats_without_meaning_are_refused() {
        for (format, why) in [
            ("", DatePatternError::Length),
            (&"y".repeat(MAX_PATTERN_BYTES + 1), DatePatternError::Length),
            ("yyyy-MM-dd Q", DatePatternError::Letter('Q')),
            ("yyyy-MM-dd 'x", DatePatternError::Quote),
            ("yyyy-MM", DatePatternError::Fields),
            ("dd dd MM", DatePatternError::Fields),
        ] {
            assert_eq!(DatePattern::parse(format), Err(why), "{format}");
        }
        let longest = format!("yyyy-MM-dd{}", " ".repeat(MAX_PATTERN_BYTES - 10));
        assert!(DatePattern::parse(&longest).is_ok());
    }

    proptest! {
        #[test]
        fn any_format_and_text_are_read_without_a_panic(
            format in "[yMdHhmsaE' :.-]{1,20}",
            text in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(pattern) = DatePattern::parse(&format) {
                pattern.read(&text, NOW);
            }
        }
    }
}
