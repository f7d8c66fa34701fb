//! `layover status --health`: what a container's health check asks every half a minute.

use std::net::SocketAddr;
use std::time::Duration;

use layover_depot::timer;
use layover_server::Addresses;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::from_this_machine;

/// How long a healthy server may take to accept a connection of this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// And to answer: it asks the database and tries the storage.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// Bytes of an answer that are read: a real one has less than 2 KiB.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What `/health/ready` says.
#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
struct Check {
    check: String,
    ok: bool,
    detail: String,
}

/// Asks the server itself, or, where its console is switched off, connects to what it
/// serves: that costs a line of refused connections in the log, and tells less.
///
/// # Errors
/// Why it is not healthy.
pub(super) async fn ask(server: &Addresses) -> Result<(), String> {
    if server.stopping {
        return Err("it is stopping".to_owned());
    }
    if let Some(console) = server.console {
        return ask_console(from_this_machine(console)).await;
    }
    for (name, address) in server.entries() {
        if let Some(address) = address {
            connect(name, from_this_machine(address)).await?;
        }
    }
    Ok(())
}

async fn connect(name: &str, at: SocketAddr) -> Result<TcpStream, String> {
    match timer::timeout(CONNECT_LIMIT, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("{name} on {at} does not accept: {error}")),
        Err(_) => Err(format!("{name} on {at} does not accept in time")),
    }
}

async fn ask_console(at: SocketAddr) -> Result<(), String> {
    let stream = connect("the console", at).await?;
    match timer::timeout(ANSWER_LIMIT, exchange(stream, at)).await {
        Ok(Ok(answer)) => judge(&answer),
        Ok(Err(error)) => Err(format!("the console on {at} does not answer: {error}")),
        Err(_) => Err(format!("the console on {at} does not answer in time")),
    }
}

/// One request, and all that comes back.
async fn exchange(mut stream: TcpStream, at: SocketAddr) -> std::io::Result<Vec<u8>> {
    let request = format!("GET /health/ready HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer)
}

/// The body says everything: the status only repeats it.
fn judge(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let readiness = text
        .split_once("\r\n\r\n")
        .and_then(|(_, body)| serde_json::from_str::<Readiness>(body).ok());
    let Some(readiness) = readiness else {
        return Err("what answers at the console's address is not this server".to_owned());
    };
    if readiness.ready {
        return Ok(());
    }
    let failed = readiness.checks.iter().filter(|check| !check.ok);
    let reasons: Vec<_> = failed
        .map(|check| format!("{}: {}", check.check, check.detail))
        .collect();
    Err(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n";

    fn judged(body: &str) -> Result<(), String> {
        judge(format!("{HEAD}{body}").as_bytes())
    }

    #[test]
    fn each_reason_against_a_server_is_told() {
        let body = r#"{"ready":false,"checks":[
            {"check":"server","ok":true,"detail":"it serves"},
            {"check":"storage","ok":false,"detail":"the disk is full"},
            {"check":"sweep","ok":false,"detail":"the last one began 900 s ago"}]}"#;
        assert_eq!(
            judged(body),
            Err("storage: the disk is full; sweep: the last one began 900 s ago".to_owned())
        );
        let good = r#"{"ready":true,"checks":[{"check":"server","ok":true,"detail":"it serves"}]}"#;
        assert_eq!(judged(good), Ok(()));
    }

    #[test]
    fn something_else_at_the_address_is_not_taken_for_the_server() {
        for other in ["", "hello", "{\"ready\":\"yes\"}", "<html></html>"] {
            assert!(judged(other).unwrap_err().contains("not this server"));
        }
        assert!(judge(b"SSH-2.0-OpenSSH_9.2\r\n").is_err());
        assert!(judge(b"").is_err());
    }
}
