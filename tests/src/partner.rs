//! What a partner does and how it is answered, whatever the protocol: rules are stated once and
//! tested over SFTP and FTPS.

use std::net::SocketAddr;
use std::time::Duration;

use layover_retention::Timestamp;

use crate::account::Account;
use crate::ftps::raw::{Data, Ftps, Lost, NoData, Reply, Way};
use crate::layover::Layover;
use crate::packet::{open, status};
use crate::sftp::{Fault, HandleName, Sftp};
use crate::wait::{self, PATIENCE};

/// How partners come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Over SSH, with a key.
    Sftp,
    /// Over TLS, with a password; each data connection resumes the control connection's session.
    Ftps,
}

impl Protocol {
    /// As the journal names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sftp => "sftp",
            Self::Ftps => "ftps",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Sftp => Self::Ftps,
            Self::Ftps => Self::Sftp,
        }
    }

    /// Where a server is reached by it.
    pub fn address(self, layover: &Layover) -> SocketAddr {
        match self {
            Self::Sftp => layover.sftp_address(),
            Self::Ftps => layover.ftps_address(Way::default().entry),
        }
    }
}

/// Makes four tests out of a function that takes the [`Protocol`] and the
/// [`Engine`](crate::Engine). The claim is the function's name: `claim::by_sftp_on_sqlite` and so on.
/// After `Sqlite:` two, for what only an embedded database can do.
#[macro_export]
macro_rules! over_both_protocols {
    (Sqlite: $($claim:ident),+ $(,)?) => {$(
        mod $claim {
            #[test]
            fn by_sftp() {
                super::$claim($crate::Protocol::Sftp);
            }

            #[test]
            fn by_ftps() {
                super::$claim($crate::Protocol::Ftps);
            }
        }
    )+};
    ($($claim:ident),+ $(,)?) => {$(
        mod $claim {
            use $crate::Engine::{Postgres, Sqlite};
            use $crate::Protocol::{Ftps, Sftp};

            #[test]
            fn by_sftp_on_sqlite() {
                super::$claim(Sftp, Sqlite);
            }

            #[test]
            fn by_sftp_on_postgresql() {
                if Postgres.available() {
                    super::$claim(Sftp, Postgres);
                }
            }

            #[test]
            fn by_ftps_on_sqlite() {
                super::$claim(Ftps, Sqlite);
            }

            #[test]
            fn by_ftps_on_postgresql() {
                if Postgres.available() {
                    super::$claim(Ftps, Postgres);
                }
            }
        }
    )+};
}

/// Why the server did not do what a partner asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is no such file or folder.
    NotFound,
    /// The account may not do it.
    Denied,
    /// The quota has no room.
    NoRoom,
    /// Something else, in order: the session goes on.
    Other,
    /// The connection ended.
    Lost,
}

/// What the server said instead of doing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub why: Why,
    /// The server's words.
    pub words: String,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let Fault::Status { code, message } = fault else {
            return Lost.into();
        };
        let why = match code {
            status::NO_SUCH_FILE => Why::NotFound,
            status::PERMISSION_DENIED => Why::Denied,
            // SFTP v3 has no code for it.
            status::FAILURE if message.contains("quota") => Why::NoRoom,
            _ => Why::Other,
        };
        Self {
            why,
            words: message,
        }
    }
}

impl From<Lost> for Refused {
    fn from(_: Lost) -> Self {
        Self {
            why: Why::Lost,
            words: String::new(),
        }
    }
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Self {
        let words = reply.words();
        let why = match reply.code {
            // RFC 959 has one code for both.
            550 if words.contains(" does not exist") => Why::NotFound,
            550 if words.contains(" may not ") => Why::Denied,
            552 => Why::NoRoom,
            _ => Why::Other,
        };
        Self { why, words }
    }
}

impl From<NoData> for Refused {
    fn from(none: NoData) -> Self {
        match none {
            NoData::Told(reply) => reply.into(),
            NoData::Lost => Lost.into(),
        }
    }
}

/// The outcome of a verb.
pub type Outcome<T = ()> = Result<T, Refused>;

/// A partner that is logged in. Dropping it closes its connections without a word, in the middle of
/// whatever it was doing.
pub trait Partner: Send {
    /// Uploads a whole file; acknowledged when this returns `Ok`.
    fn put(&mut self, path: &[u8], content: &[u8]) -> Outcome;

    /// Downloads a whole file.
    fn get(&mut self, path: &[u8]) -> Outcome<Vec<u8>>;

    /// Adds bytes behind a file's end.
    fn append(&mut self, path: &[u8], content: &[u8]) -> Outcome;

    /// Writes from byte `at` to the file's end, and leaves what is before.
    fn go_on(&mut self, path: &[u8], at: u64, content: &[u8]) -> Outcome;

