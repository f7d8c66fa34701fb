//! How many of something.

use std::num::NonZeroUsize;

use crate::schema::Setting;
use crate::value::Value;

/// The largest [`Count`]. More connections or transfers than this, one process
/// cannot have.
pub const MAX_COUNT: usize = 1_000_000;

/// A number from 1 to [`MAX_COUNT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Count(NonZeroUsize);

impl Count {
    /// The number, at least 1.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0.get()
    }

    /// A number that is checked when this is compiled.
    pub(crate) const fn new_static<const N: usize>() -> Self {
        const {
            assert!(N >= 1 && N <= MAX_COUNT, "out of range");
        }
        match NonZeroUsize::new(N) {
            Some(number) => Self(number),
            None => Self(NonZeroUsize::MIN),
        }
    }
}

impl Setting for Count {
    fn read(value: &Value) -> Result<Self, String> {
        let number = value
            .integer()
            .and_then(|number| usize::try_from(number).ok());
        number
            .filter(|number| *number <= MAX_COUNT)
            .and_then(NonZeroUsize::new)
            .map(Self)
            .ok_or_else(|| format!("a whole number from 1 to {MAX_COUNT}"))
    }

    fn write(&self) -> String {
        self.get().to_string()
    }
}
