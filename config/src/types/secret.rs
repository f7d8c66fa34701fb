//! References to secrets. A secret itself never stands in the settings.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::schema::Setting;
use crate::value::{Value, quoted};

/// The largest secret: a certificate's key has a few kilobytes at most.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

const EXPECTED: &str =
    "a secret reference: env:NAME or file:/path (vault:path#field is not part of this build)";

/// Where a secret is: `env:NAME`, `file:/path` or `vault:path#field`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SecretRef {
    /// In an environment variable.
    Env(String),
    /// In a file.
    File(PathBuf),
    /// In a vault.
    Vault {
        /// Path of the entry.
        path: String,
        /// Field of the entry.
        field: String,
    },
}

/// A text is no [`SecretRef`]. The text is not repeated: it may be a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{EXPECTED}")]
pub struct SecretRefError;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set.
    #[error("environment variable `{name}` is not set")]
    NotSet {
        /// The variable.
        name: String,
    },
    /// The file cannot be read.
    #[error("secret file `{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the secret at `{reference}` is empty")]
    Empty {
        /// Where.
        reference: SecretRef,
    },
    /// It is larger than [`MAX_SECRET_BYTES`].
    #[error("the secret at `{reference}` is larger than {MAX_SECRET_BYTES} bytes")]
    TooLarge {
        /// Where.
        reference: SecretRef,
    },
    /// It is not what it should be; the secret is not repeated.
    #[error("the secret at `{reference}` is not {expected}")]
    Unusable {
        /// Where.
        reference: SecretRef,
        /// What it should be.
        expected: &'static str,
    },
    /// Nothing here can open a vault.
    #[error(
        "`{reference}` cannot be read: vault: is not part of this build; use env:NAME or file:/path"
    )]
    NoVaultProvider {
        /// Where.
        reference: SecretRef,
    },
}

impl SecretRef {
    /// Fetches the secret; one line end behind it is cut off, as editors leave
    /// one. The bytes are zeroed when they are dropped.
    ///
    /// # Errors
    /// When it is not there, cannot be read, is empty or is too large; for
    /// `vault:` always, until a provider can be configured.
    pub fn resolve(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.resolve_with(|name| std::env::var_os(name))
    }

    pub(crate) fn resolve_with(
        &self,
        variable: impl FnOnce(&str) -> Option<OsString>,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut secret = match self {
            Self::Env(name) => {
                let value =
                    variable(name).ok_or_else(|| SecretError::NotSet { name: name.clone() })?;
                Zeroizing::new(value.into_vec())
            }
            Self::File(path) => read_bounded(path).map_err(|source| SecretError::Unreadable {
                path: path.clone(),
                source,
            })?,
            Self::Vault { .. } => {
                return Err(SecretError::NoVaultProvider {
                    reference: self.clone(),
                });
            }
        };
        if u64::try_from(secret.len()).is_ok_and(|len| len > MAX_SECRET_BYTES) {
            return Err(SecretError::TooLarge {
                reference: self.clone(),
            });
        }
        for end in *b"\n\r" {
            if secret.last() == Some(&end) {
                secret.pop();
            }
        }
        if secret.is_empty() {
            return Err(SecretError::Empty {
                reference: self.clone(),
            });
        }
        Ok(secret)
    }
}

/// The file's content, up to one byte more than is allowed. The whole room is
/// reserved first, because a growing vector leaves copies behind.
fn read_bounded(path: &PathBuf) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = MAX_SECRET_BYTES + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(
        usize::try_from(limit).unwrap_or_default(),
    ));
    File::open(path)?.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

impl FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('\0') {
            return Err(SecretRefError);
        }
        let (scheme, rest) = text.split_once(':').ok_or(SecretRefError)?;
        match scheme {
            "env" if is_variable_name(rest) => Ok(Self::Env(rest.to_owned())),
            "file" if !rest.is_empty() => Ok(Self::File(PathBuf::from(rest))),
            "vault" => match rest.rsplit_once('#') {
                Some((path, field)) if !path.is_empty() && !field.is_empty() => Ok(Self::Vault {
                    path: path.to_owned(),
                    field: field.to_owned(),
                }),
                _ => Err(SecretRefError),
            },
            _ => Err(SecretRefError),
        }
    }
}

fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault { path, field } => write!(f, "vault:{path}#{field}"),
        }
    }
}

