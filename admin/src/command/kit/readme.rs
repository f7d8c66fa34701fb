//! The words of a kit, for people: whoever sets up the client, and whoever has the firewall.

use layover_depot::{AllowedNetwork, Right, Rights, SessionReuse};
use layover_retention::Keep;

use super::clients::{
    CERTIFICATES, CURL, FILEZILLA, KNOWN_HOSTS, SSH_CONFIG, WINSCP, alias, bookmark, site,
};
use super::facts::{Kit, KitDoor, KitTls, Proof, login_keys};
use crate::client_line::Entry;
use crate::new_folder::NewText;

pub(super) const README: &str = "README.txt";

/// Characters of a line.
const WIDTH: usize = 78;

pub(super) fn file(kit: &Kit) -> NewText {
    let mut text = Text::default();
    opening(kit, &mut text);
    where_to(kit, &mut text);
    networks(kit, &mut text);
    firewall(kit, &mut text);
    retention(kit, &mut text);
    fingerprints(kit, &mut text);
    clients(kit, &mut text);
    NewText {
        name: README.to_owned(),
        text: text.0,
    }
}

/// Lines of a file.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn heading(&mut self, title: &str) {
        self.line("");
        self.line(title);
        self.line(&"-".repeat(title.chars().count()));
    }

    /// Words in lines of [`WIDTH`]; a longer word has a line of its own.
    fn paragraph(&mut self, words: &str) {
        self.line("");
        self.wrapped(words, "", "");
    }

    fn item(&mut self, words: &str) {
        self.wrapped(words, "* ", "  ");
    }

    /// What is typed, below an item.
    fn command(&mut self, line: &str) {
        self.line(&format!("      {line}"));
    }

    fn wrapped(&mut self, words: &str, first: &str, rest: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in words.split_ascii_whitespace() {
            let width = line.chars().count() + word.chars().count();
            if !is_empty && width >= WIDTH {
                self.line(&line);
                line = rest.to_owned();
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.line(&line);
    }

    /// Rows of columns that stand below one another, indented.
    fn table<const N: usize>(&mut self, rows: &[[String; N]]) {
        let mut widths = [0; N];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        self.line("");
        for row in rows {
            let cells: Vec<_> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            self.line(&format!("  {}", cells.join("  ")));
        }
    }
}

fn opening(kit: &Kit, text: &mut Text) {
    let title = format!("Connecting to {} as {}", kit.host, kit.account.name);
    text.line(&title);
    text.line(&"=".repeat(title.chars().count()));
    let made_at = kit.made_at.to_string();
    let day = made_at.split('T').next().unwrap_or_default();
    text.paragraph(&format!(
        "For {}, as of {day}. There is no password in these files: it comes to you by another \
         way. Nothing here is secret, but take it only from somebody you know: the fingerprints \
         below are how you tell our server from another.",
        kit.account.entity
    ));
}

const fn protocol(entry: Entry) -> &'static str {
    match entry {
        Entry::Sftp => "SFTP",
        Entry::Explicit => "FTPS, explicit (AUTH TLS)",
        Entry::Implicit => "FTPS, implicit",
    }
}

fn where_to(kit: &Kit, text: &mut Text) {
    text.heading("1. Where to");
    let rows: Vec<_> = kit
        .doors
        .iter()
        .map(|KitDoor { door, .. }| {
            [
                protocol(door.entry).to_owned(),
                kit.host.clone(),
                format!("port {}", door.port),
            ]
        })
        .collect();
    text.table(&rows);
    text.paragraph(&format!("User: {}", kit.account.name));
    if let Some(sftp) = kit.door(Entry::Sftp) {
        text.item(&format!(
            "Over SFTP you log in with {}.",
            proof(sftp.proof, "your SSH key")
        ));
    }
    let ftps = kit.door(Entry::Explicit).or(kit.door(Entry::Implicit));
    if let Some(ftps) = ftps {
        text.item(&format!(
            "Over FTPS you log in with {}. Plain FTP is refused.",
            proof(ftps.proof, "your TLS client certificate")
        ));
    }
    if kit.door(Entry::Sftp).is_some() {
        for key in login_keys(&kit.account) {
            text.item(&format!("We have the public half of your key {key}."));
        }
    }
    if ftps.is_some() {
        for certificate in &kit.account.certificates {
            text.item(&format!(
                "We have your certificate \"{}\" (SHA-256 {}), valid until {}.",
                certificate.subject, certificate.fingerprint, certificate.not_after
            ));
        }
    }
}

fn proof(proof: Proof, key: &str) -> String {
    match proof {
        Proof::Key => key.to_owned(),
        Proof::Password => "the password".to_owned(),
        Proof::KeyAndPassword => format!("{key} and the password, both"),
        Proof::Either => format!("{key} or the password"),
    }
}

fn network(allowed: &AllowedNetwork) -> String {
    let until = allowed.until.map(|until| format!(" (until {until})"));
    let network = match allowed.network.is_any() {
        true => "any address".to_owned(),
        false => allowed.network.to_string(),
    };
    format!("{network}{}", until.unwrap_or_default())
}

