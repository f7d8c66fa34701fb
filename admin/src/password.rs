//! Passwords: made here, or read from standard input. Never an argument: the
//! arguments of a process are visible to every user of the machine.

use std::io::{self, BufRead, Read, Write};
use std::ops::IndexMut;

use layover_depot::{MAX_PASSWORD_BYTES, MAX_SECRET_BYTES, Secret};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

/// Shorter passwords are refused.
pub(crate) const MIN_PASSWORD_CHARS: usize = 12;

/// Letters of generated passwords: 32, none of them easily mistaken for
/// another, none that a shell or an FTP client interprets.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Length of generated passwords: 24 letters of 5 bits are 120 bits.
const GENERATED_CHARS: usize = 24;

/// What a terminal sends for Ctrl-C.
const CTRL_C: u8 = 3;

/// Why there is no usable password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error(
        "the password has {chars} characters; at least {MIN_PASSWORD_CHARS} are needed \
         (`--generate-password` or `account password NAME --generate` makes a good one)"
    )]
    TooShort { chars: usize },
    #[error("the password is longer than {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    #[error("there is nothing on standard input")]
    Nothing,
    #[error("a secret has at most {MAX_SECRET_BYTES} bytes")]
    SecretTooLong,
    #[error("the password contains a control character; clients could not send it")]
    Control,
    #[error("the password on standard input is not UTF-8 text")]
    NotText,
    #[error("standard input could not be read")]
    Unreadable { source: std::io::Error },
    #[error("the two passwords differ; nothing was changed")]
    Differ,
    #[error("interrupted; nothing was changed")]
    Interrupted,
    #[error("the operating system gave no random bytes")]
    NoRandomness { source: getrandom::Error },
}

/// A fresh password of 120 random bits.
pub(crate) fn generate() -> Result<String, PasswordError> {
    let mut random = [0_u8; GENERATED_CHARS];
    getrandom::fill(&mut random).map_err(|source| PasswordError::NoRandomness { source })?;
    // 256 is a multiple of 32: every letter is equally likely.
    Ok(random
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
        .map(|letter| char::from(*letter))
        .collect())
}

/// Whose password it is: ours have a least length, a partner has chosen its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// An account's here.
    Account,
    /// Ours on a partner's server.
    Partner,
}

/// Reads a password from standard input: its first line, or, from a person at a
/// terminal, asked for twice and not shown.
pub(crate) fn from_stdin() -> Result<Secret, PasswordError> {
    of_stdin(Whose::Account)
}

/// The same, of a password that a partner has chosen.
pub(crate) fn of_a_partner() -> Result<Secret, PasswordError> {
    of_stdin(Whose::Partner)
}

/// All of standard input: a private key has many lines.
pub(crate) fn whole_stdin() -> Result<Secret, PasswordError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    let most = u64::try_from(MAX_SECRET_BYTES + 1).unwrap_or(u64::MAX);
    io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|source| PasswordError::Unreadable { source })?;
    match bytes.len() {
        0 => Err(PasswordError::Nothing),
        size if size > MAX_SECRET_BYTES => Err(PasswordError::SecretTooLong),
        _ => Ok(Secret::new(bytes.as_slice())),
    }
}

fn of_stdin(whose: Whose) -> Result<Secret, PasswordError> {
    let stdin = io::stdin();
    if !isatty(&stdin) {
        return read(stdin.lock(), whose);
    }
    let _hidden = Hidden::begin().map_err(|source| PasswordError::Unreadable { source })?;
    let ask = |what: &str| {
        // Stderr: the result on stdout stays clean.
        let _ = write!(io::stderr(), "{what}: ");
        let answer = typed(stdin.lock(), whose);
        // The reader's own line end was not shown either.
        let _ = writeln!(io::stderr());
        answer
    };
    let first = ask("New password")?;
    if ask("Once more")?.expose() != first.expose() {
        return Err(PasswordError::Differ);
    }
    Ok(first)
}

