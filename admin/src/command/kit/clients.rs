//! The files of a kit that clients read: each in its program's own form, with every value
//! as that form wants it. They name one another relative to the kit's directory.

use base64::Engine as _;

use super::facts::{Kit, KitDoor, Proof};
use crate::client_line::{Entry, Trust};
use crate::new_folder::NewText;

/// The TLS certificates that clients trust.
pub(super) const CERTIFICATES: &str = "tls-certificate.pem";

pub(super) const SSH_CONFIG: &str = "ssh_config";
pub(super) const KNOWN_HOSTS: &str = "known_hosts";
pub(super) const FILEZILLA: &str = "filezilla.xml";
pub(super) const WINSCP: &str = "winscp.ini";
pub(super) const LFTP_RC: &str = "lftp/rc";
pub(super) const LFTP_BOOKMARKS: &str = "lftp/bookmarks";
pub(super) const CURL: &str = "curl.txt";

/// The files, of what the account may use.
pub(super) fn files(kit: &Kit) -> Vec<NewText> {
    let mut files = vec![
        file(WINSCP, winscp(kit)),
        file(LFTP_RC, lftp_rc(kit)),
        file(LFTP_BOOKMARKS, lftp_bookmarks(kit)),
        file(CURL, curl(kit)),
    ];
    let sites = filezilla_sites(kit);
    if !sites.is_empty() {
        files.push(file(FILEZILLA, filezilla(&sites)));
    }
    if let Some(sftp) = kit.door(Entry::Sftp) {
        files.push(file(SSH_CONFIG, ssh_config(kit, sftp)));
        files.push(file(KNOWN_HOSTS, known_hosts(kit, sftp)));
    }
    if let Some(tls) = kit.tls.as_ref().filter(|tls| !tls.anchors.is_empty()) {
        let text = tls.anchors.iter().map(|der| pem(der)).collect();
        files.push(file(CERTIFICATES, text));
    }
    files
}

fn file(name: &str, text: String) -> NewText {
    NewText {
        name: name.to_owned(),
        text,
    }
}

/// What OpenSSH and lftp call this connection: in a `Host` line and in a bookmark, `@` would
/// mean something else.
pub(super) fn alias(kit: &Kit) -> String {
    kit.account.name.as_str().replace('@', "-")
}

/// A bookmark's name.
pub(super) fn bookmark(kit: &Kit, entry: Entry) -> String {
    let kind = match entry {
        Entry::Sftp => "sftp",
        Entry::Explicit => "ftps",
        Entry::Implicit => "ftps-implicit",
    };
    format!("{}-{kind}", alias(kit))
}

/// A site's name in FileZilla and WinSCP.
pub(super) fn site(kit: &Kit, entry: Entry) -> String {
    let kind = match entry {
        Entry::Sftp => "SFTP",
        Entry::Explicit => "FTPS",
        Entry::Implicit => "FTPS implicit",
    };
    format!("{} {kind}", kit.account.name)
}

/// What clients trust of the server over FTPS.
fn trust(kit: &Kit) -> Trust<'static> {
    match &kit.tls {
        Some(tls) if !tls.anchors.is_empty() => Trust::File(CERTIFICATES),
        _ => Trust::System,
    }
}

