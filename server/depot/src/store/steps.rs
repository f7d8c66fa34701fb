//! Statements of one transaction that need nothing from one another.
//!
//! SQLite does them in one go: each trip to its thread and back costs as much
//! as a statement does.

/// What a statement is given.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}

/// One statement, its values numbered from `$1`.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value>,
    /// The whole transaction is worth nothing unless this changes one row.
    pub(super) must_change: bool,
}

impl Step {
    pub(super) fn new<const N: usize>(sql: &'static str, values: [Value; N]) -> Self {
        Self {
            sql,
            values: values.into(),
            must_change: false,
        }
    }

    /// The same; unless it changes one row, the transaction is rolled back.
    pub(super) fn must_change(self) -> Self {
        Self {
            must_change: true,
            ..self
        }
    }
}

/// How a statement that inserts a row returns its number.
pub(super) const INSERTED: &str = "inserted_id";

/// What SQLite says when [`CHECK`] fails.
pub(super) const CHECK_FAILED: &str = "integer overflow";

/// Stops SQLite unless the statement before has changed one row: the smallest
/// integer has no absolute value (https://www.sqlite.org/lang_corefunc.html).
const CHECK: &str = "SELECT iif(changes() = 1, 1, abs(-9223372036854775808))";

/// All statements as one transaction in one text.
pub(super) fn joined_transaction(begin: &str, steps: &[Step]) -> String {
    format!("{begin}; {}; COMMIT", text(steps, Checks::Made))
}

/// All statements as one text; whoever runs it looks at what they changed.
pub(super) fn joined(steps: &[Step]) -> String {
    text(steps, Checks::LeftOut)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    Made,
    LeftOut,
}

/// All statements, their values numbered through.
fn text(steps: &[Step], checks: Checks) -> String {
    let mut text = String::with_capacity(steps.iter().map(|step| step.sql.len() + 8).sum());
    let mut before = 0_usize;
    for step in steps {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let mut parts = step.sql.split('$');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let number: usize = number.parse().unwrap_or_default();
            text.push('$');
            text.push_str(&(number.saturating_add(before)).to_string());
            text.push_str(rest);
        }
        if step.must_change && checks == Checks::Made {
            text.push_str("; ");
            text.push_str(CHECK);
        }
        before = before.saturating_add(step.values.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_through() {
        let steps = [
            Step::new(
                "UPDATE a SET b = $1 WHERE c = $2 AND d <> $1",
                [1.into(), "x".into()],
            ),
            Step::new("DELETE FROM e", []),
            Step::new("INSERT INTO f VALUES ($1)", [vec![1_u8].into()]),
        ];
        assert_eq!(
            joined(&steps),
            "UPDATE a SET b = $1 WHERE c = $2 AND d <> $1; DELETE FROM e; \
             INSERT INTO f VALUES ($3)"
        );
    }

    #[test]
    fn a_transaction_is_checked_where_it_must_be() {
        let step = Step::new("DELETE FROM e", []);
        let steps = [step.clone().must_change(), step];
        assert_eq!(
            joined_transaction("BEGIN", &steps),
            format!("BEGIN; DELETE FROM e; {CHECK}; DELETE FROM e; COMMIT")
        );
    }
}
