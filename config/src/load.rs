//! Finds the settings and reads them: file, environment, defaults.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::check;
use crate::error::{ConfigError, ConfigErrors, Fault, Origin};
use crate::settings::Settings;
use crate::types::database_url::DatabaseUrl;
use crate::walk::Walk;

/// Where settings are looked for, when no file is named.
pub const SEARCH_PATH: [&str; 2] = ["./layover.toml", "/etc/layover/layover.toml"];

/// Begins the name of every environment variable that is a setting:
/// `LAYOVER__DATA_DIR`, `LAYOVER__FTPS__EXPLICIT_PORT`.
pub const ENV_PREFIX: &str = "LAYOVER__";

/// Begins every name that looks like a setting's. With one underscore it sets
/// nothing, and is reported: a setting that is silently ignored is the default.
pub(crate) const ENV_LOOKALIKE: &str = "LAYOVER_";

/// The tests' own variables (`LAYOVER_TEST_POSTGRES_URL`), which tests hand
/// down to the executable without a thought.
const ENV_OF_TESTS: &str = "LAYOVER_TEST_";

/// The largest settings file: a thousand times what is written by hand.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Settings and where they come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    given: BTreeMap<String, Origin>,
    /// The settings.
    pub settings: Settings,
    /// The file that was read, if there was one.
    pub source: Option<PathBuf>,
}

impl Loaded {
    /// Where the value of `key` (`data_dir`, `sftp.listen`) was written.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.given.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// The process's environment for [`Settings::load`]: the variables that are
/// settings, and those that look like it. Text that is not UTF-8 is replaced by signs that no setting takes.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, value)| is_meant_for_us(name, value))
}

/// Whether a variable is a setting, or was perhaps meant to be one.
fn is_meant_for_us(name: &str, value: &str) -> bool {
    // Kubernetes gives every container such variables for a service that is
    // called `layover`; nobody wrote them.
    let of_kubernetes = name.starts_with("LAYOVER_SERVICE_")
        || name.starts_with("LAYOVER_PORT_")
        || (name == "LAYOVER_PORT" && value.contains("://"));
    name.starts_with(ENV_LOOKALIKE) && !name.starts_with(ENV_OF_TESTS) && !of_kubernetes
}

impl Settings {
    /// Reads the file `explicit`, else the first that exists of
    /// [`SEARCH_PATH`], else none; then `env`, which wins. What neither says has
    /// its default; the database and the homes lie in `data_dir` then.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        explicit: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        Self::load_from(explicit, &SEARCH_PATH.map(Path::new), env)
    }

    fn load_from(
        explicit: Option<&Path>,
        search_path: &[&Path],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut walk = Walk::default();
        let mut source = None;
        for path in explicit.map_or_else(|| search_path.to_vec(), |path| vec![path]) {
            let name = path.display().to_string();
            match read_file(path) {
                Err(Fault::Unreadable { source })
                    if explicit.is_none() && source.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                Err(fault) => {
                    let origin = Origin::File { name, line: None };
                    walk.errors.push(ConfigError { origin, fault });
                }
                Ok(text) => walk.read_toml(&text, &name),
            }
            source = Some(path.to_owned());
            break;
        }
        walk.read_env(env);
        let given = walk.given().clone();
        Ok(Loaded {
            given,
            settings: finish(walk)?,
            source,
        })
    }

    /// Puts this node's own things into `data_dir`, the SQLite database and the
    /// homes among them.
    pub fn move_to(&mut self, data_dir: PathBuf) {
        self.database.url = DatabaseUrl::sqlite_in(&data_dir);
        self.storage.homes = data_dir.join("homes");
        self.data_dir = data_dir;
    }

    /// Reads TOML in `text`, then `env`, which wins; `origin` is the name of the
    /// text in messages.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(
        text: &str,
        origin: &str,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut walk = Walk::default();
        walk.read_toml(text, origin);
        walk.read_env(env);
        finish(walk)
    }
}

fn read_file(path: &Path) -> Result<String, Fault> {
    let unreadable = |source| Fault::Unreadable { source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return Err(Fault::TooLarge {
            limit_bytes: MAX_FILE_BYTES,
        });
    }
    String::from_utf8(bytes).map_err(|_| Fault::NotText)
}

