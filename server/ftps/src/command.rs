//! Command lines as values, and the table of all commands.
//!
//! Pure: [`parse`] turns a line into a [`Command`] or a [`SyntaxFault`]; what
//! the session does with it is decided elsewhere. Arguments that name files stay
//! bytes.

use std::net::SocketAddr;

use crate::address::{parse_eprt, parse_port};

/// When a command may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// At any time, TLS or not.
    Always,
    /// With TLS, before or after the login.
    Secured,
    /// After the login.
    LoggedIn,
}

/// What a session must be allowed for a command to make sense; the depot
/// checks it for the path itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing beyond the phase.
    Nothing,
    /// To look.
    List,
    /// To fetch.
    Read,
    /// To change: no read-only account has any use for it.
    Change,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// As HELP shows it.
    pub name: &'static str,
    /// When it may be given.
    pub phase: Phase,
    /// What it needs.
    pub needs: Needs,
    /// What HELP says of its argument; empty without one.
    pub argument: &'static str,
    parse: fn(&[u8]) -> Result<Command, SyntaxFault>,
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop the transfer.
    Abor,
    /// How many bytes the next upload will have.
    Allo(u64),
    /// Upload to the end of a file.
    Appe(Vec<u8>),
    /// Begin TLS.
    Auth(Vec<u8>),
    /// How much room there is.
    Avbl(Vec<u8>),
    /// End TLS; refused.
    Ccc,
    /// Go to the folder above.
    Cdup,
    /// What the client is.
    Clnt(Vec<u8>),
    /// Go to a folder.
    Cwd(Vec<u8>),
    /// Delete a file.
    Dele(Vec<u8>),
    /// Connect there (RFC 2428).
    Eprt(SocketAddr),
    /// Listen for me (RFC 2428).
    Epsv(Epsv),
    /// What the server can do.
    Feat,
    /// The SHA-256 of a file.
    Hash(Vec<u8>),
    /// All commands, or one.
    Help(Vec<u8>),
    /// A listing for people.
    List(Vec<u8>),
    /// When a file was modified, or when it is to have been.
    Mdtm(Mdtm),
    /// Set a time of creation.
    Mfct(Timed),
    /// Set the time of modification.
    Mfmt(Timed),
    /// Make a folder.
    Mkd(Vec<u8>),
    /// A listing for programs.
    Mlsd(Vec<u8>),
    /// The facts of one name.
    Mlst(Vec<u8>),
    /// How bytes are framed.
    Mode(u8),
    /// Names alone.
    Nlst(Vec<u8>),
    /// Nothing.
    Noop,
    /// Set an option.
    Opts(Opts),
    /// The password.
    Pass(Vec<u8>),
    /// Listen for me (RFC 959).
    Pasv,
    /// The size of the protection buffer.
    Pbsz(u64),
    /// Connect there (RFC 959).
    Port(SocketAddr),
    /// How data connections are protected.
    Prot(u8),
    /// Where am I?
    Pwd,
    /// End the connection.
    Quit,
    /// End the session.
    Rein,
    /// Where the next transfer begins.
    Rest(u64),
    /// Download.
    Retr(Vec<u8>),
    /// Remove a folder.
    Rmd(Vec<u8>),
    /// The old name.
    Rnfr(Vec<u8>),
    /// The new name.
    Rnto(Vec<u8>),
    /// A command of this site.
    Site(Site),
    /// The size of a file.
    Size(Vec<u8>),
    /// Status, or a listing in the reply.
    Stat(Vec<u8>),
    /// Upload.
    Stor(Vec<u8>),
    /// Upload under a name that is free.
    Stou(Vec<u8>),
    /// How files are structured.
    Stru(u8),
    /// What system this is.
    Syst,
    /// How content is represented.
    Type(Type),
    /// The account's name.
    User(Vec<u8>),
    /// A checksum of a file.
    Checksum(Checksum, Ranged),
}

/// RFC 959 s.3.1.1: what representation types we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    #[default]
    /// Text with CRLF on the wire.
    Ascii,
    /// Bytes as they are.
    Image,
}