/// Where a PEM file or an SSH key is: a path, or a secret reference.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PemSource(SecretRef);

impl PemSource {
    /// The reference; a bare path has become a `file:` reference.
    #[must_use]
    pub const fn reference(&self) -> &SecretRef {
        &self.0
    }

    /// Fetches the key, see [`SecretRef::resolve`].
    ///
    /// # Errors
    /// As [`SecretRef::resolve`] does.
    pub fn resolve(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.0.resolve()
    }
}

impl Setting for PemSource {
    // Somebody may have pasted the key itself.
    const HIDDEN: bool = true;

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.text().unwrap_or_default();
        let is_reference = ["env:", "file:", "vault:"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        if is_reference {
            return text
                .parse()
                .map(Self)
                .map_err(|error: SecretRefError| error.to_string());
        }
        if text.is_empty() || text.contains(char::is_control) || text.contains("-----") {
            return Err(format!("the path of a key file, or {EXPECTED}"));
        }
        Ok(Self(SecretRef::File(PathBuf::from(text))))
    }

    fn write(&self) -> String {
        quoted(&self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{MAX_SECRET_BYTES, PemSource, SecretError, SecretRef, SecretRefError};
    use crate::schema::Setting;
    use crate::value::Value;

    fn reference(text: &str) -> SecretRef {
        text.parse().unwrap()
    }

    #[test]
    fn the_three_forms_are_read_and_written() {
        let vault = SecretRef::Vault {
            path: "kv/layover".to_owned(),
            field: "db".to_owned(),
        };
        for (text, expected) in [
            ("env:DB_URL", SecretRef::Env("DB_URL".to_owned())),
            (
                "file:/run/secrets/db",
                SecretRef::File("/run/secrets/db".into()),
            ),
            ("vault:kv/layover#db", vault),
        ] {
            assert_eq!(text.parse(), Ok(expected));
            assert_eq!(reference(text).to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for text in [
            "",
            "hunter2",
            "env:",
            "env:1A",
            "env:A B",
            "file:",
            "vault:x",
            "vault:#f",
            "vault:p#",
            "http://x",
            "file:a\0b",
        ] {
            assert_eq!(text.parse::<SecretRef>(), Err(SecretRefError), "{text}");
        }
        assert!(!SecretRefError.to_string().contains("hunter2"));
    }

    #[test]
    fn a_variable_is_resolved_without_its_line_end() {
        for (value, secret) in [
            ("s3cret", "s3cret"),
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("a\n\n", "a\n"),
        ] {
            let resolved = reference("env:NAME").resolve_with(|name| {
                assert_eq!(name, "NAME");
                Some(OsString::from(value))
            });
            assert_eq!(resolved.unwrap().as_slice(), secret.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn a_file_is_resolved_up_to_the_limit_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let reference = SecretRef::File(path.clone());
        let limit = usize::try_from(MAX_SECRET_BYTES).unwrap();
        std::fs::write(&path, vec![b'x'; limit]).unwrap();
        assert_eq!(reference.resolve().unwrap().len(), limit);
        std::fs::write(&path, vec![b'x'; limit + 1]).unwrap();
        assert!(matches!(
            reference.resolve(),
            Err(SecretError::TooLarge { .. })
        ));
    }

    #[test]
    fn what_cannot_be_had_is_an_error_that_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let missing = SecretRef::File(dir.path().join("missing"));
        for (result, text) in [
            (
                reference("env:NAME").resolve_with(|_| None),
                "`NAME` is not set",
            ),
            (
                reference("env:NAME").resolve_with(|_| Some("\n".into())),
                "is empty",
            ),
            (missing.resolve(), "missing` cannot be read"),
            (
                reference("vault:kv/db#url").resolve(),
                "vault: is not part of this build",
            ),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_key_is_a_path_or_a_reference_and_never_the_key_itself() {
        let read = |text: &str| PemSource::read(&Value::Text(text.to_owned()));
        assert_eq!(
            *read("tls/key.pem").unwrap().reference(),
            SecretRef::File("tls/key.pem".into())
        );
        assert_eq!(
            *read("env:TLS_KEY").unwrap().reference(),
            SecretRef::Env("TLS_KEY".to_owned())
        );
        for text in ["", "-----BEGIN PRIVATE KEY-----", "a\nb", "env:", "vault:x"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
