//! Command lines for partners' clients: what the demo prints, and the connection kit.

use std::fmt;

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Sftp,
    /// FTPS with AUTH TLS.
    Explicit,
    /// FTPS with TLS from the first byte.
    Implicit,
}

/// Where a client connects to; shown as a URL without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) entry: Entry,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What a client is told about the server's proof of who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust<'a> {
    /// It takes whatever it is shown.
    Anything,
    /// What the client's own system trusts: its authorities, or its known host keys.
    System,
    /// Only what this file of certificates vouches for.
    File(&'a str),
}

impl Door {
    /// The host as it stands in a URL, or before a colon: an IPv6 address in brackets.
    pub(crate) fn bracketed(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    const fn scheme(&self) -> &'static str {
        match self.entry {
            Entry::Sftp => "sftp",
            Entry::Explicit => "ftp",
            Entry::Implicit => "ftps",
        }
    }

    /// `sftp` with these options, each word as a shell reads it.
    pub(crate) fn sftp(&self, options: &str, user: &str) -> String {
        let target = quoted(&format!("{user}@{}", self.bracketed()));
        format!("sftp -P {} {options} {target}", self.port)
    }

    /// `lftp` with user, or user and password.
    pub(crate) fn lftp(&self, trust: Trust<'_>, user: &str) -> String {
        let mut settings = Vec::new();
        match (trust, self.entry) {
            (Trust::Anything, Entry::Sftp) => settings.push("set sftp:auto-confirm yes".to_owned()),
            (Trust::Anything, _) => settings.push("set ssl:verify-certificate no".to_owned()),
            (Trust::File(file), Entry::Explicit | Entry::Implicit) => {
                settings.push(format!("set ssl:ca-file {file}"));
            }
            (Trust::System, _) | (Trust::File(_), Entry::Sftp) => {}
        }
        if self.entry == Entry::Explicit {
            settings.push("set ftp:ssl-force yes".to_owned());
        }
        let settings = match settings.is_empty() {
            true => String::new(),
            false => format!("-e '{}' ", settings.join("; ")),
        };
        format!("lftp {settings}-u {} {self}", quoted(user))
    }

    /// `curl` with user, or user and password, further options and a path without its first slash;
    /// what of these a shell must not touch is quoted already.
    pub(crate) fn curl(&self, trust: Trust<'_>, user: &str, options: &str, path: &str) -> String {
        let trust = match (trust, self.entry) {
            (Trust::Anything, _) => "--insecure ".to_owned(),
            (Trust::File(file), Entry::Explicit | Entry::Implicit) => {
                format!("--cacert {} ", quoted(file))
            }
            (Trust::System, _) | (Trust::File(_), Entry::Sftp) => String::new(),
        };
        let tls = match self.entry {
            Entry::Explicit => "--ssl-reqd ",
            Entry::Sftp | Entry::Implicit => "",
        };
        let options = match options {
            "" => String::new(),
            options => format!("{options} "),
        };
        format!(
            "curl {trust}{tls}-u {} {options}{self}/{path}",
            quoted(user)
        )
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.bracketed(), self.port)
    }
}

/// A word that a shell reads as it is.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-:,@".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_signs_of_the_shell_is_quoted() {
        assert_eq!(quoted("/a/demo-data"), "/a/demo-data");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }

    #[test]
    fn an_ipv6_address_is_bracketed_for_every_client() {
        for (entry, url) in [
            (Entry::Sftp, "sftp://[::1]:2022"),
            (Entry::Explicit, "ftp://[::1]:2022"),
            (Entry::Implicit, "ftps://[::1]:2022"),
        ] {
            let host = "::1".to_owned();
            let door = Door {
                entry,
                host,
                port: 2022,
            };
            assert_eq!(door.to_string(), url);
            for line in [
                door.curl(Trust::Anything, "demo", "", ""),
                door.lftp(Trust::Anything, "demo"),
            ] {
                assert!(line.contains(url), "{line}");
            }
            let line = door.sftp("-o X=y", "demo");
            assert_eq!(line, "sftp -P 2022 -o X=y 'demo@[::1]'");
        }
    }

    #[test]
    fn what_is_trusted_is_said_in_each_clients_words() {
        let door = |entry| Door {
            entry,
            host: "ftp.example.com".to_owned(),
            port: 21,
        };
        let file = Trust::File("tls.pem");
        for (entry, trust, curl, lftp) in [
            (Entry::Sftp, file, "curl -u", "lftp -u"),
            (Entry::Sftp, Trust::Anything, "--insecure", "auto-confirm"),
            (
                Entry::Explicit,
                file,
                "--cacert tls.pem --ssl-reqd",
                "ca-file tls.pem; set ftp:ssl",
            ),
            (
                Entry::Implicit,
                file,
                "--cacert tls.pem -u",
                "-e 'set ssl:ca-file tls.pem' -u",
            ),
            (Entry::Implicit, Trust::System, "curl -u", "lftp -u"),
            (
                Entry::Explicit,
                Trust::System,
                "curl --ssl-reqd -u",
                "-e 'set ftp:ssl-force yes'",
            ),
        ] {
            let door = door(entry);
            assert!(
                door.curl(trust, "a", "", "").contains(curl),
                "{entry:?} {trust:?}"
            );
            assert!(door.lftp(trust, "a").contains(lftp), "{entry:?} {trust:?}");
        }
    }
}