/// RFC 2428 s.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epsv {
    /// The family of the control connection.
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Nothing but EPSV from now on.
    All,
}

/// The options that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opts {
    /// `UTF8 ON` or `OFF`.
    Utf8(bool),
    /// The facts that MLSD and MLST tell from now on.
    Mlst(Vec<u8>),
    /// The algorithm of HASH; empty asks for it.
    Hash(Vec<u8>),
}

/// Commands of this site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// Set the permission bits.
    Chmod {
        /// The bits (`0o777`).
        mode: u32,
        /// The file.
        path: Vec<u8>,
    },
    /// Set the time of modification.
    Utime(Timed),
    /// All of them.
    Help,
}

/// A time for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Microseconds since 1970.
    pub modified_us: i64,
    /// The file.
    pub path: Vec<u8>,
}

/// RFC 3659 s.3 asks for a file's time; older clients set it with the same command,
/// `MDTM YYYYMMDDhhmmss <file>`. Only the files that there are tell which is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mdtm {
    /// The file that is asked for.
    pub path: Vec<u8>,
    /// What is to be set, when no file is called so.
    pub set: Option<Timed>,
}

/// The X commands for checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-32 as in ZIP.
    Crc32,
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
}

/// A file, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranged {
    /// The file.
    pub path: Vec<u8>,
    /// First byte.
    pub start: u64,
    /// One behind the last byte; `None` for the file's end.
    pub end: Option<u64>,
    /// The argument as it came, when the range may belong to the name: `report 1 2`. A
    /// file of that name goes first.
    pub whole: Option<Vec<u8>>,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxFault {
    /// No command of ours.
    #[error("this server does not know that command; HELP lists those that it knows")]
    Unknown,
    /// A command that nobody needs any more.
    #[error("this server does not do that; HELP lists what it does")]
    NotImplemented,
    /// A parameter that nobody needs any more.
    #[error("{0}")]
    Parameter(&'static str),
    /// The argument cannot be read.
    #[error("{0}")]
    Argument(&'static str),
    /// A NUL byte.
    #[error("a command line may not hold a NUL byte")]
    Nul,
}

impl SyntaxFault {
    /// Its reply code (RFC 959 s.4.2).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Unknown | Self::Nul => 500,
            Self::Argument(_) => 501,
            Self::NotImplemented => 502,
            Self::Parameter(_) => 504,
        }
    }
}

/// Reads a command line.
///
/// # Errors
/// Why it is no command.
pub fn parse(line: &[u8]) -> Result<(&'static Verb, Command), SyntaxFault> {
    if line.contains(&0) {
        return Err(SyntaxFault::Nul);
    }
    let (name, argument) = split(line);
    let verb = find(name).ok_or(SyntaxFault::Unknown)?;
    Ok((verb, (verb.parse)(argument)?))
}

/// The table's line of that name, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Verb> {
    VERBS
        .iter()
        .find(|verb| verb.name.as_bytes().eq_ignore_ascii_case(name))
}

/// One space parts verb and argument; further ones belong to the name (F18).
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(at) => {
            let (name, rest) = line.split_at(at);
            (name, rest.get(1..).unwrap_or_default())
        }
        None => (line, b""),
    }
}

type Parsed = Result<Command, SyntaxFault>;

const fn verb(
    name: &'static str,
    phase: Phase,
    needs: Needs,
    argument: &'static str,
    parse: fn(&[u8]) -> Parsed,
) -> Verb {
    Verb {
        name,
        phase,
        needs,
        argument,
        parse,
    }
}

use Needs::{Change, List, Nothing, Read};
use Phase::{Always, LoggedIn, Secured};

