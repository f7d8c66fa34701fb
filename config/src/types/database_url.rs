//! Where the database is.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::schema::Setting;
use crate::types::secret::{SecretError, SecretRef};
use crate::value::{Value, quoted};

const SCHEMES: [&str; 3] = ["sqlite:", "postgres://", "postgresql://"];
const EXPECTED: &str = "sqlite:PATH or postgres://USER@HOST/NAME";

/// A database URL, or where to find one. `Display` and `Debug` show no password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl(Source);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Source {
    Plain(String),
    Secret(SecretRef),
}

impl DatabaseUrl {
    /// The SQLite database of a data directory.
    pub(crate) fn sqlite_in(data_dir: &Path) -> Self {
        let path = data_dir.join("layover.db");
        // A directory's name may contain the URL's own signs, and those that no URL has.
        let is_special = |c: char| matches!(c, '%' | '?' | '#') || c.is_ascii_control();
        let mut escaped = String::new();
        for c in path.to_string_lossy().chars() {
            if is_special(c) {
                escaped.push_str(&format!("%{:02x}", u32::from(c)));
            } else {
                escaped.push(c);
            }
        }
        Self(Source::Plain(format!("sqlite:{escaped}")))
    }

    /// The URL itself, which may contain a password.
    ///
    /// # Errors
    /// When it is a reference that cannot be resolved, or leads to something
    /// that is no database URL.
    pub fn resolve(&self) -> Result<Zeroizing<String>, SecretError> {
        self.resolve_with(|name| std::env::var_os(name))
    }

    fn resolve_with(
        &self,
        variable: impl FnOnce(&str) -> Option<OsString>,
    ) -> Result<Zeroizing<String>, SecretError> {
        match &self.0 {
            Source::Plain(url) => Ok(Zeroizing::new(url.clone())),
            Source::Secret(reference) => {
                let secret = reference.resolve_with(variable)?;
                match str::from_utf8(&secret) {
                    Ok(url) if is_url(url) => Ok(Zeroizing::new(url.to_owned())),
                    _ => Err(SecretError::Unusable {
                        reference: reference.clone(),
                        expected: EXPECTED,
                    }),
                }
            }
        }
    }
}

fn without_user(place: &str) -> &str {
    place.rsplit_once('@').map_or(place, |(_, host)| host)
}

fn is_url(text: &str) -> bool {
    let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty()) && !text.contains(|c: char| c.is_ascii_control())
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Secret(reference) => reference.fmt(f),
            Source::Plain(url) => match url.split_once("://") {
                None => f.write_str(url),
                // Whatever stands before the host or among the parameters may be the password.
                Some((scheme, rest)) => match rest.split_once('?') {
                    Some((_, parameters)) if parameters.contains('@') => {
                        write!(f, "{scheme}://...")
                    }
                    Some((place, _)) => write!(f, "{scheme}://{}?...", without_user(place)),
                    None => write!(f, "{scheme}://{}", without_user(rest)),
                },
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl Setting for DatabaseUrl {
    const HIDDEN: bool = true;

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.text().unwrap_or_default();
        if is_url(text) {
            return Ok(Self(Source::Plain(text.to_owned())));
        }
        let reference = text
            .parse()
            .map_err(|error| format!("{EXPECTED}, or {error}"))?;
        Ok(Self(Source::Secret(reference)))
    }

    fn write(&self) -> String {
        match &self.0 {
            Source::Plain(url) => quoted(url),
            Source::Secret(reference) => quoted(&reference.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::DatabaseUrl;
    use crate::schema::Setting;
    use crate::value::Value;

    fn read(text: &str) -> Result<DatabaseUrl, String> {
        DatabaseUrl::read(&Value::Text(text.to_owned()))
    }

    #[test]
    fn neither_display_nor_debug_shows_the_password() {
        for (text, shown) in [
            (
                "postgres://app:hunter2@db.example/layover",
                "postgres://db.example/layover",
            ),
            (
                "postgres://app:hun@ter2@db/layover",
                "postgres://db/layover",
            ),
            (
                "postgresql://db/layover?user=a&password=hunter2",
                "postgresql://db/layover?...",
            ),
            (
                "postgres:///layover?host=/run/postgresql",
                "postgres:///layover?...",
            ),
            (
                "postgresql://db/layover?password=hunt@er2",
                "postgresql://...",
            ),
            ("postgres://app:hunt?er2@db/layover", "postgres://..."),
            ("sqlite:data/layover.db", "sqlite:data/layover.db"),
            ("env:DB_URL", "env:DB_URL"),
        ] {
            let url = read(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
    }

    #[test]
    fn a_plain_url_and_a_reference_to_one_resolve_to_the_same() {
        let text = "postgres://app:hunter2@db/layover";
        assert_eq!(read(text).unwrap().resolve().unwrap().as_str(), text);
        let resolved = read("env:DB_URL")
            .unwrap()
            .resolve_with(|_| Some(text.into()));
        assert_eq!(resolved.unwrap().as_str(), text);
    }

    #[test]
    fn a_reference_to_something_else_is_refused_without_showing_it() {
        let resolved = read("env:DB_URL")
            .unwrap()
            .resolve_with(|_| Some("hunter2".into()));
        let error = resolved.unwrap_err().to_string();
        assert!(
            error.contains("env:DB_URL") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for text in [
            "",
            "sqlite:",
            "mysql://db/layover",
            "layover.db",
            "postgres://",
            "env:",
            "sqlite:a\nb",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_data_directory_with_the_signs_of_a_url_is_escaped() {
        let url = DatabaseUrl::sqlite_in(Path::new("/srv/100%?#\n1"));
        assert_eq!(url.to_string(), "sqlite:/srv/100%25%3f%23%0a1/layover.db");
    }
}
