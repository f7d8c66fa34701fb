//! The first minutes: `layover serve --demo`, exactly as a newcomer goes through them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use layover_tests::layover::executable;
use layover_tests::process;
use layover_tests::wait::{self, PATIENCE};

/// The demonstration server; killed when dropped.
struct Demo {
    child: Child,
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The demo in `dir`, on free ports and with a short keep, and everything that it printed until
/// the line for `curl`'s or `sftp`'s users was there.
fn start(dir: &Path, output: &Path) -> Demo {
    let log = File::create(output).expect("create output file");
    let mut command = Command::new(executable());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAYOVER") {
            command.env_remove(name);
        }
    }
    let child = command
        .args(["serve", "--demo"])
        .current_dir(dir)
        .env("HOME", dir)
        .env("LAYOVER__SFTP__PORT", "0")
        .env("LAYOVER__FTPS__EXPLICIT_PORT", "0")
        .env("LAYOVER__FTPS__IMPLICIT_PORT", "0")
        .env("LAYOVER__CONSOLE__LISTEN", "127.0.0.1:0")
        .env("LAYOVER__RETENTION__KEEP", "5s")
        .env("LAYOVER__RETENTION__SWEEP_EVERY", "1s")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("share output file"))
        .stderr(log)
        .spawn()
        .expect("start the demo");
    let mut demo = Demo { child };
    wait::until("the demo to be ready", PATIENCE, || {
        let printed = fs::read_to_string(output).expect("read output");
        if let Some(status) = demo.child.try_wait().expect("wait for the demo") {
            panic!("the demo ended with {status}\n{printed}");
        }
        (dir.join("demo-data/addresses.json").exists() && sftp_line(&printed).is_some())
            .then_some(())
    });
    demo
}

/// The line that is ready to be pasted for `sftp`.
fn sftp_line(printed: &str) -> Option<&str> {
    printed
        .lines()
        .map(str::trim)
        .map(|line| line.trim_start_matches("$ "))
        .find_map(|line| {
            let at = line.find("sftp -")?;
            line.contains("demo@").then(|| &line[at..])
        })
}

/// The password, which stands behind the word.
fn password(printed: &str) -> &str {
    let mut words = printed
        .split_whitespace()
        .skip_while(|word| *word != "password");
    words
        .nth(1)
        .unwrap_or_else(|| panic!("no password in\n{printed}"))
}

fn demo_command(dir: &Path, arguments: &[&str]) -> process::Ran {
    let mut command = Command::new(executable());
    command
        .current_dir(dir)
        .env("LAYOVER__DATA_DIR", "demo-data");
    process::run(command.args(arguments), b"", PATIENCE)
}