/// Every command, in the order of HELP.
pub const VERBS: &[Verb] = &[
    verb("ABOR", LoggedIn, Nothing, "", |_| Ok(Command::Abor)),
    verb("ACCT", Secured, Nothing, "", |_| {
        Err(SyntaxFault::NotImplemented)
    }),
    verb("ALLO", LoggedIn, Change, "<bytes>", |text| {
        Ok(Command::Allo(allo(text)?))
    }),
    verb("APPE", LoggedIn, Change, "<file>", |text| {
        path(text, Command::Appe)
    }),
    verb("AUTH", Always, Nothing, "TLS", |text| {
        path(text, Command::Auth)
    }),
    verb("AVBL", LoggedIn, List, "[<folder>]", |text| {
        Ok(Command::Avbl(text.to_vec()))
    }),
    verb("CCC", Secured, Nothing, "", |_| Ok(Command::Ccc)),
    verb("CDUP", LoggedIn, List, "", |_| Ok(Command::Cdup)),
    verb("CLNT", Always, Nothing, "<name>", |text| {
        Ok(Command::Clnt(text.to_vec()))
    }),
    verb("CWD", LoggedIn, List, "<folder>", |text| {
        Ok(Command::Cwd(text.to_vec()))
    }),
    verb("DELE", LoggedIn, Change, "<file>", |text| {
        path(text, Command::Dele)
    }),
    verb(
        "EPRT",
        LoggedIn,
        Nothing,
        "|<1 or 2>|<address>|<port>|",
        |text| Ok(Command::Eprt(parse_eprt(text)?)),
    ),
    verb("EPSV", LoggedIn, Nothing, "[1|2|ALL]", |text| {
        Ok(Command::Epsv(epsv(text)?))
    }),
    verb("FEAT", Always, Nothing, "", |_| Ok(Command::Feat)),
    verb("HASH", LoggedIn, Read, "<file>", |text| {
        path(text, Command::Hash)
    }),
    verb("HELP", Always, Nothing, "[<command>]", |text| {
        Ok(Command::Help(text.to_vec()))
    }),
    verb("LIST", LoggedIn, List, "[<path>]", |text| {
        Ok(Command::List(text.to_vec()))
    }),
    verb("MDTM", LoggedIn, List, "[YYYYMMDDhhmmss] <file>", |text| {
        let set = timed(text).ok();
        path(text, |path| Command::Mdtm(Mdtm { path, set }))
    }),
    verb("MFCT", LoggedIn, Change, "YYYYMMDDhhmmss <file>", |text| {
        Ok(Command::Mfct(timed(text)?))
    }),
    verb("MFMT", LoggedIn, Change, "YYYYMMDDhhmmss <file>", |text| {
        Ok(Command::Mfmt(timed(text)?))
    }),
    verb("MKD", LoggedIn, Change, "<folder>", |text| {
        path(text, Command::Mkd)
    }),
    verb("MLSD", LoggedIn, List, "[<folder>]", |text| {
        Ok(Command::Mlsd(text.to_vec()))
    }),
    verb("MLST", LoggedIn, List, "[<path>]", |text| {
        Ok(Command::Mlst(text.to_vec()))
    }),
    verb("MODE", LoggedIn, Nothing, "S", |text| {
        Ok(Command::Mode(letter(text)?))
    }),
    verb("NLST", LoggedIn, List, "[<path or pattern>]", |text| {
        Ok(Command::Nlst(text.to_vec()))
    }),
    verb("NOOP", Always, Nothing, "", |_| Ok(Command::Noop)),
    verb(
        "OPTS",
        Always,
        Nothing,
        "UTF8 ON | MLST <facts> | HASH [SHA-256]",
        |text| Ok(Command::Opts(opts(text)?)),
    ),
    verb("PASS", Secured, Nothing, "<password>", |text| {
        Ok(Command::Pass(text.to_vec()))
    }),
    verb("PASV", LoggedIn, Nothing, "", |_| Ok(Command::Pasv)),
    verb("PBSZ", Secured, Nothing, "0", |text| {
        Ok(Command::Pbsz(number(text)?))
    }),
    verb("PORT", LoggedIn, Nothing, "<h1,h2,h3,h4,p1,p2>", |text| {
        Ok(Command::Port(parse_port(text)?))
    }),
    verb("PROT", Secured, Nothing, "P", |text| {
        Ok(Command::Prot(letter(text)?))
    }),
    verb("PWD", LoggedIn, List, "", |_| Ok(Command::Pwd)),
    verb("QUIT", Always, Nothing, "", |_| Ok(Command::Quit)),
    verb("REIN", Secured, Nothing, "", |_| Ok(Command::Rein)),
    verb("REST", LoggedIn, Nothing, "<byte>", |text| {
        Ok(Command::Rest(number(text)?))
    }),
    verb("RETR", LoggedIn, Read, "<file>", |text| {
        path(text, Command::Retr)
    }),
    verb("RMD", LoggedIn, Change, "<folder>", |text| {
        path(text, Command::Rmd)
    }),
    verb("RNFR", LoggedIn, Change, "<path>", |text| {
        path(text, Command::Rnfr)
    }),
    verb("RNTO", LoggedIn, Change, "<path>", |text| {
        path(text, Command::Rnto)
    }),
    verb("SITE", LoggedIn, Nothing, "CHMOD | UTIME | HELP", |text| {
        Ok(Command::Site(site(text)?))
    }),
    verb("SIZE", LoggedIn, List, "<file>", |text| {
        path(text, Command::Size)
    }),
    verb("SMNT", LoggedIn, Nothing, "", |_| {
        Err(SyntaxFault::NotImplemented)
    }),
    verb("STAT", Secured, Nothing, "[<path>]", |text| {
        Ok(Command::Stat(text.to_vec()))
    }),
    verb("STOR", LoggedIn, Change, "<file>", |text| {
        path(text, Command::Stor)
    }),
    verb("STOU", LoggedIn, Change, "[<name>]", |text| {
        Ok(Command::Stou(text.to_vec()))
    }),
    verb("STRU", LoggedIn, Nothing, "F", |text| {
        Ok(Command::Stru(letter(text)?))
    }),
    verb("SYST", Always, Nothing, "", |_| Ok(Command::Syst)),
    verb("TYPE", LoggedIn, Nothing, "A | I", |text| {
        Ok(Command::Type(representation(text)?))
    }),
    verb("USER", Secured, Nothing, "<account>", |text| {
        path(text, Command::User)
    }),
    verb("XCRC", LoggedIn, Read, "<file> [<from> <to>]", |text| {
        checksum(Checksum::Crc32, text)
    }),
    verb("XCUP", LoggedIn, List, "", |_| Ok(Command::Cdup)),
    verb("XCWD", LoggedIn, List, "<folder>", |text| {
        Ok(Command::Cwd(text.to_vec()))
    }),
    verb("XMD5", LoggedIn, Read, "<file> [<from> <to>]", |text| {
        checksum(Checksum::Md5, text)
    }),
    verb("XMKD", LoggedIn, Change, "<folder>", |text| {
        path(text, Command::Mkd)
    }),
    verb("XPWD", LoggedIn, List, "", |_| Ok(Command::Pwd)),
    verb("XRMD", LoggedIn, Change, "<folder>", |text| {
        path(text, Command::Rmd)
    }),
    verb("XSHA256", LoggedIn, Read, "<file> [<from> <to>]", |text| {
        checksum(Checksum::Sha256, text)
    }),
];

