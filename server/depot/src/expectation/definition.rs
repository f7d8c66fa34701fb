//! What an operator says of a file that is expected.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use super::deadline::Deadlines;
use super::file::ExpectedFile;
use crate::flow::bits;
use crate::integration::{DAYS, FlowTarget, HomeFolder, NotAValue, ZoneName, cron_part};
use crate::vfs::MAX_FILE_BYTES;
use crate::{ExpectationName, IntegrationName};

/// Most expectations: each is looked at once a day, many of them at the same minute.
pub const MAX_EXPECTATIONS: usize = 10_000;
/// How far the date in a name may be from the day, in days: what is named after the
/// month before is no stranger than that.
pub const MAX_DATE_OFFSET_DAYS: i16 = 31;

/// A file that is expected on days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationDefinition {
    /// Its name.
    pub name: ExpectationName,
    /// Whether anybody looks.
    pub enabled: bool,
    /// Where.
    #[serde(flatten)]
    pub place: ExpectedPlace,
    /// Under which name; several may fit, and one is enough.
    pub file: ExpectedFile,
    /// Until when, by the clocks of the entity's zone.
    pub by: TimeOfDay,
    /// Everything else.
    #[serde(flatten)]
    pub rules: ExpectationRules,
}

/// Where a file is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExpectedPlace {
    /// In a folder of an account's home.
    Here {
        /// `ACCOUNT:/folder`.
        home: HomeFolder,
    },
    /// In a folder on a partner's server.
    There {
        /// The integration.
        partner: IntegrationName,
        /// The folder there.
        #[serde(flatten)]
        target: FlowTarget,
    },
}

impl fmt::Display for ExpectedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { home } => home.fmt(f),
            Self::There { partner, target } => write!(f, "{partner}:{}", target.as_str()),
        }
    }
}

/// What is asked of the file. What is as usual is not written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpectationRules {
    /// On which days of the week.
    #[serde(skip_serializing_if = "ExpectedDays::is_every")]
    pub days: ExpectedDays,
    /// The date in the name is that of so many days later than the day, up to
    /// [`MAX_DATE_OFFSET_DAYS`] either way: -1 is the day before.
    #[serde(skip_serializing_if = "is_zero")]
    pub date_offset: i16,
    /// The least that it has, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size_bytes: Option<u64>,
    /// The most that it has, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size_bytes: Option<u64>,
    /// Its content may be that of the last time.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_same: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(value: &i16) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A time of day, `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(Time);

impl TimeOfDay {
    pub(super) fn time(self) -> Time {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        let (hour, minute) = text.split_once(':').ok_or(NotAValue)?;
        let digits = |text: &str, least: usize| {
            let fits =
                (least..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            fits.then(|| text.parse().ok()).flatten().ok_or(NotAValue)
        };
        let time = Time::new(digits(hour, 1)?, digits(minute, 2)?, 0, 0);
        time.map(Self).map_err(|_| NotAValue)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = NotAValue;

    fn try_from(text: String) -> Result<Self, NotAValue> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

/// Days of the week as in crontab: `*`, `1-5`, `mon-fri`, `mon,thu`; 0 and 7 are Sunday.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExpectedDays(String);

impl ExpectedDays {
    /// As the operator writes them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether they are all.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.bits() == 0b111_1111
    }

    /// A bit for each, from Sunday on.
    pub(super) fn bits(&self) -> u8 {
        let bits = bits(&self.0, 0, 7, DAYS);
        u8::try_from((bits | bits >> 7) & 0b111_1111).unwrap_or_default()
    }
}

impl Default for ExpectedDays {
    fn default() -> Self {
        Self("*".to_owned())
    }
}

impl FromStr for ExpectedDays {
    type Err = NotAValue;

    fn from_str(text: &str) -> Result<Self, NotAValue> {
        // What crontab takes is short: a list of seven names.
        let fits = text.len() <= 64
            && text.split(',').all(|part| cron_part(part, 0, 7, DAYS))
            && Self(text.to_owned()).bits() != 0;
        match fits {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(NotAValue),
        }
    }
}

impl fmt::Display for ExpectedDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ExpectedDays {
    type Error = NotAValue;

    fn try_from(text: String) -> Result<Self, NotAValue> {
        text.parse()
    }
}

impl From<ExpectedDays> for String {
    fn from(days: ExpectedDays) -> Self {
        days.0
    }
}

/// What does not go together in an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpectationFault {
    /// No file could be as expected.
    #[error("the least size is more than the most")]
    Sizes,
    /// No file is so large.
    #[error("a file has at most {MAX_FILE_BYTES} bytes")]
    Size,
    /// Out of range.
    #[error("the date in a name is at most {MAX_DATE_OFFSET_DAYS} days from the day, either way")]
    DateOffset,
}

impl ExpectationDefinition {
    /// What does not go together.
    ///
    /// # Errors
    /// The first [`ExpectationFault`].
    pub fn check(&self) -> Result<(), ExpectationFault> {
        let rules = &self.rules;
        let sizes = [rules.min_size_bytes, rules.max_size_bytes];
        if sizes
            .into_iter()
            .flatten()
            .any(|size| size > MAX_FILE_BYTES)
        {
            return Err(ExpectationFault::Size);
        }
        if rules.min_size_bytes > rules.max_size_bytes && rules.max_size_bytes.is_some() {
            return Err(ExpectationFault::Sizes);
        }
        if rules.date_offset.unsigned_abs() > MAX_DATE_OFFSET_DAYS.unsigned_abs() {
            return Err(ExpectationFault::DateOffset);
        }
        Ok(())
    }