fn finish(mut walk: Walk) -> Result<Settings, ConfigErrors> {
    derive_defaults(&mut walk);
    check::check(&mut walk);
    ConfigErrors::check(walk.errors)?;
    Ok(walk.settings)
}

/// Defaults that follow other settings.
fn derive_defaults(walk: &mut Walk) {
    if !walk.was_written("database.url") {
        walk.settings.database.url = DatabaseUrl::sqlite_in(&walk.settings.data_dir);
    }
    if !walk.was_written("storage.homes") {
        walk.settings.storage.homes = walk.settings.data_dir.join("homes");
    }
    if !walk.was_written("retention.partial_keep") {
        let retention = &mut walk.settings.retention;
        retention.partial_keep = retention.partial_keep.min(retention.max_keep);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Fault, Loaded, MAX_FILE_BYTES, Settings, is_meant_for_us};

    fn load(explicit: Option<&Path>, search_path: &[&Path]) -> Result<Loaded, String> {
        Settings::load_from(explicit, search_path, std::iter::empty())
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_named_file_counts_then_the_first_that_exists_then_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let [named, first, second] = ["named", "first", "second"].map(|name| dir.path().join(name));
        for (file, port) in [(&named, 1), (&first, 2), (&second, 3)] {
            fs::write(file, format!("[sftp]\nport = {port}\n")).unwrap();
        }
        let search: [&Path; 2] = [&first, &second];

        for (explicit, removed, source, port) in [
            (Some(named.as_path()), None, Some(&named), 1),
            (None, None, Some(&first), 2),
            (None, Some(&first), Some(&second), 3),
            (None, Some(&second), None, 2222),
        ] {
            if let Some(removed) = removed {
                fs::remove_file(removed).unwrap();
            }
            let loaded = load(explicit, &search).unwrap();
            assert_eq!(
                (loaded.source.as_ref(), loaded.settings.sftp.port.get()),
                (source, port)
            );
        }
    }

    #[test]
    fn only_variables_that_somebody_may_have_meant_as_settings_are_read() {
        for (name, value, meant) in [
            ("LAYOVER__SFTP__PORT", "1", true),
            ("LAYOVER_SFTP_PORT", "1", true),
            ("LAYOVER_PORT", "2022", true),
            ("LAYOVER_PORT", "tcp://10.0.0.1:2222", false),
            ("LAYOVER_PORT_2222_TCP_ADDR", "10.0.0.1", false),
            ("LAYOVER_SERVICE_HOST", "10.0.0.1", false),
            ("LAYOVER_TEST_SEED", "1", false),
            ("LAYOVERS", "1", false),
        ] {
            assert_eq!(is_meant_for_us(name, value), meant, "{name}={value}");
        }
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error_and_not_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.toml");
        let error = load(Some(&missing), &[]).unwrap_err();
        assert!(error.contains("missing.toml: cannot be read"), "{error}");
    }

    #[test]
    fn a_found_file_that_cannot_be_read_is_an_error_and_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let second = dir.path().join("second");
        fs::write(&second, "").unwrap();
        let error = load(None, &[dir.path(), &second]).unwrap_err();
        assert!(error.contains("cannot be read"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layover.toml");
        fs::write(&file, b"data_dir = \"\xff\"").unwrap();
        let error = load(Some(&file), &[]).unwrap_err();
        assert!(error.contains("layover.toml: is not UTF-8"), "{error}");
    }

    #[test]
    fn a_file_may_have_the_largest_size_and_not_a_byte_more() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layover.toml");
        let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
        fs::write(&file, "#".repeat(limit)).unwrap();
        assert!(load(Some(&file), &[]).is_ok());
        fs::write(&file, "#".repeat(limit + 1)).unwrap();
        let errors = Settings::load(Some(&file), std::iter::empty()).unwrap_err();
        assert!(
            matches!(errors.errors()[0].fault, Fault::TooLarge { .. }),
            "{errors}"
        );
    }

    #[test]
    fn faults_of_the_environment_are_reported_even_without_a_readable_file() {
        let env = [("LAYOVER__SFTP__PORT".to_owned(), "x".to_owned())];
        let missing = Path::new("/nonexistent/layover.toml");
        let errors = Settings::load(Some(missing), env.into_iter()).unwrap_err();
        assert_eq!(errors.errors().len(), 2, "{errors}");
    }
}