fn path(text: &[u8], command: impl FnOnce(Vec<u8>) -> Command) -> Parsed {
    if text.is_empty() {
        return Err(SyntaxFault::Argument("this command needs an argument"));
    }
    Ok(command(text.to_vec()))
}

fn text_of(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default().trim()
}

fn number(text: &[u8]) -> Result<u64, SyntaxFault> {
    let text = text_of(text);
    // `parse` would take a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SyntaxFault::Argument("a number is expected"));
    }
    text.parse()
        .map_err(|_| SyntaxFault::Argument("the number is too large"))
}

/// RFC 959 s.4.1.3: `ALLO <bytes> [R <record size>]`.
fn allo(text: &[u8]) -> Result<u64, SyntaxFault> {
    let (bytes, rest) = split(text.trim_ascii());
    match split(rest) {
        (b"", _) => number(bytes),
        (b"R" | b"r", size) => number(size).and_then(|_| number(bytes)),
        _ => Err(SyntaxFault::Argument("ALLO takes a number of bytes")),
    }
}

fn letter(text: &[u8]) -> Result<u8, SyntaxFault> {
    match text.trim_ascii() {
        [letter] if letter.is_ascii_alphabetic() => Ok(letter.to_ascii_uppercase()),
        _ => Err(SyntaxFault::Argument("one letter is expected")),
    }
}