    /// Begins an upload; the server has its first bytes when this returns. One at a time.
    fn begin_upload(&mut self, path: &[u8], first: &[u8]) -> Outcome;

    /// Sends the rest of the upload that was begun, and ends it in order.
    fn finish_upload(&mut self, rest: &[u8]) -> Outcome;

    /// Begins a download, and reads its first `count` bytes. One at a time.
    fn begin_download(&mut self, path: &[u8], count: usize) -> Outcome<Vec<u8>>;

    /// Reads the rest of the download that was begun.
    fn finish_download(&mut self) -> Outcome<Vec<u8>>;

    /// Names in a folder, sorted.
    fn names(&mut self, path: &[u8]) -> Outcome<Vec<Vec<u8>>>;

    /// Size of a file, or of what an interrupted upload of it left.
    fn size(&mut self, path: &[u8]) -> Outcome<u64>;

    /// Deletes a file.
    fn remove(&mut self, path: &[u8]) -> Outcome;

    /// Makes a folder.
    fn make_dir(&mut self, path: &[u8]) -> Outcome;

    /// Removes an empty folder.
    fn remove_dir(&mut self, path: &[u8]) -> Outcome;

    /// Renames to a name that is free. (To one that is not, SFTP's verb refuses and FTP's replaces.)
    fn rename(&mut self, from: &[u8], to: &[u8]) -> Outcome;

    /// Renames, over a file of the new name.
    fn replace(&mut self, from: &[u8], to: &[u8]) -> Outcome;

    /// Sets a file's time of modification.
    fn set_modified(&mut self, path: &[u8], at: Timestamp) -> Outcome;

    /// A file's time of modification, in whole seconds.
    fn modified(&mut self, path: &[u8]) -> Outcome<Timestamp>;

    /// Waits for the server to end the session; whether it did within `limit`.
    fn closed_within(&mut self, limit: Duration) -> bool;
}

impl Account {
    /// Logs in by `protocol`. For FTPS the account needs a password.
    ///
    /// # Panics
    /// When that does not succeed.
    #[track_caller]
    pub fn partner(&self, layover: &Layover, protocol: Protocol) -> Box<dyn Partner> {
        self.partner_at(protocol.address(layover), protocol)
    }

    /// Like [`Account::partner`], at any server.
    #[track_caller]
    pub fn partner_at(&self, server: SocketAddr, protocol: Protocol) -> Box<dyn Partner> {
        let partner = self.try_partner_at(server, protocol);
        partner.unwrap_or_else(|why| panic!("{} by {protocol:?}: {why}", self.name))
    }

    /// Tries to log in by `protocol`.
    ///
    /// # Errors
    /// The refusal, or where the connection ended.
    pub fn try_partner_at(
        &self,
        server: SocketAddr,
        protocol: Protocol,
    ) -> Result<Box<dyn Partner>, String> {
        Ok(match protocol {
            Protocol::Sftp => {
                let mut ssh = crate::ssh::Ssh::connect(server)?;
                let verdict = ssh.key(&self.name, &self.key);
                if !verdict.accepted() {
                    return Err(format!("{verdict:?}"));
                }
                Box::new(BySftp {
                    sftp: ssh.sftp()?,
                    open: None,
                })
            }
            Protocol::Ftps => {
                let password = self.password.as_deref();
                let password = password.expect("the account has a password");
                let mut ftps = Ftps::connect(server, Way::default())?;
                match ftps.log_in(&self.name, password) {
                    Ok(reply) if reply.is_good() => {}
                    Ok(reply) => return Err(reply.words()),
                    Err(Lost) => return Err("the connection ended".to_owned()),
                }
                Box::new(ByFtps { ftps, open: None })
            }
        })
    }
}

struct BySftp {
    sftp: Sftp,
    /// What was begun, and where it goes on.
    open: Option<(HandleName, u64)>,
}

impl BySftp {
    fn write_from(&mut self, path: &[u8], flags: u32, at: u64, content: &[u8]) -> Outcome {
        let handle = self.sftp.open(path, flags)?;
        let written = self.sftp.write(&handle, at, content);
        let closed = self.sftp.close(&handle);
        Ok(written.and(closed)?)
    }

    fn seconds(at: Timestamp) -> u32 {
        u32::try_from(at.as_micros() / 1_000_000).expect("SFTP v3 counts to 2106")
    }
}

/// What one WRITE or READ of the raw client moves.
const PIECE: usize = 32 * 1024;

impl Partner for BySftp {
    fn put(&mut self, path: &[u8], content: &[u8]) -> Outcome {
        Ok(self.sftp.put(path, content)?)
    }

