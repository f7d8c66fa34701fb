//! `layover backup` and `layover restore`.
//!
//! A backup is a tar archive inside an age file (age-encryption.org/v1): with
//! `age` and `tar` anybody who has the secret can look into it without us.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use age::secrecy::SecretString;
use layover_config::SEARCH_PATH;
use layover_depot::{BackupReport, BackupSink, Restore, Role};
use layover_retention::Timestamp;
use layover_server::depot_options;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{BackupArgs, RestoreArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::new_file::NewFile;
use crate::output::note;
use crate::value::ByteSize;

/// What belongs to a node besides the database: names in the archive, and in
/// `data_dir`.
const NODE: &str = "node/";
const KEYS: &str = "keys";
const NODE_ID: &str = "node-id";

/// The settings file, as it was.
const SETTINGS: &str = "settings/layover.toml";

/// Bytes of a key, or of a settings file, that are taken at most.
const MAX_SMALL_BYTES: u64 = 1024 * 1024;

/// Bytes of a passphrase file that are read.
const MAX_PASSPHRASE_BYTES: u64 = 4096;

/// The archive that a backup is written to.
struct Archive<W: Write> {
    tar: tar::Builder<W>,
    at: u64,
}

impl<W: Write> Archive<W> {
    fn header(size_bytes: u64, modified_s: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(size_bytes);
        header.set_mtime(modified_s);
        header
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_micros().div_euclid(1_000_000)).unwrap_or(0)
}

impl<W: Write> BackupSink for Archive<W> {
    fn entry(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = Self::header(content.len() as u64, self.at);
        self.tar.append_data(&mut header, name, content)
    }

    fn file(
        &mut self,
        name: &str,
        size_bytes: u64,
        modified_at: Timestamp,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut header = Self::header(size_bytes, seconds(modified_at));
        let mut counted = Counted { content, read: 0 };
        self.tar.append_data(&mut header, name, &mut counted)?;
        if counted.read == size_bytes {
            Ok(())
        } else {
            // The header has promised more: the archive is broken from here on.
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

struct Counted<'a> {
    content: &'a mut dyn Read,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.read = self.read.saturating_add(read as u64);
        Ok(read)
    }
}

#[derive(Debug, Serialize)]
struct View {
    file: String,
    #[serde(flatten)]
    report: BackupReport,
}

/// `layover backup`.
pub(super) async fn backup(context: &mut Context, arguments: BackupArgs) -> Result<(), CliError> {
    let out = arguments.out.clone();
    let fault = |source| CliError::ExportFile {
        file: out.clone(),
        source,
    };
    let encryptor = encryptor(&arguments)?;
    if out == Path::new("-") {
        let written = write(context, &arguments, encryptor, io::stdout(), &fault);
        return written.await.map(drop);
    }
    let file = NewFile::begin(&out)?;
    let (file, report) = write(context, &arguments, encryptor, file, &fault).await?;
    file.finish()?;
    let sentence = format!(
        "backup written to {}: {} rows, {} files ({})",
        out.display(),
        report.rows,
        report.files,
        ByteSize(report.file_bytes)
    );
    let view = View {
        file: out.display().to_string(),
        report,
    };
    context.out.done(&view, &sentence)?;
    if !arguments.files {
        note("the partners' files are not in it; --files takes them along");
    }
    Ok(())
}

async fn write<W: Write>(
    context: &Context,
    arguments: &BackupArgs,
    encryptor: age::Encryptor,
    to: W,
    fault: &impl Fn(io::Error) -> CliError,
) -> Result<(W, BackupReport), CliError> {
    let encrypted = encryptor.wrap_output(to).map_err(fault)?;
    let mut archive = Archive {
        tar: tar::Builder::new(encrypted),
        at: seconds(context.clock.now()),
    };
    let depot = context.depot().await?;
    let report = depot.backup(arguments.files, &mut archive).await;
    depot.close().await;
    let report = report?;
    for (name, content) in of_this_node(&context.settings.data_dir).map_err(fault)? {
        archive.entry(&name, &content).map_err(fault)?;
    }
    if let Some(settings) = settings_file(context) {
        archive.entry(SETTINGS, &settings).map_err(fault)?;
    }
    let encrypted = archive.tar.into_inner().map_err(fault)?;
    let mut to = encrypted.finish().map_err(fault)?;
    to.flush().map_err(fault)?;
    Ok((to, report))
}

/// Keys and name of this node.
fn of_this_node(data_dir: &Path) -> io::Result<Vec<(String, Zeroizing<Vec<u8>>)>> {
    let mut entries = Vec::new();
    let mut take = |path: PathBuf, name: String| -> io::Result<()> {
        let mut content = Zeroizing::new(Vec::new());
        File::open(path)?
            .take(MAX_SMALL_BYTES)
            .read_to_end(&mut content)?;
        entries.push((name, content));
        Ok(())
    };
    let node_id = data_dir.join(NODE_ID);
    if node_id.is_file() {
        take(node_id, format!("{NODE}{NODE_ID}"))?;
    }
    let keys = data_dir.join(KEYS);
    if keys.is_dir() {
        for key in fs::read_dir(keys)? {
            let key = key?;
            let name = key.file_name();
            if let (true, Some(name)) = (key.file_type()?.is_file(), name.to_str()) {
                take(key.path(), format!("{NODE}{KEYS}/{name}"))?;
            }
        }
    }
    Ok(entries)
}

/// The settings file that is in force, for the record.
fn settings_file(context: &Context) -> Option<Vec<u8>> {
    let named = context.config.clone();
    let found = SEARCH_PATH.iter().map(PathBuf::from);
    let file = named.into_iter().chain(found).find(|file| file.is_file())?;
    let mut text = Vec::new();
    File::open(file)
        .ok()?
        .take(MAX_SMALL_BYTES)
        .read_to_end(&mut text)
        .ok()?;
    Some(text)
}

/// `layover restore`.
pub(super) async fn restore(context: &mut Context, arguments: RestoreArgs) -> Result<(), CliError> {
    let file = arguments.file.clone();
    let unreadable = |source| CliError::BackupFile {
        file: file.clone(),
        source,
    };
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&file).map_err(unreadable)?)
    };
    let locked = |source| CliError::BackupLocked {
        file: file.clone(),
        source,
    };
    let identity = identity(&arguments)?;
    let decryptor = age::Decryptor::new_buffered(BufReader::new(input)).map_err(locked)?;
    let plain = decryptor
        .decrypt(std::iter::once(identity.as_ref() as &dyn age::Identity))
        .map_err(locked)?;
    let options = depot_options(&context.settings, context.clock.clone(), Role::Tool)?;
    let mut archive = tar::Archive::new(plain);
    let mut restore: Option<Restore> = None;
    let mut settings = None;
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry
            .path()
            .map_err(unreadable)?
            .to_string_lossy()
            .into_owned();
        let Some(begun) = &mut restore else {
            restore = Some(Restore::begin(&options, &name, &mut entry).await?);
            continue;
        };
        let header = entry.header();
        let size_bytes = header.size().map_err(unreadable)?;
        let modified_s = header.mtime().map_err(unreadable)?;
        let modified_at = Timestamp::from_micros(
            i64::try_from(modified_s)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000),
        );
        if begun
            .entry(&name, size_bytes, modified_at, &mut entry)
            .await?
        {
            continue;
        }
        if name == SETTINGS {
            settings = Some(read_small(&mut entry).map_err(unreadable)?);
        } else if let Some(rest) = name.strip_prefix(NODE) {
            let content = read_small(&mut entry).map_err(unreadable)?;
            put_back(&context.settings.data_dir, rest, &content).map_err(unreadable)?;
        }
    }
    let Some(restore) = restore else {
        return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
    };
    let created_at = restore.manifest().created_at;
    let had_files = restore.manifest().files;
    let report = restore.finish(&context.actor).await?;
    if let Some(settings) = settings {
        put_back(
            &context.settings.data_dir,
            "restored-layover.toml",
            &settings,
        )
        .map_err(unreadable)?;
        note("the settings of that time are in restored-layover.toml in data_dir");
    }
    let sentence = format!(
        "restored as of {created_at}: {} rows, {} files ({}) from the backup",
        report.rows,
        report.files,
        ByteSize(report.file_bytes)
    );
    context.out.done(&report, &sentence)?;
    if report.absent > 0 {
        let why = if had_files {
            "they went while the backup was written"
        } else {
            "the backup is without files, and the homes do not have them"
        };
        note(&format!(
            "{} files of the ledger are not there ({why}); the server will journal them as missing",
            report.absent
        ));
    }
    Ok(())
}