fn representation(text: &[u8]) -> Result<Type, SyntaxFault> {
    let text = text_of(text).to_ascii_uppercase();
    match text.as_str() {
        "A" | "A N" => Ok(Type::Ascii),
        "I" | "L 8" | "L8" => Ok(Type::Image),
        "E" | "E N" | "A T" | "A C" | "L 7" => Err(SyntaxFault::Parameter(
            "this server knows TYPE A and TYPE I",
        )),
        _ => Err(SyntaxFault::Argument("TYPE takes A or I")),
    }
}

fn epsv(text: &[u8]) -> Result<Epsv, SyntaxFault> {
    match text_of(text) {
        "" => Ok(Epsv::Any),
        "1" => Ok(Epsv::V4),
        "2" => Ok(Epsv::V6),
        all if all.eq_ignore_ascii_case("ALL") => Ok(Epsv::All),
        _ => Err(SyntaxFault::Argument("EPSV takes 1, 2 or ALL")),
    }
}

fn opts(text: &[u8]) -> Result<Opts, SyntaxFault> {
    let (name, value) = split(text.trim_ascii());
    if name.eq_ignore_ascii_case(b"UTF8") || name.eq_ignore_ascii_case(b"UTF-8") {
        return match text_of(value).to_ascii_uppercase().as_str() {
            "ON" | "" => Ok(Opts::Utf8(true)),
            "OFF" => Ok(Opts::Utf8(false)),
            _ => Err(SyntaxFault::Argument("OPTS UTF8 takes ON or OFF")),
        };
    }
    if name.eq_ignore_ascii_case(b"MLST") {
        let is_fact = |byte: &u8| byte.is_ascii_alphanumeric() || b";.-".contains(byte);
        return if value.is_empty() || (value.iter().all(is_fact) && value.ends_with(b";")) {
            Ok(Opts::Mlst(value.to_vec()))
        } else {
            Err(SyntaxFault::Argument(
                "OPTS MLST takes facts, each with a semicolon behind",
            ))
        };
    }
    if name.eq_ignore_ascii_case(b"HASH") {
        return Ok(Opts::Hash(value.to_vec()));
    }
    Err(SyntaxFault::Argument("OPTS knows UTF8, MLST and HASH"))
}

fn site(text: &[u8]) -> Result<Site, SyntaxFault> {
    let (name, rest) = split(text);
    if name.eq_ignore_ascii_case(b"HELP") {
        return Ok(Site::Help);
    }
    if name.eq_ignore_ascii_case(b"CHMOD") {
        let (mode, path) = split(rest);
        let mode = u32::from_str_radix(text_of(mode), 8)
            .ok()
            .filter(|mode| *mode <= 0o7777 && !path.is_empty())
            .ok_or(SyntaxFault::Argument(
                "SITE CHMOD takes an octal mode and a file",
            ))?;
        return Ok(Site::Chmod {
            mode: mode & 0o777,
            path: path.to_vec(),
        });
    }
    if name.eq_ignore_ascii_case(b"UTIME") {
        return Ok(Site::Utime(utime(rest)?));
    }
    Err(SyntaxFault::Parameter("SITE knows CHMOD, UTIME and HELP"))
}

fn timed(text: &[u8]) -> Result<Timed, SyntaxFault> {
    let (time, path) = split(text);
    let modified_us = time_val(time).ok_or(SyntaxFault::Argument(
        "a time is expected, as in 20261231235959, and a file",
    ))?;
    if path.is_empty() {
        return Err(SyntaxFault::Argument("a file is expected behind the time"));
    }
    Ok(Timed {
        modified_us,
        path: path.to_vec(),
    })
}