    fn get(&mut self, path: &[u8]) -> Outcome<Vec<u8>> {
        Ok(self.sftp.get(path)?)
    }

    fn append(&mut self, path: &[u8], content: &[u8]) -> Outcome {
        self.write_from(path, open::WRITE | open::APPEND, 0, content)
    }

    fn go_on(&mut self, path: &[u8], at: u64, content: &[u8]) -> Outcome {
        self.write_from(path, open::WRITE, at, content)
    }

    fn begin_upload(&mut self, path: &[u8], first: &[u8]) -> Outcome {
        let handle = self.sftp.open(path, open::FRESH)?;
        self.sftp.write_all(&handle, first)?;
        self.open = Some((handle, first.len() as u64));
        Ok(())
    }

    fn finish_upload(&mut self, rest: &[u8]) -> Outcome {
        let (handle, mut at) = self.open.take().expect("an upload was begun");
        let mut written = Ok(());
        for piece in rest.chunks(PIECE) {
            written = written.and(self.sftp.write(&handle, at, piece));
            at += piece.len() as u64;
        }
        let closed = self.sftp.close(&handle);
        Ok(written.and(closed)?)
    }

    fn begin_download(&mut self, path: &[u8], count: usize) -> Outcome<Vec<u8>> {
        let handle = self.sftp.open(path, open::READ)?;
        let length = u32::try_from(count).expect("a small piece");
        let first = self.sftp.read(&handle, 0, length)?;
        assert_eq!(first.len(), count, "the file is shorter");
        self.open = Some((handle, count as u64));
        Ok(first)
    }

    fn finish_download(&mut self) -> Outcome<Vec<u8>> {
        let (handle, mut at) = self.open.take().expect("a download was begun");
        let mut rest = Vec::new();
        loop {
            let piece = self.sftp.read(&handle, at, PIECE as u32)?;
            if piece.is_empty() {
                self.sftp.close(&handle)?;
                return Ok(rest);
            }
            at += piece.len() as u64;
            rest.extend_from_slice(&piece);
        }
    }

    fn names(&mut self, path: &[u8]) -> Outcome<Vec<Vec<u8>>> {
        let entries = self.sftp.list(path)?;
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        Ok(names)
    }

    fn size(&mut self, path: &[u8]) -> Outcome<u64> {
        Ok(self.sftp.stat(path)?.size_bytes.expect("a size"))
    }

    fn remove(&mut self, path: &[u8]) -> Outcome {
        Ok(self.sftp.remove(path)?)
    }

    fn make_dir(&mut self, path: &[u8]) -> Outcome {
        Ok(self.sftp.make_dir(path)?)
    }

    fn remove_dir(&mut self, path: &[u8]) -> Outcome {
        Ok(self.sftp.remove_dir(path)?)
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        Ok(self.sftp.rename(from, to)?)
    }

    fn replace(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        Ok(self.sftp.posix_rename(from, to)?)
    }

    fn set_modified(&mut self, path: &[u8], at: Timestamp) -> Outcome {
        let seconds = Self::seconds(at);
        Ok(self.sftp.set_times(path, seconds, seconds)?)
    }

    fn modified(&mut self, path: &[u8]) -> Outcome<Timestamp> {
        let seconds = self.sftp.stat(path)?.modified_s.expect("a time");
        Ok(Timestamp::from_micros(i64::from(seconds) * 1_000_000))
    }

    fn closed_within(&mut self, limit: Duration) -> bool {
        self.sftp.connection().closed_within(limit)
    }
}

struct ByFtps {
    ftps: Ftps,
    /// The data connection of what was begun.
    open: Option<Data>,
}

impl ByFtps {
    /// A command that is done with its reply.
    fn simply(&mut self, verb: &str, argument: &[u8]) -> Outcome<Reply> {
        let reply = self.ftps.ask(line(verb, argument))?;
        if reply.is_good() {
            Ok(reply)
        } else {
            Err(reply.into())
        }
    }

    /// A command with an upload behind it.
    fn send(&mut self, verb: &str, path: &[u8], content: &[u8]) -> Outcome {
        let data = self.ftps.begin(line(verb, path))?;
        self.end_upload(data, content)
    }

    fn end_upload(&mut self, mut data: Data, rest: &[u8]) -> Outcome {
        // Where the server takes no more, its reply says why.
        data.send(rest);
        data.end();
        self.done()
    }

    /// The reply behind a transfer.
    fn done(&mut self) -> Outcome {
        let reply = self.ftps.reply()?;
        if reply.is_good() {
            Ok(())
        } else {
            Err(reply.into())
        }
    }

    fn receive(&mut self, data: Data) -> Outcome<Vec<u8>> {
        let bytes = data.read_to_end();
        self.done()?;
        Ok(bytes.expect("226 for a download that was cut"))
    }

