//! How one list of keys becomes a type, its defaults, its parser and its
//! documentation.

use crate::value::Value;

/// A type that a setting can have.
pub(crate) trait Setting: Sized {
    /// Whether a message must not repeat a value, wrong as it may be.
    const HIDDEN: bool = false;

    /// The value, or what was expected instead.
    fn read(value: &Value) -> Result<Self, String>;

    /// The value as TOML.
    fn write(&self) -> String;
}

/// A value that its key does not take.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// The value as a message may show it.
    pub(crate) shown: String,
    /// What was expected.
    pub(crate) expected: String,
}

/// Reads a value and keeps what a message needs when it is wrong.
pub(crate) fn read<T: Setting>(value: &Value) -> Result<T, Rejected> {
    T::read(value).map_err(|expected| {
        let shown = if T::HIDDEN {
            "(not shown)".to_owned()
        } else {
            value.to_string()
        };
        Rejected { shown, expected }
    })
}

/// A key, its documentation and its present value as TOML.
#[derive(Debug)]
pub(crate) struct KeyInfo {
    pub(crate) name: &'static str,
    pub(crate) docs: &'static [&'static str],
    pub(crate) written: String,
}

/// A section of the settings, or their top level.
pub(crate) trait Section {
    /// What the section is for, line by line.
    fn about(&self) -> &'static [&'static str];

    /// Its keys, in the order of the documentation.
    fn keys(&self) -> Vec<KeyInfo>;

    /// Sets one key; `None` when there is no such key.
    fn set(&mut self, key: &str, value: &Value) -> Option<Result<(), Rejected>>;

    /// The sections within.
    fn sections(&self) -> Vec<(&'static str, &dyn Section)> {
        Vec::new()
    }

    /// One of the sections within.
    fn section_mut(&mut self, _name: &str) -> Option<&mut dyn Section> {
        None
    }
}

/// Declares a section: each key with its documentation, type and default.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $Name:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $Type:ty = $default:expr, )*
        }
        $( sections { $( $section:ident: $Section:ident, )* } )?
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $Name {
            $( $(#[doc = $doc])* pub $key: $Type, )*
            $($(
                #[doc = concat!("`[", stringify!($section), "]`")]
                pub $section: $Section,
            )*)?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self {
                    $( $key: $default, )*
                    $($( $section: $Section::default(), )*)?
                }
            }
        }

        impl $crate::schema::Section for $Name {
            fn about(&self) -> &'static [&'static str] {
                &[$($about),*]
            }

            fn keys(&self) -> Vec<$crate::schema::KeyInfo> {
                vec![$(
                    $crate::schema::KeyInfo {
                        name: stringify!($key),
                        docs: &[$($doc),*],
                        written: <$Type as $crate::schema::Setting>::write(&self.$key),
                    },
                )*]
            }

            fn set(
                &mut self,
                key: &str,
                value: &$crate::value::Value,
            ) -> Option<Result<(), $crate::schema::Rejected>> {
                match key {
                    $(
                        stringify!($key) => Some(
                            $crate::schema::read::<$Type>(value).map(|read| self.$key = read),
                        ),
                    )*
                    _ => None,
                }
            }

            $(
                fn sections(&self) -> Vec<(&'static str, &dyn $crate::schema::Section)> {
                    vec![$( (stringify!($section), &self.$section), )*]
                }

                fn section_mut(&mut self, name: &str) -> Option<&mut dyn $crate::schema::Section> {
                    match name {
                        $( stringify!($section) => Some(&mut self.$section), )*
                        _ => None,
                    }
                }
            )?
        }
    };
}

pub(crate) use section;