    /// Its deadlines in the entity's zone.
    pub(super) fn deadlines(&self, zone: Option<&str>) -> Deadlines {
        let zone = zone.and_then(|zone| zone.parse::<ZoneName>().ok());
        Deadlines::new(self.by, &self.rules.days, zone.as_ref())
    }

    /// The date that stands in names of a day.
    #[must_use]
    pub fn named_day(&self, day: Date) -> Date {
        let offset = jiff::Span::new().days(i64::from(self.rules.date_offset));
        day.saturating_add(offset)
    }

    /// As the database keeps it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({ "version": 1, "expectation": self }).to_string()
    }

    /// What the database keeps; `None` for what this version never wrote.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Kept {
            version: u32,
            expectation: ExpectationDefinition,
        }
        let kept: Kept = serde_json::from_str(text).ok()?;
        (kept.version == 1).then_some(kept.expectation)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// As schema step 11 has it.
    const KEPT: &str = r#"{"expectation":{"by":"06:00","enabled":true,"file":"crm_$yyyyMMdd.csv","home":"alice:/in","name":"crm"},"version":1}"#;

    fn kept() -> ExpectationDefinition {
        ExpectationDefinition::from_json(KEPT).unwrap()
    }

    #[test]
    fn what_is_as_usual_is_not_written_down() {
        let crm = kept();
        assert_eq!(crm.rules, ExpectationRules::default());
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&crm.to_json()), value(KEPT));
    }

    #[test]
    fn every_field_comes_back_from_the_database() {
        for target in [
            FlowTarget::Location("in".parse().unwrap()),
            FlowTarget::Path("/in".parse().unwrap()),
        ] {
            let there = ExpectationDefinition {
                enabled: false,
                place: ExpectedPlace::There {
                    partner: "globex".parse().unwrap(),
                    target,
                },
                by: "23:59".parse().unwrap(),
                rules: ExpectationRules {
                    days: "mon-fri".parse().unwrap(),
                    date_offset: -1,
                    min_size_bytes: Some(1),
                    max_size_bytes: Some(100_000_000),
                    allow_same: true,
                },
                ..kept()
            };
            assert_eq!(
                ExpectationDefinition::from_json(&there.to_json()),
                Some(there)
            );
        }
    }

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        for (text, shown) in [("06:00", "06:00"), ("6:05", "06:05"), ("23:59", "23:59")] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), shown);
        }
        for wrong in [
            "24:00", "6", "06:60", "06:0", "006:00", "+6:00", "06:00:00", "",
        ] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_of_the_week_are_those_of_crontab() {
        for (text, bits) in [
            ("*", 0b111_1111),
            ("1-5", 0b011_1110),
            ("mon-fri", 0b011_1110),
            ("MON,thu", 0b001_0010),
            ("7", 0b000_0001),
            ("0,6", 0b100_0001),
        ] {
            assert_eq!(text.parse::<ExpectedDays>().unwrap().bits(), bits, "{text}");
        }
        for wrong in ["", "8", "5-1", "monday", "1 2", "1-5/0"] {
            assert!(wrong.parse::<ExpectedDays>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        type Change = fn(&mut ExpectationRules);
        let cases: [(Change, Result<(), ExpectationFault>); 6] = [
            (|rules| rules.date_offset = MAX_DATE_OFFSET_DAYS, Ok(())),
            (
                |rules| rules.date_offset = -MAX_DATE_OFFSET_DAYS - 1,
                Err(ExpectationFault::DateOffset),
            ),
            (|rules| rules.min_size_bytes = Some(1), Ok(())),
            (
                |rules| (rules.min_size_bytes, rules.max_size_bytes) = (Some(2), Some(1)),
                Err(ExpectationFault::Sizes),
            ),
            (
                |rules| (rules.min_size_bytes, rules.max_size_bytes) = (Some(1), Some(1)),
                Ok(()),
            ),
            (
                |rules| rules.max_size_bytes = Some(MAX_FILE_BYTES + 1),
                Err(ExpectationFault::Size),
            ),
        ];
        for (change, expected) in cases {
            let mut crm = kept();
            change(&mut crm.rules);
            assert_eq!(crm.check(), expected);
        }
    }

    #[test]
    fn the_date_in_a_name_may_be_another_days() {
        let mut crm = kept();
        assert_eq!(crm.named_day(date(2026, 3, 1)), date(2026, 3, 1));
        crm.rules.date_offset = -1;
        assert_eq!(crm.named_day(date(2026, 3, 1)), date(2026, 2, 28));
    }
}
