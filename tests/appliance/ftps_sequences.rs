//! The commands that clients send which cannot be run here, in their order, each reply by its code:
//! WinSCP, and Java with Apache's commons-net as many companies' programs have it.

use layover_tests::content::{MIB, write_file};
use layover_tests::ftps::{Entry, FtpsLogin, Tls};
use layover_tests::ftps_control::{Control, Resumption};
use layover_tests::{Account, Engine, Layover, Setup};

use crate::ledger;

const PASSWORD: &str = "correct-horse-7";

/// One thing that a client does.
enum Step {
    /// A command, and the code of its reply.
    Ask(&'static str, u16),
    /// A command whose reply must also hold a text.
    Told(&'static str, u16, &'static str),
    /// PASV or EPSV, then an upload command and what it sends.
    Send(&'static str, &'static str, &'static [u8]),
    /// PASV or EPSV, then a download or listing and a text that it must bring.
    Fetch(&'static str, &'static str, &'static str),
}

use Step::{Ask, Fetch, Send, Told};

fn serve() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

fn play(control: &mut Control, steps: &[Step]) {
    for step in steps {
        match step {
            Ask(line, code) => {
                let reply = control.ask(line);
                assert_eq!(reply.code, *code, "{line}: {}", reply.text);
            }
            Told(line, code, text) => {
                let reply = control.ask(line);
                assert_eq!(reply.code, *code, "{line}: {}", reply.text);
                assert!(reply.text.contains(text), "{line}: {}", reply.text);
            }
            Send(passive, line, content) => {
                let mut data = control.begin(passive, line);
                data.send(content);
                data.finish();
                let reply = control.reply();
                assert_eq!(reply.code, 226, "{line}: {}", reply.text);
            }
            Fetch(passive, line, text) => {
                let bytes = control.begin(passive, line).all();
                let reply = control.reply();
                assert_eq!(reply.code, 226, "{line}: {}", reply.text);
                let got = String::from_utf8_lossy(&bytes);
                assert!(got.contains(text), "{line}: {got}");
            }
        }
    }
}

/// WinSCP 6: the log of a session that looks around, uploads under a temporary name, sets the
/// time, renames, looks again, edits a file in place and cleans up.
const WINSCP: &[Step] = &[
    Ask("USER partner", 331),
    Ask("PASS correct-horse-7", 230),
    Told("SYST", 215, "UNIX Type: L8"),
    Told("FEAT", 211, " MFMT\r\n"),
    Ask("CLNT WinSCP-release-6.1", 200),
    Ask("OPTS UTF8 ON", 200),
    Ask("PBSZ 0", 200),
    Ask("PROT P", 200),
    Told("PWD", 257, "\"/\""),
    Ask("CWD /", 250),
    Ask("PWD", 257),
    Ask("TYPE A", 200),
    Fetch("PASV", "MLSD", ""),
    Ask("MKD /out", 257),
    Ask("CWD /out", 250),
    Ask("TYPE I", 200),
    Send("PASV", "STOR report.csv.filepart", b"a;b\r\n1;2\r\n"),
    Told(
        "MFMT 20260102030405 report.csv.filepart",
        213,
        "Modify=20260102030405; /out/report.csv.filepart",
    ),
    Ask("RNFR report.csv.filepart", 350),
    Ask("RNTO report.csv", 250),
    Ask("TYPE A", 200),
    Fetch("PASV", "MLSD", "Modify=20260102030405;"),
    Told("MDTM report.csv", 213, "20260102030405"),
    Ask("SITE CHMOD 640 report.csv", 200),
    Told("MLST report.csv", 250, "UNIX.mode=0640;"),
    Ask("TYPE I", 200),
    Told("SIZE report.csv", 213, "10"),
    Fetch("PASV", "RETR report.csv", "a;b\r\n1;2\r\n"),
    Send("PASV", "STOR report.csv", b"new"),
    Ask("REST 0", 350),
    Fetch("PASV", "RETR report.csv", "new"),
    // Keep-alives.
    Ask("NOOP", 200),
    Ask("TYPE A", 200),
    Ask("PWD", 257),
    Ask("DELE report.csv", 250),
    Ask("DELE report.csv", 550),
    Ask("CWD /", 250),
    Ask("RMD /out", 250),
    Ask("CWD /out", 550),
    Ask("QUIT", 221),
];

/// commons-net 3: `login`, `execPBSZ`, `execPROT`, then what programs do with it, also with hidden
/// files shown, with EPSV over IPv4, with offsets and with unique names.
const COMMONS_NET: &[Step] = &[
    Ask("USER partner", 331),
    Ask("PASS correct-horse-7", 230),
    Ask("PBSZ 0", 200),
    Ask("PROT P", 200),
    Ask("TYPE I", 200),
    Ask("MODE S", 200),
    Ask("STRU F", 200),
    // Its parser of listings is chosen by this.
    Told("SYST", 215, "UNIX"),
    Ask("FEAT", 211),
    Ask("HELP", 214),
    Ask("ALLO 11", 200),
    Send("PASV", "STOR in.txt", b"hello world"),
    Fetch("PASV", "LIST", " in.txt\r\n"),
    Fetch("PASV", "LIST -a", " in.txt\r\n"),
    Fetch("PASV", "LIST -al /", " in.txt\r\n"),
    Fetch("EPSV", "LIST in.txt", " in.txt\r\n"),
    Fetch("EPSV", "NLST", "in.txt\r\n"),
    Fetch("EPSV", "NLST *.txt", "in.txt\r\n"),
    Fetch("EPSV", "NLST -a", "in.txt\r\n"),
    Fetch("PASV", "MLSD /", "Type=file;"),
    Told("MLST in.txt", 250, "Size=11;"),
    Told("STAT in.txt", 213, "in.txt"),
    Ask("STAT", 211),
    Ask("MFMT 20250607080910 in.txt", 213),
    Told("MDTM in.txt", 213, "20250607080910"),
    Ask("SITE CHMOD 600 in.txt", 200),
    Ask("SITE HELP", 214),
    Ask("SITE EXEC ls", 504),
    Ask("REST 6", 350),
    Fetch("PASV", "RETR in.txt", "world"),
    Send("PASV", "APPE in.txt", b", again"),
    Told("SIZE in.txt", 213, "18"),
    Fetch("PASV", "RETR in.txt", "hello world, again"),
    Send("PASV", "STOU", b"unique"),
    Told("STAT upload", 213, "upload"),
    Ask("TYPE A", 200),
    Send("PASV", "STOR lines.txt", b"one\r\ntwo\r\n"),
    Ask("TYPE I", 200),
    Told("SIZE lines.txt", 213, "8"),
    Ask("MKD sub", 257),
    Ask("CWD sub", 250),
    Told("PWD", 257, "\"/sub\""),
    Ask("CDUP", 250),
    Ask("XPWD", 257),
    Ask("RNFR in.txt", 350),
    Ask("RNTO sub/out.txt", 250),
    Ask("RNFR in.txt", 550),
    // Nothing is running any more.
    Ask("ABOR", 226),
    Ask("NOOP", 200),
    // What it tries and must not have, and what it forgets.
    Ask("PROT C", 534),
    Ask("CCC", 534),
    Ask("PORT 127,0,0,1,200,200", 502),
    Ask("EPRT |1|127.0.0.1|51400|", 502),
    Ask("RETR sub/out.txt", 425),
    Ask("MODE Z", 504),
    Ask("ACCT nobody", 502),
    Ask("REIN", 220),
    Ask("PWD", 530),
    Ask("QUIT", 221),
];

fn played(steps: &[Step], tls: Tls, resumption: Resumption) {
    for entry in Entry::BOTH {
        let (layover, account) = serve();
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let mut control = Control::connect(&login, tls, resumption);
        assert_eq!(control.reply().code, 220);
        if entry == Entry::Explicit {
            assert_eq!(control.ask("USER partner").code, 530);
            assert_eq!(control.ask("AUTH SSL").code, 504);
            control.begin_tls();
        }
        play(&mut control, steps);
        let mut rows = layover.rows(&["journal", "--kind", "transfer"]);
        rows.retain(|entry| entry["action"] == "upload" || entry["action"] == "download");
        // What a sequence asks for where it must be refused.
        rows.retain(|entry| entry["detail"]["why"] != "not-begun");
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!(row["outcome"], "ok", "{row}");
            assert_eq!(row["detail"]["end"], "close-notify", "{row}");
            assert_eq!(row["detail"]["tls"], tls.journalled(), "{row}");
            if resumption == Resumption::No {
                assert_eq!(row["detail"]["data"], "address", "{row}");
            }
        }
        ledger::agrees_with_tree(&layover, "partner");
    }
}

#[test]
fn winscp_says_what_it_says_and_is_answered() {
    played(WINSCP, Tls::V13, Resumption::Yes);
    played(WINSCP, Tls::V12, Resumption::Yes);
}

#[test]
fn commons_net_of_old_java_says_what_it_says_and_is_answered() {
    played(COMMONS_NET, Tls::V12, Resumption::No);
}

/// RFC 4217 names no order of PBSZ, PROT and USER.
#[test]
fn protection_may_be_asked_for_before_the_login() {
    let (layover, account) = serve();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let mut control = Control::connect(&login, Tls::V12, Resumption::No);
    assert_eq!(control.reply().code, 220);
    control.begin_tls();
    play(
        &mut control,
        &[
            Ask("PBSZ 0", 200),
            Ask("PROT P", 200),
            Ask("USER partner", 331),
            Ask("PASS correct-horse-7", 230),
            Send("EPSV", "STOR file", b"x"),
        ],
    );
}

/// `FTPClient.abort()` of commons-net, and with Telnet's signals before it as RFC 959 has it.
#[test]
fn abor_ends_a_download_and_the_session_goes_on() {
    let (layover, account) = serve();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let source = account.client_dir.join("source");
    let sum = write_file(&source, 64 * MIB, 5);
    account
        .sftp(&layover)
        .put(b"/large", &std::fs::read(&source).expect("read"))
        .expect("put");
    let mut control = Control::log_in(&login, Tls::V12, Resumption::No);
    for abort in [&b"ABOR\r\n"[..], b"\xff\xf4\xff\xf2ABOR\r\n"] {
        let mut data = control.begin("PASV", "RETR large");
        assert!(data.some(1000) > 0);
        control.send(abort);
        assert_eq!(control.reply().code, 426);
        assert_eq!(control.reply().code, 226);
        drop(data);
    }
    let whole = control.begin("PASV", "RETR large").all();
    assert_eq!(control.reply().code, 226);
    std::fs::write(&source, &whole).expect("write");
    assert_eq!(layover_tests::content::sha256(&source), sum);
    let mut rows = layover.rows(&["journal", "--kind", "transfer"]);
    rows.retain(|entry| entry["action"] == "download");
    let outcomes: Vec<_> = rows.iter().map(|row| row["outcome"].as_str()).collect();
    assert_eq!(
        outcomes,
        [Some("failed"), Some("failed"), Some("ok")],
        "{rows:?}"
    );
}