#[test]
fn the_printed_lines_move_a_file_which_expires_with_a_journal_entry() {
    let dir = tempfile::TempDir::with_prefix("layover-demo-").expect("make folder");
    let output = dir.path().join("output");
    let _demo = start(dir.path(), &output);
    let printed = fs::read_to_string(&output).expect("read output");
    for word in ["sftp", "lftp", "SHA256:", "5s"] {
        assert!(printed.contains(word), "`{word}` is missing in\n{printed}");
    }

    // The printed line as it is, in a shell; the password is given to OpenSSH's own question.
    let client = dir.path().join("client");
    fs::create_dir(&client).expect("make client folder");
    fs::write(client.join("hello.txt"), "a real file\n").expect("write file");
    let askpass = client.join("askpass");
    fs::write(
        &askpass,
        format!("#!/bin/sh\necho '{}'\n", password(&printed)),
    )
    .expect("write");
    process::run(
        Command::new("chmod").arg("700").arg(&askpass),
        b"",
        PATIENCE,
    )
    .expect_ok();
    let line = sftp_line(&printed).expect("a line for sftp");
    let options = "-F /dev/null -o StrictHostKeyChecking=accept-new \
                   -o UserKnownHostsFile=known_hosts -o NumberOfPasswordPrompts=1";
    let pasted = line.replacen("sftp ", &format!("sftp {options} "), 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &pasted]).current_dir(&client);
    shell
        .env("SSH_ASKPASS", &askpass)
        .env("SSH_ASKPASS_REQUIRE", "force");
    shell.env_remove("SSH_AUTH_SOCK");
    let commands = "put hello.txt\nget hello.txt back.txt\nls -l\n";
    let ran = process::run(&mut shell, commands.as_bytes(), PATIENCE).expect_ok();
    assert!(ran.stdout.contains("hello.txt"), "{ran}");
    let back = fs::read_to_string(client.join("back.txt"));
    assert_eq!(
        back.unwrap_or_else(|error| panic!("{error}: {ran}")),
        "a real file\n"
    );

    // lftp keeps its commands; only the known hosts must not be those of who runs the tests.
    let rc =
        "set sftp:connect-program \"ssh -a -x -F /dev/null -o UserKnownHostsFile=known_hosts\"";
    fs::write(client.join("rc"), rc).expect("write lftp's settings");
    let line = printed
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("lftp "));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line.expect("a line for lftp")])
        .current_dir(&client);
    shell
        .env("LFTP_HOME", &client)
        .env("HOME", &client)
        .env_remove("SSH_AUTH_SOCK");
    let ran = process::run(&mut shell, b"put hello.txt -o by-lftp.txt\nls\n", PATIENCE);
    assert!(ran.stdout.contains("by-lftp.txt"), "{ran}");

    let mut list = Command::new("sh");
    let line = printed
        .lines()
        .find(|line| line.trim_end().ends_with("file list demo"));
    list.args(["-c", line.expect("a line that lists the files")])
        .current_dir(&client);
    let listed = process::run(&mut list, b"", PATIENCE).expect_ok();
    assert!(listed.stdout.contains("/hello.txt"), "{listed}");
    let stored = dir.path().join("demo-data/homes/demo/hello.txt");
    // Keep and sweep period are 6 seconds together; the rest is for a busy machine.
    wait::until("the file to go", Duration::from_secs(15), || {
        (!stored.exists()).then_some(())
    });
    wait::until("the journal to tell of it", PATIENCE, || {
        let ran = demo_command(
            dir.path(),
            &["journal", "--limit", "0", "--kind", "retention"],
        )
        .expect_ok();
        ran.stdout.contains("/hello.txt").then_some(())
    });
}

#[test]
fn each_start_prints_a_fresh_password_and_only_the_last_works() {
    let dir = tempfile::TempDir::with_prefix("layover-demo-").expect("make folder");
    let output = dir.path().join("output");
    let first = start(dir.path(), &output);
    let before = password(&fs::read_to_string(&output).expect("read")).to_owned();
    drop(first);
    fs::remove_file(dir.path().join("demo-data/addresses.json")).expect("left by the kill");
    let _second = start(dir.path(), &output);
    let after = password(&fs::read_to_string(&output).expect("read")).to_owned();
    assert_ne!(before, after);
    let addresses = fs::read_to_string(dir.path().join("demo-data/addresses.json")).expect("read");
    let addresses: serde_json::Value = serde_json::from_str(&addresses).expect("JSON");
    let server = addresses["sftp"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address");
    let connect = || {
        let server: std::net::SocketAddr = server;
        let near = std::net::SocketAddr::from(([127, 0, 0, 1], server.port()));
        layover_tests::ssh::Ssh::connect(near).expect("connect")
    };
    assert!(
        !connect().password("demo", &before).accepted(),
        "the first password still works"
    );
    connect().password("demo", &after).expect_accepted();
}

/// A port that is taken is the newcomer's most likely trouble.
#[test]
fn a_taken_port_is_named_in_the_error() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("take a port");
    let port = taken.local_addr().expect("address").port().to_string();
    let dir = tempfile::TempDir::with_prefix("layover-demo-").expect("make folder");
    let mut command = Command::new(executable());
    command.args(["serve", "--demo"]).current_dir(dir.path());
    command.env("LAYOVER__SFTP__PORT", &port);
    let ran = process::run(&mut command, b"", PATIENCE).expect_code(1);
    assert!(
        ran.stderr.contains(&port),
        "the message should name the port: {ran}"
    );
}
