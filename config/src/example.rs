//! Settings as text: the documented example file, and settings that are in use.

use crate::schema::{KeyInfo, Section};
use crate::settings::Settings;

const HEAD: &str = "\
# Layover's settings: every key with its default. Uncomment what you change.
#
# Looked for at --config FILE, else ./layover.toml, else /etc/layover/layover.toml.
# Environment variables win: LAYOVER__DATA_DIR, LAYOVER__FTPS__EXPLICIT_PORT, ...
# with lists as \"10.0.0.0/8,192.0.2.1\". `layover check` reports all faults at once.
#
# A time is written like \"30s\", \"15m\", \"36h\", \"5d\" or \"1d12h\". A network is
# \"10.0.0.0/8\", \"192.0.2.1\", \"2001:db8::/32\" or \"any\". A secret is a reference:
# env:NAME or file:/path.
";

impl Settings {
    /// The example file: each key with its documentation and, commented out,
    /// its default.
    #[must_use]
    pub fn example() -> String {
        let settings = Self::default();
        let mut text = HEAD.to_owned();
        for key in settings.keys() {
            write_key(&mut text, &key);
        }
        for (name, section) in settings.sections() {
            text.push('\n');
            write_docs(&mut text, section.about());
            text.push_str(&format!("[{name}]\n"));
            for key in section.keys() {
                write_key(&mut text, &key);
            }
        }
        text
    }

    /// Every key with its value, as a file that reads back equal. Where the
    /// database's URL contains a password, the text does, too.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for key in self.keys() {
            text.push_str(&format!("{} = {}\n", key.name, key.written));
        }
        for (name, section) in self.sections() {
            text.push_str(&format!("\n[{name}]\n"));
            for key in section.keys() {
                text.push_str(&format!("{} = {}\n", key.name, key.written));
            }
        }
        text
    }
}

fn write_key(text: &mut String, key: &KeyInfo) {
    text.push('\n');
    write_docs(text, key.docs);
    // No space behind the sign: that tells a commented-out key from documentation.
    text.push_str(&format!("#{} = {}\n", key.name, key.written));
}

fn write_docs(text: &mut String, docs: &[&str]) {
    for line in docs {
        text.push_str(&format!("#{line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Settings;
    use crate::schema::Section;

    /// The file with each commented-out key, and no documentation, put to use.
    fn uncommented(text: &str) -> String {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
            _ => line,
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_example_file_is_what_the_table_of_settings_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("layover.example.toml");
        let expected = Settings::example();
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "write this into {}:\n{expected}",
            path.display()
        );
    }

    #[test]
    fn the_example_file_uncommented_equals_the_defaults_and_names_every_key() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("layover.example.toml");
        let text = uncommented(&std::fs::read_to_string(path).unwrap());
        let parsed = Settings::parse(&text, "example", std::iter::empty());
        let defaults = Settings::default();
        assert_eq!(parsed.unwrap_or_else(|errors| panic!("{errors}")), defaults);

        let table: toml::Table = text.parse().unwrap();
        for key in defaults.keys() {
            assert!(table.contains_key(key.name), "{}", key.name);
        }
        for (name, section) in defaults.sections() {
            for key in section.keys() {
                assert!(
                    table[name].as_table().unwrap().contains_key(key.name),
                    "{name}.{}",
                    key.name
                );
            }
        }
    }

    #[test]
    fn settings_with_other_values_than_the_defaults_read_back_equal() {
        let text = r#"
            [server]
            public_name = "files.example.com"
            [ftps]
            public_address = [{ from = ["10.0.0.0/8", "any"], address = "192.0.2.77" }]
            certificate = "tls/\"cert\".pem"
            private_key = "vault:kv/tls#key"
            active_mode = true
            [sftp]
            host_keys = ["keys/ed25519", "env:HOST_KEY"]
            trusted_user_ca_keys = ["/etc/layover/ca.pub", "other ca.pub"]
            [gate]
            deny = ["192.0.2.0/24"]
            idle_timeout = "1h1s"
            [outbound]
            source_addresses = ["192.0.2.7", "2001:db8::7"]
            vault_address = "https://vault.example.com:8200"
            vault_token = "file:/run/vault/token"
            vault_namespace = "mft/prod"
        "#;
        let mut settings = Settings::parse(text, "text", std::iter::empty()).unwrap();
        settings.move_to("/srv/lay\nover #1".into());
        let back = Settings::parse(&settings.to_toml(), "written", std::iter::empty());
        assert_eq!(back.unwrap_or_else(|errors| panic!("{errors}")), settings);
    }

    #[test]
    fn the_example_file_as_it_is_changes_nothing() {
        let parsed = Settings::parse(&Settings::example(), "example", std::iter::empty());
        assert_eq!(parsed.unwrap(), Settings::default());
    }
}