/// `SITE UTIME <time> <file>`, or as Serv-U has it `<file> <atime> <mtime>
/// <ctime> UTC`; that name may stand in quotes.
fn utime(text: &[u8]) -> Result<Timed, SyntaxFault> {
    let trimmed = text.trim_ascii_end();
    let rest = match trimmed.len().checked_sub(4).map(|at| trimmed.split_at(at)) {
        Some((rest, zone)) if zone.eq_ignore_ascii_case(b" UTC") => rest,
        _ => trimmed,
    };
    let mut parts = rest.trim_ascii_end().rsplitn(4, |byte| *byte == b' ');
    let mut time = || parts.next().and_then(time_val);
    let (changed, modified, accessed) = (time(), time(), time());
    if let (Some(_), Some(modified_us), Some(_), Some(path)) =
        (changed, modified, accessed, parts.next())
    {
        let inside = path
            .strip_prefix(b"\"")
            .and_then(|path| path.strip_suffix(b"\""));
        let path = inside.unwrap_or(path);
        if !path.is_empty() {
            return Ok(Timed {
                modified_us,
                path: path.to_vec(),
            });
        }
    }
    timed(text)
}

/// RFC 3659 s.2.3: `YYYYMMDDHHMMSS[.sss]`, in UTC; also without seconds.
fn time_val(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        || fraction.contains('.')
    {
        return None;
    }
    let digits = match whole.len() {
        12 => format!("{whole}00"),
        14 => whole.to_owned(),
        _ => return None,
    };
    let field = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let lengths = [
        31,
        28 + i64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let length = lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    // 60 is a leap second.
    if !(1..=*length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<i64>().ok()?;
    Some(seconds * 1_000_000 + micros)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The proleptic Gregorian calendar, counted from March (years 0 to 9999).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `<file>` or `"<file>"`, with `[<from>] <to>` behind a quoted one, `<from> <to>` behind
/// another.
fn checksum(algorithm: Checksum, text: &[u8]) -> Parsed {
    if text.is_empty() {
        return Err(SyntaxFault::Argument("this command needs a file"));
    }
    let quoted = text.strip_prefix(b"\"").and_then(|rest| {
        let at = rest.iter().position(|byte| *byte == b'"')?;
        Some((rest.get(..at)?, rest.get(at + 1..)?))
    });
    let ranged = match quoted {
        Some((path, range)) => quoted_range(path, range)?,
        None => bare_range(text),
    };
    if ranged.end.is_some_and(|end| end < ranged.start) {
        return Err(SyntaxFault::Argument("the range ends before it begins"));
    }
    Ok(Command::Checksum(algorithm, ranged))
}

fn whole(path: &[u8]) -> Ranged {
    Ranged {
        path: path.to_vec(),
        start: 0,
        end: None,
        whole: None,
    }
}

fn quoted_range(path: &[u8], range: &[u8]) -> Result<Ranged, SyntaxFault> {
    let mut ranged = whole(path);
    let words: Vec<&[u8]> = range
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        [] => {}
        [end] => ranged.end = Some(number(end)?),
        [start, end] => {
            ranged.start = number(start)?;
            ranged.end = Some(number(end)?);
        }
        _ => return Err(SyntaxFault::Argument("at most two numbers follow the file")),
    }
    Ok(ranged)
}

fn bare_range(text: &[u8]) -> Ranged {
    let mut parts = text.rsplitn(3, |byte| *byte == b' ');
    let mut next_number = || parts.next().and_then(|word| number(word).ok());
    let (end, start) = (next_number(), next_number());
    match (start, end, parts.next()) {
        (Some(start), Some(end), Some(path)) if !path.is_empty() && start <= end => Ranged {
            path: path.to_vec(),
            start,
            end: Some(end),
            whole: Some(text.to_vec()),
        },
        _ => whole(text),
    }
}

#[cfg(test)]
mod tests;