fn read_small(content: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    content.take(MAX_SMALL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file below `data_dir`, for this user alone. A name that leads
/// elsewhere is refused.
fn put_back(data_dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let relative = Path::new(name);
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("`{name}` leads out of the data directory"),
        ));
    }
    let path = data_dir.join(relative);
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn encryptor(arguments: &BackupArgs) -> Result<age::Encryptor, CliError> {
    if let Some(file) = &arguments.passphrase_file {
        return Ok(age::Encryptor::with_user_passphrase(passphrase(file)?));
    }
    let mut recipients = Vec::new();
    for text in &arguments.recipient {
        let recipient: age::x25519::Recipient =
            text.parse().map_err(|reason| CliError::Recipient {
                text: text.clone(),
                reason,
            })?;
        recipients.push(recipient);
    }
    let recipients = recipients.iter().map(|it| it as &dyn age::Recipient);
    age::Encryptor::with_recipients(recipients).map_err(|_| CliError::Recipient {
        text: arguments.recipient.join(", "),
        reason: "they do not go together",
    })
}

fn identity(arguments: &RestoreArgs) -> Result<Box<dyn age::Identity>, CliError> {
    if let Some(file) = &arguments.passphrase_file {
        return Ok(Box::new(age::scrypt::Identity::new(passphrase(file)?)));
    }
    let file = arguments.identity.clone().unwrap_or_default();
    let fault = |source| CliError::Identity {
        file: file.clone(),
        source,
    };
    let mut text = Zeroizing::new(String::new());
    File::open(&file)
        .map_err(fault)?
        .take(MAX_PASSPHRASE_BYTES)
        .read_to_string(&mut text)
        .map_err(fault)?;
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or_default();
    let identity: age::x25519::Identity = line
        .parse()
        .map_err(|why| fault(io::Error::new(io::ErrorKind::InvalidData, why)))?;
    Ok(Box::new(identity))
}

/// The first line of a file.
fn passphrase(file: &Path) -> Result<SecretString, CliError> {
    let fault = |source| CliError::BackupFile {
        file: file.to_owned(),
        source,
    };
    let mut text = Zeroizing::new(String::new());
    File::open(file)
        .map_err(fault)?
        .take(MAX_PASSPHRASE_BYTES)
        .read_to_string(&mut text)
        .map_err(fault)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(SecretString::from(line.to_owned())),
        _ => Err(CliError::NoPassphrase {
            file: file.to_owned(),
        }),
    }
}
