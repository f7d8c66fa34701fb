//! Certificates and journal for auditors: exported, and checked again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use layover_depot::Depot;
use layover_retention::{ChainName, Flaw, Line, MAX_LINE_BYTES, PublicKey, Verified, Verifier};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::new_file::NewFile;
use crate::output::{Output, note};

/// Bytes of a file with public keys that are read at most.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// What an export held.
#[derive(Debug, Serialize)]
struct Exported {
    chain: ChainName,
    entries: u64,
    file: String,
}

/// The public keys, one a line.
pub(super) async fn public_keys(context: &mut Context, depot: &Depot) -> Result<(), CliError> {
    let keys = depot.evidence().public_keys().await?;
    if keys.is_empty() {
        return Err(CliError::NoSigningKey);
    }
    let text: Vec<_> = keys.iter().map(ToString::to_string).collect();
    context.out.done(&keys, &text.join("\n"))?;
    Ok(())
}

/// Writes a whole chain to `out`: the file appears when it is complete.
pub(super) async fn export(
    context: &mut Context,
    depot: &Depot,
    chain: ChainName,
    out: &Path,
) -> Result<(), CliError> {
    let fault = |source| CliError::ExportFile {
        file: out.to_owned(),
        source,
    };
    if out == Path::new("-") {
        write_chain(depot, chain, &mut io::stdout().lock(), fault).await?;
        return Ok(());
    }
    let mut file = NewFile::begin(out)?;
    let entries = write_chain(depot, chain, &mut file, fault).await?;
    file.finish()?;
    let exported = Exported {
        chain,
        entries,
        file: out.display().to_string(),
    };
    let sentence = format!(
        "{entries} entries of the {chain} written to {}",
        exported.file
    );
    context.out.done(&exported, &sentence)?;
    if !context.out.is_json() {
        note(
            "check it anywhere with `layover retention verify FILE --public-key KEY`; \
             `layover retention public-key` prints the key, which the auditor should have from \
             another day",
        );
    }
    Ok(())
}

async fn write_chain(
    depot: &Depot,
    chain: ChainName,
    to: &mut impl Write,
    fault: impl Fn(io::Error) -> CliError,
) -> Result<u64, CliError> {
    let evidence = depot.evidence();
    let mut shard = evidence.export(chain).await?;
    let mut entries = 0;
    loop {
        for line in &shard.lines {
            entries += u64::from(matches!(line, Line::Entry { .. }));
            let text = line.to_text().map_err(|error| fault(error.into()))?;
            writeln!(to, "{text}").map_err(&fault)?;
        }
        if shard.is_last {
            to.flush().map_err(fault)?;
            return Ok(entries);
        }
        shard = evidence.export_next(chain, &shard).await?;
    }
}

/// Checks the journal as it stands in the database.
pub(super) async fn verify(
    context: &mut Context,
    depot: &Depot,
    keys: &[String],
) -> Result<(), CliError> {
    let evidence = depot.evidence();
    let keys = if keys.is_empty() {
        evidence.public_keys().await?
    } else {
        read_keys(keys)?
    };
    let chain = ChainName::Journal;
    let mut verifier = Verifier::new(&keys);
    let mut shard = evidence.export(chain).await?;
    loop {
        for line in &shard.lines {
            let text = line.to_text().map_err(io::Error::from)?;
            verifier.line(text.as_bytes()).map_err(broken)?;
        }
        if shard.is_last {
            break;
        }
        shard = evidence.export_next(chain, &shard).await?;
    }
    let verified = verifier.end().map_err(broken)?;
    let intruders = evidence.intruders(chain).await?;
    if !intruders.is_empty() {
        return Err(CliError::SlippedIn { ids: intruders });
    }
    tell(&mut context.out, &verified)
}

/// Checks an export without any data of ours.
pub(super) fn verify_file(file: &Path, keys: &[String], json: bool) -> Result<(), CliError> {
    let keys = read_keys(keys)?;
    let fault = |source| CliError::VerifyFile {
        file: file.to_owned(),
        source,
    };
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(fault)?)
    };
    let mut reader = BufReader::with_capacity(64 * 1024, input);
    let mut verifier = Verifier::new(&keys);
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than a line may have, and its line feed.
        let limit = u64::try_from(MAX_LINE_BYTES)
            .unwrap_or(u64::MAX)
            .saturating_add(2);
        reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(fault)?;
        if line.is_empty() {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        verifier.line(text).map_err(broken)?;
    }
    let verified = verifier.end().map_err(broken)?;
    tell(&mut Output::stdout(json), &verified)
}

fn tell(out: &mut Output, verified: &Verified) -> Result<(), CliError> {
    let Verified {
        chain,
        entries,
        first_seq,
        last_seq,
        signed_at,
        ..
    } = verified;
    let range = if *entries == 0 {
        "no entries".to_owned()
    } else {
        format!("{entries} entries ({first_seq} to {last_seq})")
    };
    let earlier = match first_seq.saturating_sub(1) {
        0 => String::new(),
        pruned => format!("; {pruned} earlier ones were pruned, and their end is signed"),
    };
    let sentence =
        format!("the {chain} hold: {range}, whole and unchanged, signed at {signed_at}{earlier}");
    out.done(verified, &sentence)?;
    Ok(())
}

fn broken(flaw: Flaw) -> CliError {
    CliError::Broken { flaw }
}

/// Keys as arguments, or files with one a line; empty lines and lines that begin
/// with `#` do not count.
fn read_keys(arguments: &[String]) -> Result<Vec<PublicKey>, CliError> {
    let mut keys = Vec::new();
    for argument in arguments {
        if let Ok(key) = argument.parse() {
            keys.push(key);
            continue;
        }
        let unreadable = |source| CliError::PublicKeyFile {
            file: PathBuf::from(argument),
            source,
        };
        let mut text = String::new();
        File::open(argument)
            .map_err(unreadable)?
            .take(MAX_KEY_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let key = line
                .parse()
                .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            keys.push(key);
        }
    }
    Ok(keys)
}
