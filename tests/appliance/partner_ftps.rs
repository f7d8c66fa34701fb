//! The partner's FTPS server of the harness is one: real clients move files to and from it.

use std::process::Command;

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::partner_ftps::PartnerFtps;
use layover_tests::process::{self, Ran};
use layover_tests::wait::PATIENCE;
use tempfile::TempDir;

const PASSWORD: &str = "correct-horse-7";

fn curl(partner: &PartnerFtps, password: &str, arguments: &[&str], path: &str) -> Ran {
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--show-error", "--ssl-reqd"])
        .arg("--cacert")
        .arg(partner.certificate())
        .args(["--user", &format!("{}:{password}", partner.user().0)])
        .args(arguments)
        .arg(format!("ftp://{}{path}", partner.address()));
    process::run(&mut command, b"", PATIENCE)
}

#[test]
fn curl_and_lftp_list_upload_and_download() {
    let partner = PartnerFtps::start("layover", PASSWORD);
    let dir = TempDir::new().expect("make a folder");
    let [source, target] = ["source", "target"].map(|name| dir.path().join(name));
    let sum = write_file(&source, 2 * MIB + 77, 4);
    let (from, to) = (source.to_string_lossy(), target.to_string_lossy());

    curl(&partner, PASSWORD, &["--upload-file", &from], "/by-curl").expect_ok();
    assert_eq!(sha256(&partner.files().join("by-curl")), sum);
    curl(&partner, PASSWORD, &["--output", &to], "/by-curl").expect_ok();
    assert_eq!(sha256(&target), sum);
    let names = curl(&partner, PASSWORD, &["--list-only"], "/").expect_ok();
    assert_eq!(names.stdout.trim_end(), "by-curl");

    let script = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset ssl:ca-file {}\n\
         set ftp:ssl-force yes\nset ftp:ssl-protect-data yes\nopen -u layover,{PASSWORD} ftp://{}\n\
         put {from} -o /by-lftp\nget /by-lftp -o {to}.lftp\ncls -1 /\n",
        partner.certificate().display(),
        partner.address(),
    );
    let mut command = Command::new("lftp");
    command
        .env("HOME", dir.path())
        .env("LFTP_HOME", dir.path())
        .args(["-f", "/dev/stdin"]);
    let ran = process::run(&mut command, script.as_bytes(), PATIENCE).expect_ok();
    assert_eq!(ran.stdout, "/by-curl\n/by-lftp\n");
    assert_eq!(sha256(&partner.files().join("by-lftp")), sum);
    assert_eq!(sha256(&dir.path().join("target.lftp")), sum);
}

#[test]
fn nobody_else_logs_in_and_nobody_in_the_clear() {
    let partner = PartnerFtps::start("layover", PASSWORD);
    std::fs::write(partner.files().join("file"), "content").expect("write");
    // curl's code for a refused login.
    curl(&partner, "wrong", &[], "/file").expect_code(67);
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--user"])
        .arg(format!("layover:{PASSWORD}"))
        .arg(format!("ftp://{}/file", partner.address()));
    let ran = process::run(&mut command, b"", PATIENCE);
    assert!(!ran.ok() && ran.stdout.is_empty(), "{ran}");
}