    /// Two commands that belong together.
    fn move_to(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        self.simply("RNFR", from)?;
        self.simply("RNTO", to)?;
        Ok(())
    }
}

fn line(verb: &str, argument: &[u8]) -> Vec<u8> {
    [verb.as_bytes(), b" ", argument].concat()
}

impl Partner for ByFtps {
    fn put(&mut self, path: &[u8], content: &[u8]) -> Outcome {
        self.send("STOR", path, content)
    }

    fn get(&mut self, path: &[u8]) -> Outcome<Vec<u8>> {
        let data = self.ftps.begin(line("RETR", path))?;
        self.receive(data)
    }

    fn append(&mut self, path: &[u8], content: &[u8]) -> Outcome {
        self.send("APPE", path, content)
    }

    fn go_on(&mut self, path: &[u8], at: u64, content: &[u8]) -> Outcome {
        self.simply("REST", at.to_string().as_bytes())?;
        self.send("STOR", path, content)
    }

    fn begin_upload(&mut self, path: &[u8], first: &[u8]) -> Outcome {
        let mut data = self.ftps.begin(line("STOR", path))?;
        data.send(first);
        self.open = Some(data);
        wait::until(
            "the server to have the first bytes",
            PATIENCE,
            || match self.ftps.ask("STAT") {
                Ok(reply) if reply.words().contains(": 0 bytes so far") => None,
                Ok(reply) if reply.code == 213 => Some(Ok(())),
                Ok(reply) => Some(Err(reply.into())),
                Err(lost) => Some(Err(lost.into())),
            },
        )
    }

    fn finish_upload(&mut self, rest: &[u8]) -> Outcome {
        let data = self.open.take().expect("an upload was begun");
        self.end_upload(data, rest)
    }

    fn begin_download(&mut self, path: &[u8], count: usize) -> Outcome<Vec<u8>> {
        let mut data = self.ftps.begin(line("RETR", path))?;
        let first = data.read_exactly(count).expect("the first bytes");
        self.open = Some(data);
        Ok(first)
    }

    fn finish_download(&mut self) -> Outcome<Vec<u8>> {
        let data = self.open.take().expect("a download was begun");
        self.receive(data)
    }

    fn names(&mut self, path: &[u8]) -> Outcome<Vec<Vec<u8>>> {
        let data = self.ftps.begin(line("MLSD", path))?;
        let listing = self.receive(data)?;
        let mut names = Vec::new();
        for entry in listing.split(|byte| *byte == b'\n') {
            let entry = entry.strip_suffix(b"\r").unwrap_or(entry);
            // RFC 3659 s.7.2: facts, one space, the name with all of its bytes.
            let Some(space) = entry.iter().position(|byte| *byte == b' ') else {
                continue;
            };
            let (facts, name) = (&entry[..space], &entry[space + 1..]);
            let facts = String::from_utf8_lossy(facts).to_lowercase();
            if !facts.contains("type=cdir") && !facts.contains("type=pdir") {
                names.push(name.to_vec());
            }
        }
        names.sort();
        Ok(names)
    }

    fn size(&mut self, path: &[u8]) -> Outcome<u64> {
        let told = self.simply("SIZE", path)?.words();
        Ok(told[4..].trim().parse().expect("a size"))
    }

    fn remove(&mut self, path: &[u8]) -> Outcome {
        self.simply("DELE", path)?;
        Ok(())
    }

    fn make_dir(&mut self, path: &[u8]) -> Outcome {
        self.simply("MKD", path)?;
        Ok(())
    }

    fn remove_dir(&mut self, path: &[u8]) -> Outcome {
        self.simply("RMD", path)?;
        Ok(())
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        self.move_to(from, to)
    }

    fn replace(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        self.move_to(from, to)
    }

    fn set_modified(&mut self, path: &[u8], at: Timestamp) -> Outcome {
        // RFC 3659 s.2.3: 20260302090000.
        let digits = |byte: &u8| byte.is_ascii_digit();
        let text = at.to_string();
        let time: Vec<u8> = text.bytes().filter(digits).take(14).collect();
        self.simply("MFMT", &[&time[..], b" ", path].concat())?;
        Ok(())
    }

    fn modified(&mut self, path: &[u8]) -> Outcome<Timestamp> {
        let told = self.simply("MDTM", path)?.words();
        let at = &told[4..18];
        let (date, time) = at.split_at(8);
        let text = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &date[..4],
            &date[4..6],
            &date[6..],
            &time[..2],
            &time[2..4],
            &time[4..]
        );
        Ok(text.parse().expect("a time"))
    }

    fn closed_within(&mut self, limit: Duration) -> bool {
        self.ftps.closed_within(limit)
    }
}
