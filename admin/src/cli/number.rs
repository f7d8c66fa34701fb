//! Numbers on the command line: what is none is told with what is expected.

use std::fmt::Display;
use std::str::FromStr;

/// A number from `low` to `high`.
pub(super) fn between<T>(low: T, high: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        let number = text.parse().ok();
        number
            .filter(|number| (low..=high).contains(number))
            .ok_or_else(|| format!("expected a number from {low} to {high}"))
    }
}

/// A number from `low` on.
pub(super) fn from<T>(low: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        let number = text.parse().ok();
        number
            .filter(|number| *number >= low)
            .ok_or_else(|| format!("expected a number, {low} or more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_or_too_much_is_told_with_what_is_expected() {
        let parallel = between(1_u16, 32);
        assert_eq!((parallel("1"), parallel("32")), (Ok(1), Ok(32)));
        for text in ["0", "33", "-1", "abc", "", "1.5", "99999999999999999999"] {
            assert_eq!(
                parallel(text).unwrap_err(),
                "expected a number from 1 to 32"
            );
        }
        let run = from(1_i64);
        assert_eq!(run("7"), Ok(7));
        for text in ["0", "-1", "abc"] {
            assert_eq!(run(text).unwrap_err(), "expected a number, 1 or more");
        }
    }
}
