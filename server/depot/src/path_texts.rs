//! Paths as JSON and people have them: text, and their bytes where they are none.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::VirtualPath;

/// A path as JSON tells it, to be flattened into what has it: `path` as text and, where
/// it is not UTF-8, `path_hex`, its bytes in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTexts {
    /// As text; what is not UTF-8 in it is replaced.
    pub path: String,
    /// The whole path where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
}

impl PathTexts {
    /// Of a path's bytes.
    pub(crate) fn of(path: &[u8]) -> Self {
        let is_text = std::str::from_utf8(path).is_ok();
        Self {
            path: String::from_utf8_lossy(path).into_owned(),
            path_hex: (!is_text).then(|| hex::encode(path)),
        }
    }
}

impl From<&VirtualPath> for PathTexts {
    fn from(path: &VirtualPath) -> Self {
        Self::of(path.as_bytes())
    }
}

impl fmt::Display for PathTexts {
    /// For people, who may give back what they see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path_hex {
            Some(hex) => write!(f, "{} (hex:{hex})", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// For `#[serde(flatten, serialize_with)]`.
pub(crate) fn in_texts<S: Serializer>(
    path: &VirtualPath,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    PathTexts::from(path).serialize(serializer)
}

/// The same, where there may be none.
pub(crate) fn in_texts_or_null<S: Serializer>(
    path: &Option<VirtualPath>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Nothing {
        path: (),
    }
    match path {
        Some(path) => in_texts(path, serializer),
        None => Nothing { path: () }.serialize(serializer),
    }
}