/// What a person typed: a terminal gives one line at a time.
fn typed(mut terminal: impl BufRead, whose: Whose) -> Result<Secret, PasswordError> {
    let unreadable = |source| PasswordError::Unreadable { source };
    let line = terminal.fill_buf().map_err(unreadable)?.to_vec();
    terminal.consume(line.len());
    if line.contains(&CTRL_C) {
        return Err(PasswordError::Interrupted);
    }
    read(line.as_slice(), whose)
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
        // Ctrl-C ends the line instead of the process, which would leave the
        // terminal silent.
        *silent.special_codes.index_mut(SpecialCodeIndex::VEOL) = CTRL_C;
        // Flush: what was typed before the question is no answer to it.
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Reads the first line of `input`, without its line end.
pub(crate) fn read(input: impl BufRead, whose: Whose) -> Result<Secret, PasswordError> {
    let mut line = Vec::new();
    let most = u64::try_from(MAX_PASSWORD_BYTES + 2).unwrap_or(u64::MAX);
    input
        .take(most)
        .read_until(b'\n', &mut line)
        .map_err(|source| PasswordError::Unreadable { source })?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let password = String::from_utf8(line).map_err(|_| PasswordError::NotText)?;
    check(password, whose)
}

fn check(password: String, whose: Whose) -> Result<Secret, PasswordError> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong);
    }
    let chars = password.chars().count();
    match whose {
        Whose::Account if chars < MIN_PASSWORD_CHARS => {
            return Err(PasswordError::TooShort { chars });
        }
        Whose::Partner if chars == 0 => return Err(PasswordError::Nothing),
        Whose::Account | Whose::Partner => {}
    }
    if password.contains(char::is_control) {
        return Err(PasswordError::Control);
    }
    Ok(Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_enough_and_differ() {
        let first = generate().unwrap();
        assert_eq!(first.len(), GENERATED_CHARS);
        assert_ne!(first, generate().unwrap());
        assert!(check(first, Whose::Account).is_ok());
    }

    #[test]
    fn ctrl_c_ends_the_question() {
        for line in [b"\x03".as_slice(), b"correct horse\x03"] {
            assert!(matches!(
                typed(line, Whose::Account),
                Err(PasswordError::Interrupted)
            ));
        }
        assert!(typed(b"correct horse battery\n".as_slice(), Whose::Account).is_ok());
    }

    #[test]
    fn only_the_first_line_counts_and_its_end_is_cut() {
        for input in [
            "correct horse battery",
            "correct horse battery\n",
            "correct horse battery\r\nmore\n",
        ] {
            let secret = read(input.as_bytes(), Whose::Account).unwrap();
            assert_eq!(secret.expose(), b"correct horse battery");
        }
    }

    #[test]
    fn length_is_checked_on_both_ends() {
        let of = |length: usize| read("x".repeat(length).as_bytes(), Whose::Account);
        assert!(matches!(
            of(MIN_PASSWORD_CHARS - 1),
            Err(PasswordError::TooShort { chars: 11 })
        ));
        assert!(of(MIN_PASSWORD_CHARS).is_ok());
        assert!(of(MAX_PASSWORD_BYTES).is_ok());
        assert!(matches!(
            of(MAX_PASSWORD_BYTES + 1),
            Err(PasswordError::TooLong)
        ));
        assert!(matches!(of(0), Err(PasswordError::TooShort { chars: 0 })));
    }

    #[test]
    fn a_partner_may_have_chosen_a_short_one_but_not_none() {
        assert!(read(&b"x\n"[..], Whose::Partner).is_ok());
        let none = read(&b"\n"[..], Whose::Partner);
        assert!(matches!(none, Err(PasswordError::Nothing)));
    }

    #[test]
    fn control_characters_and_bytes_that_are_no_text_are_refused() {
        assert!(matches!(
            read(&b"twelve\tletters"[..], Whose::Account),
            Err(PasswordError::Control)
        ));
        assert!(matches!(
            read(&b"twelve\xffletters"[..], Whose::Account),
            Err(PasswordError::NotText)
        ));
    }
}