fn networks(kit: &Kit, text: &mut Text) {
    text.heading("2. Where from");
    if kit.account.networks.is_empty() {
        text.paragraph(
            "We do not know yet where you come from. Tell us the public addresses of the machines \
             that connect: from all others nobody can log in.",
        );
        return;
    }
    text.paragraph(
        "You can log in from these addresses only; others are turned away before anything is \
         said. Tell us in time when they change.",
    );
    let rows: Vec<_> = kit
        .account
        .networks
        .iter()
        .map(|one| [network(one)])
        .collect();
    text.table(&rows);
}

fn firewall(kit: &Kit, text: &mut Text) {
    text.heading("3. For your network people");
    let addresses: Vec<_> = kit.addresses.iter().map(ToString::to_string).collect();
    let to = match addresses.is_empty() || addresses == [kit.host.clone()] {
        true => kit.host.clone(),
        false => format!("{} ({})", kit.host, addresses.join(", ")),
    };
    text.paragraph(&format!(
        "Please let TCP connections out from your machines to {to}, on the ports below. All of \
         them begin on your side; we open none to you."
    ));
    let mut rows: Vec<_> = kit
        .doors
        .iter()
        .map(|KitDoor { door, .. }| {
            let what = match door.entry {
                Entry::Sftp => "SFTP: everything",
                Entry::Explicit => "FTPS: commands, TLS begins with AUTH TLS",
                Entry::Implicit => "FTPS: commands, TLS from the first byte",
            };
            [format!("TCP {}", door.port), what.to_owned()]
        })
        .collect();
    if let Some(ports) = &kit.passive_ports {
        rows.push([
            format!("TCP {ports}"),
            "FTPS: listings and files (passive mode)".to_owned(),
        ]);
    }
    text.table(&rows);
    if kit.passive_ports.is_some() {
        text.paragraph(
            "The commands of FTPS are encrypted, so a firewall cannot read which port of the range \
             comes next: open the whole range, without an FTP helper (ALG) and without TLS \
             inspection. Active mode (PORT, EPRT) is not used.",
        );
    }
    if kit.addresses.is_empty() {
        text.paragraph("If your firewall needs an address instead of the name, ask us for it.");
    }
}

/// `5 days`, `36 hours`.
fn span(keep: Keep) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = keep.as_secs();
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

fn retention(kit: &Kit, text: &mut Text) {
    text.heading("4. What happens to files");
    let collected = kit.collected_keep.map(|keep| {
        format!(
            ", or {} after it was first downloaded completely, if that is sooner",
            span(keep)
        )
    });
    text.paragraph(&format!(
        "A file is deleted {} after it arrived here{}. Fetch it before. Renaming it or setting its \
         date does not move that moment, and nobody can bring it back. A file is visible when it \
         is complete, and an upload that broke off can be continued.",
        span(kit.keep),
        collected.unwrap_or_default()
    ));
    for folder in &kit.folders {
        let keep = folder
            .keep
            .map(|keep| format!("{} after they arrived", span(keep)));
        let collected = folder.collected_keep;
        let collected = collected.map(|keep| format!("{} after the first download", span(keep)));
        let rule: Vec<_> = keep.into_iter().chain(collected).collect();
        text.item(&format!(
            "In {} files are deleted {}.",
            folder.path,
            rule.join(", or ")
        ));
    }
    if kit.account.read_only {
        text.item("You can list and fetch files, and change nothing.");
    }
    for permission in &kit.account.permissions {
        let rights = match kit.account.read_only {
            true => permission.rights.intersect(Rights::READ_ONLY),
            false => permission.rights,
        };
        let words: Vec<_> = rights.iter().map(Right::as_str).collect();
        let words = match words.is_empty() {
            true => "nothing".to_owned(),
            false => words.join(", "),
        };
        text.item(&format!("In {} you may: {words}.", permission.path));
    }
}

/// `AB:CD:...`, as clients show it.
fn with_colons(hex: &str) -> String {
    let digits: Vec<_> = hex
        .chars()
        .map(|digit| digit.to_ascii_uppercase())
        .collect();
    let pairs: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect()).collect();
    pairs.join(":")
}

fn fingerprints(kit: &Kit, text: &mut Text) {
    text.heading("5. Who we are: fingerprints");
    text.paragraph(
        "Compare them when your client asks. If it shows others, do not go on, and tell us.",
    );
    if !kit.host_keys.is_empty() {
        let rows: Vec<_> = kit
            .host_keys
            .iter()
            .map(|key| {
                let when = match key.is_shown {
                    true => "SSH",
                    false => "SSH, to come",
                };
                [when.to_owned(), key.algorithm.clone(), key.sha256.clone()]
            })
            .collect();
        text.table(&rows);
        if kit.host_keys.iter().any(|key| !key.is_shown) {
            text.paragraph(&format!(
                "We are going to change to a key that is marked as to come. {KNOWN_HOSTS} has all of \
                 them. A client that remembers but one key of each kind (FileZilla, PuTTY) asks \
                 again then: compare."
            ));
        }
    }
    if let Some(tls) = &kit.tls {
        certificates(tls, text);
    }
}