fn pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while let Some((line, after)) = rest.split_at_checked(LINE) {
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    if !rest.is_empty() {
        pem.push_str(rest);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// ssh_config(5). The second name is for lftp, which hands over the host as it is.
fn ssh_config(kit: &Kit, sftp: &KitDoor) -> String {
    let (alias, host, port) = (alias(kit), &kit.host, sftp.door.port);
    let mut text = format!(
        "# In this directory: sftp -F {SSH_CONFIG} {alias}\n\
         Host {alias} {host}\n    \
             HostName {host}\n    \
             Port {port}\n    \
             User {}\n    \
             UserKnownHostsFile {KNOWN_HOSTS}\n    \
             StrictHostKeyChecking yes\n",
        kit.account.name
    );
    match sftp.proof {
        Proof::Password => text.push_str(
            "    PubkeyAuthentication no\n    \
                 PreferredAuthentications password,keyboard-interactive\n",
        ),
        Proof::Key => text.push_str("    PreferredAuthentications publickey\n"),
        Proof::KeyAndPassword | Proof::Either => {}
    }
    if sftp.proof.has_key() {
        text.push_str("    # IdentityFile ~/.ssh/id_ed25519\n");
    }
    text
}

/// sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
fn known_hosts(kit: &Kit, sftp: &KitDoor) -> String {
    const SSH_PORT: u16 = 22;
    let host = match sftp.door.port {
        SSH_PORT => kit.host.clone(),
        port => format!("[{}]:{port}", kit.host),
    };
    let lines = kit.host_keys.iter();
    lines.map(|key| format!("{host} {}\n", key.line)).collect()
}

fn lftp_rc(kit: &Kit) -> String {
    let mut text = "# In this directory: LFTP_HOME=lftp lftp NAME, with a name of lftp/bookmarks\n\
                    set cmd:fail-exit yes\n"
        .to_owned();
    if kit.tls.is_some() {
        text.push_str(
            "set ftp:ssl-force yes\n\
             set ftp:ssl-protect-data yes\n\
             set ftp:ssl-protect-list yes\n\
             set ssl:verify-certificate yes\n\
             set ssl:check-hostname yes\n",
        );
        if let Trust::File(file) = trust(kit) {
            text.push_str(&format!("set ssl:ca-file {}\n", in_lftp_quotes(file)));
        }
        let ftps = kit.door(Entry::Explicit).or(kit.door(Entry::Implicit));
        if ftps.is_some_and(|one| one.proof.has_key()) {
            text.push_str("# set ssl:cert-file YOUR.crt\n# set ssl:key-file YOUR.key\n");
        }
    }
    if kit.door(Entry::Sftp).is_some() {
        let program = format!("ssh -a -x -F {SSH_CONFIG}");
        text.push_str(&format!(
            "set sftp:connect-program {}\n",
            in_lftp_quotes(&program)
        ));
    }
    text
}

/// One a line: name, tab, URL.
fn lftp_bookmarks(kit: &Kit) -> String {
    let user = in_url(kit.account.name.as_str());
    let lines = kit.doors.iter().map(|KitDoor { door, .. }| {
        let url = door.to_string();
        let url = url.replacen("://", &format!("://{user}@"), 1);
        format!("{}\t{url}/\n", bookmark(kit, door.entry))
    });
    lines.collect()
}

fn curl(kit: &Kit) -> String {
    let name = kit.account.name.as_str();
    let mut text = "# In this directory. curl asks for the password.\n".to_owned();
    for KitDoor { door, proof } in &kit.doors {
        let (title, key) = match door.entry {
            Entry::Sftp => (
                "SFTP: first add the lines of known_hosts to ~/.ssh/known_hosts, where curl looks",
                "--key ~/.ssh/id_ed25519 --pubkey ~/.ssh/id_ed25519.pub",
            ),
            Entry::Explicit => ("FTPS, explicit", "--cert YOUR.crt --key YOUR.key"),
            Entry::Implicit => ("FTPS, implicit", "--cert YOUR.crt --key YOUR.key"),
        };
        let (user, key) = match proof {
            // Without a password none is asked for.
            Proof::Key => (format!("{name}:"), key),
            Proof::KeyAndPassword => (name.to_owned(), key),
            Proof::Password | Proof::Either => (name.to_owned(), ""),
        };
        text.push_str(&format!("\n# {title}: list, put, get\n"));
        for (verb, path) in [("", ""), ("-T FILE", ""), ("-O", "FILE")] {
            let options = [verb, key].join(" ");
            let line = door.curl(trust(kit), &user, options.trim(), path);
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

/// A site of FileZilla's site manager.
struct Site {
    name: String,
    host: String,
    port: u16,
    user: String,
    /// 1: SFTP, 3: FTP with implicit TLS, 4: FTP with explicit TLS, which is required.
    protocol: u8,
    /// 2: ask for the password; 3: ask whatever the server asks, after keys were tried.
    logon: u8,
}

/// FileZilla shows no TLS client certificate.
fn filezilla_sites(kit: &Kit) -> Vec<Site> {
    let doors = kit.doors.iter();
    let usable = doors.filter(|one| one.door.entry == Entry::Sftp || one.proof.is_by_password());
    usable
        .map(|KitDoor { door, proof }| Site {
            name: site(kit, door.entry),
            host: door.host.clone(),
            port: door.port,
            user: kit.account.name.to_string(),
            protocol: match door.entry {
                Entry::Sftp => 1,
                Entry::Implicit => 3,
                Entry::Explicit => 4,
            },
            logon: match proof {
                Proof::Password | Proof::Either => 2,
                Proof::Key | Proof::KeyAndPassword => 3,
            },
        })
        .collect()
}

fn filezilla(sites: &[Site]) -> String {
    let mut text =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<FileZilla3>\n  <Servers>\n".to_owned();
    for site in sites {
        text.push_str("    <Server>\n");
        for (element, value) in [
            ("Host", &site.host),
            ("Port", &site.port.to_string()),
            ("Protocol", &site.protocol.to_string()),
            ("Type", &0.to_string()),
            ("User", &site.user),
            ("Logontype", &site.logon.to_string()),
            ("EncodingType", &"UTF-8".to_owned()),
            ("Name", &site.name),
        ] {
            text.push_str(&format!("      <{element}>{}</{element}>\n", in_xml(value)));
        }
        text.push_str("    </Server>\n");
    }
    text.push_str("  </Servers>\n</FileZilla3>\n");
    text
}

/// WinSCP's own file of settings, with the line ends of Windows.
fn winscp(kit: &Kit) -> String {
    let mut text = String::new();
    for KitDoor { door, .. } in &kit.doors {
        let (protocol, tls) = match door.entry {
            Entry::Sftp => (2, None),
            Entry::Explicit => (5, Some(3)),
            Entry::Implicit => (5, Some(1)),
        };
        let name = in_winscp(&site(kit, door.entry));
        text.push_str(&format!("[Sessions\\{name}]\r\n"));
        text.push_str(&format!("HostName={}\r\n", in_winscp(&door.host)));
        text.push_str(&format!("PortNumber={}\r\n", door.port));
        let user = in_winscp(kit.account.name.as_str());
        text.push_str(&format!("UserName={user}\r\n"));
        text.push_str(&format!("FSProtocol={protocol}\r\n"));
        if let Some(tls) = tls {
            text.push_str(&format!("Ftps={tls}\r\n"));
        }
        text.push_str("\r\n");
    }
    text
}

/// Text of an XML element (XML 1.0 s.2.4); what XML cannot hold at all is left out.
fn in_xml(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            control if control.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

/// The user of a URL (RFC 3986 s.3.2.1).
fn in_url(text: &str) -> String {
    percent(text, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
    })
}

/// Names and values in WinSCP's file: what its own program writes percent-encoded.
fn in_winscp(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\*?%[]=;#\"".contains(&byte);
    percent(text, plain)
}

fn percent(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// One word of lftp's commands.
fn in_lftp_quotes(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_each_form_wants_them() {
        let nasty = "a b<&>\"'\\[x]=;%é";
        assert_eq!(in_xml(nasty), "a b&lt;&amp;&gt;&quot;&apos;\\[x]=;%é");
        assert_eq!(in_xml("a\u{0}\nb"), "ab");
        assert_eq!(in_url("it@acme.example"), "it%40acme.example");
        assert_eq!(
            in_url(nasty),
            "a%20b%3C%26%3E%22%27%5C%5Bx%5D%3D%3B%25%C3%A9"
        );
        assert_eq!(in_winscp("it@acme.example"), "it@acme.example");
        assert_eq!(in_winscp("acme SFTP"), "acme%20SFTP");
        assert_eq!(in_winscp(nasty), "a%20b<&>%22'%5C%5Bx%5D%3D%3B%25%C3%A9");
        assert_eq!(in_lftp_quotes(r#"a "b\"#), r#""a \"b\\""#);
    }

    #[test]
    fn a_certificate_is_written_in_lines_of_64() {
        let text = pem(&[7; 97]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1].len(), 64);
        assert_eq!(lines[3].len(), 4);
        assert_eq!(pem(&[7; 96]).lines().count(), 4);
    }
}
