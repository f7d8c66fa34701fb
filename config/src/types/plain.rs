//! Settings whose type is the standard library's.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::schema::Setting;
use crate::value::{Value, quoted};

impl Setting for bool {
    fn read(value: &Value) -> Result<Self, String> {
        value.boolean().ok_or_else(|| "true or false".to_owned())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for IpAddr {
    fn read(value: &Value) -> Result<Self, String> {
        let address = value.text().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "an IP address such as \"0.0.0.0\" or \"::\"".to_owned())
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for SocketAddr {
    fn read(value: &Value) -> Result<Self, String> {
        let address = value.text().and_then(|text| text.parse().ok());
        address.ok_or_else(|| {
            "address and port such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned()
        })
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for PathBuf {
    fn read(value: &Value) -> Result<Self, String> {
        let path = value
            .text()
            .filter(|text| !text.is_empty() && !text.contains('\0'));
        path.map(Self::from).ok_or_else(|| "a path".to_owned())
    }

    fn write(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// Nothing is written as the empty text.
impl<T: Setting> Setting for Option<T> {
    const HIDDEN: bool = T::HIDDEN;

    fn read(value: &Value) -> Result<Self, String> {
        if value.text() == Some("") {
            return Ok(None);
        }
        T::read(value)
            .map(Some)
            .map_err(|expected| format!("{expected}, or \"\" for none"))
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), Setting::write)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const HIDDEN: bool = T::HIDDEN;

    fn read(value: &Value) -> Result<Self, String> {
        let items = value
            .list()
            .ok_or_else(|| "a list such as [\"...\", \"...\"]".to_owned())?;
        items
            .iter()
            .zip(1..)
            .map(|(item, number)| {
                T::read(item).map_err(|expected| format!("as item {number} {expected}"))
            })
            .collect()
    }

    fn write(&self) -> String {
        let items: Vec<_> = self.iter().map(Setting::write).collect();
        format!("[{}]", items.join(", "))
    }
}