fn certificates(tls: &KitTls, text: &mut Text) {
    let mut tell = |which: &str, fingerprint: &str, not_after: String| {
        text.line("");
        text.line(&format!("  {which}, SHA-256, valid until {not_after}:"));
        // 95 characters: in two lines, as clients show it.
        let print = with_colons(fingerprint);
        let (first, second) = print.split_at_checked(48).unwrap_or((&print, ""));
        text.line(&format!("  {first}"));
        text.line(&format!("  {second}"));
    };
    tell(
        "TLS certificate",
        &tls.fingerprint,
        tls.not_after.to_string(),
    );
    if let Some((fingerprint, not_after)) = &tls.next {
        tell(
            "TLS certificate to come",
            fingerprint,
            not_after.to_string(),
        );
        text.paragraph(
            "The second certificate takes the place of the first one soon. Trust both until then.",
        );
    }
    match tls.anchors.is_empty() {
        true => text.paragraph(
            "The TLS certificate comes from an authority: clients check it with what your system \
             trusts.",
        ),
        false => text.paragraph(&format!(
            "What clients must trust for it is in {CERTIFICATES}."
        )),
    }
}

fn clients(kit: &Kit, text: &mut Text) {
    text.heading("6. Your client");
    text.line("");
    let (sftp, name) = (kit.door(Entry::Sftp), alias(kit));
    let has_ftps = kit.tls.is_some();
    let any = kit.doors.first().map(|one| one.door.entry);
    if let Some(sftp) = sftp {
        let key = match sftp.proof.has_key() {
            true => format!(" Name your key in {SSH_CONFIG}, if it is not one of the usual files."),
            false => String::new(),
        };
        text.item("OpenSSH, in this directory:");
        text.command(&format!("sftp -F {SSH_CONFIG} {name}"));
        text.item(&format!(
            "Or add {SSH_CONFIG} to ~/.ssh/config (without its line UserKnownHostsFile) and \
             {KNOWN_HOSTS} to ~/.ssh/known_hosts.{key}"
        ));
    }
    if let Some(entry) = any {
        text.item("lftp, in this directory (all names are in lftp/bookmarks):");
        text.command(&format!("LFTP_HOME=lftp lftp {}", bookmark(kit, entry)));
    }
    let in_filezilla = |one: &&KitDoor| one.door.entry == Entry::Sftp || one.proof.is_by_password();
    if let Some(one) = kit.doors.iter().find(in_filezilla) {
        text.item(&format!(
            "FileZilla: File, Import, {FILEZILLA}; then \"{}\" in the site manager.",
            site(kit, one.door.entry)
        ));
    }
    text.item(
        "WinSCP, in this directory (it keeps there what you change; to import the file would \
         replace all of your own settings):",
    );
    text.command(&format!("WinSCP.exe /ini={WINSCP}"));
    text.item(&format!("curl: the lines of {CURL}."));
    if has_ftps {
        text.heading("7. FTPS in detail");
        text.line("");
        text.item("Passive mode, binary transfers, TLS 1.2 or 1.3.");
        text.item(match kit.session_reuse {
            SessionReuse::Require => {
                "Data connections must resume the TLS session of the control connection (522 \
                 otherwise). FileZilla, WinSCP and lftp do; Python's ftplib and old Java do not; \
                 curl does with --tls-max 1.2, or for one transfer a connection."
            }
            SessionReuse::Auto => {
                "Data connections may resume the TLS session of the control connection, and need \
                 not; the session of another connection is refused."
            }
            SessionReuse::Off => "Data connections need not resume any TLS session.",
        });
        if kit.account.tolerant_completion {
            text.item("An upload counts as complete when its connection is closed.");
        } else {
            text.item(
                "End uploads with TLS close_notify, as every current client does: one whose \
                 connection just closes may be cut short, stays hidden, and can be continued.",
            );
        }
    }
    if kit.account.publish_on_rename && sftp.is_some() {
        text.paragraph(
            "Over SFTP, upload under a name that ends in .part, .filepart or .tmp, and rename the \
             file when it is complete: until then nobody sees it.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_words() {
        for (seconds, words) in [
            (432_000, "5 days"),
            (86_400, "1 day"),
            (129_600, "36 hours"),
            (5_400, "90 minutes"),
            (61, "61 seconds"),
        ] {
            assert_eq!(span(Keep::from_secs(seconds).unwrap()), words);
        }
    }

    #[test]
    fn lines_are_no_longer_than_can_be_read() {
        let mut text = Text::default();
        text.item(&"word ".repeat(50));
        text.item(&format!("a {} b", "x".repeat(100)));
        let lines: Vec<_> = text.0.lines().collect();
        assert!(lines[0].starts_with("* word"));
        assert!(lines[1].starts_with("  word"));
        let long: Vec<_> = lines.iter().filter(|line| line.len() > WIDTH).collect();
        assert_eq!(long, [&format!("  {}", "x".repeat(100))]);
    }

    #[test]
    fn a_fingerprint_is_told_as_clients_show_it() {
        assert_eq!(with_colons("0aff10"), "0A:FF:10");
    }
}
