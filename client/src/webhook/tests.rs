//! Against receivers on loopback, the well-behaved one and others.

use std::net::SocketAddr;

use layover_depot::{EventId, EventKind};
use layover_retention::Timestamp;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::partner::Waits;
use crate::secret_ref::SecretSources;

const SECRET: &str = "a-secret-of-some-length";
const NOW_S: i64 = 1_800_000_000;

/// A receiver's certificate, and who signed it.
struct Identity {
    authority: String,
    acceptor: TlsAcceptor,
}

fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    Identity {
        authority: made.cert.pem(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

/// What the receiver does with a request.
#[derive(Clone, Copy)]
enum Answer {
    Text(&'static str),
    /// An answer, and then bytes without end.
    Endless(&'static str),
    /// A byte at a time, without end.
    Trickle,
    Silence,
}

/// Takes one request over TLS and answers; gives back what was sent.
async fn receive(listener: TcpListener, acceptor: TlsAcceptor, answer: Answer) -> String {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(tcp).await.unwrap();
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !is_whole(&request) {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the request ended early");
        request.extend_from_slice(&piece[..read]);
    }
    match answer {
        Answer::Text(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Answer::Endless(head) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
        Answer::Trickle => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while stream.write_all(b"x").await.is_ok() {
                let _ = stream.flush().await;
                layover_depot::timer::sleep(Duration::from_millis(5)).await;
            }
        }
        // Until the sender gives up.
        Answer::Silence => while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {},
    }
    String::from_utf8(request).unwrap()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = header(head, "content-length").unwrap();
    body.len() >= length.parse().unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn target(url: &str, authorities: Option<String>) -> HookTarget {
    HookTarget {
        url: url.parse().unwrap(),
        authorities,
        plain: HookPlain::ThisMachine,
        addresses: HookAddresses::Usual,
    }
}

fn surroundings() -> Surroundings {
    Surroundings {
        sources: None,
        hardened: false,
        secrets: SecretSources::default(),
        waits: Waits::default(),
        now: Now::new(|| jiff::Timestamp::from_second(NOW_S).unwrap()),
    }
}

fn event() -> Event {
    Event {
        id: EventId(7),
        at: Timestamp::from_micros(NOW_S * 1_000_000),
        kind: EventKind::FileArrived,
        entity: None,
        subject: "file:acme:/in/\u{e4}.csv".to_owned(),
        detail: serde_json::Map::new(),
    }
}

async fn prepared(hook: &HookTarget, surroundings: &Surroundings) -> Result<Webhook, WebhookError> {
    let credential = Credential::Value(Secret::new(SECRET));
    let mut webhook = Webhook::prepare(hook, credential, surroundings).await?;
    webhook.limits = Limits {
        connect: Duration::from_secs(5),
        all: Duration::from_millis(1_500),
        body: Duration::from_millis(100),
    };
    Ok(webhook)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends the event to a receiver that answers so.
async fn sent(answer: Answer) -> (Result<u16, WebhookError>, String) {
    let identity = identity();
    let (listener, address) = listener().await;
    let receiving = tokio::spawn(receive(listener, identity.acceptor, answer));
    let url = format!("https://localhost:{}/hooks/a?b=c", address.port());
    let hook = target(&url, Some(identity.authority));
    let webhook = prepared(&hook, &surroundings()).await.unwrap();
    let outcome = webhook.send(&event()).await;
    (outcome, receiving.await.unwrap())
}

#[tokio::test]
async fn a_request_is_as_it_is_documented() {
    let (outcome, request) = sent(Answer::Text("HTTP/1.1 204 No Content\r\n\r\n")).await;
    assert_eq!(outcome.unwrap(), 204);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hooks/a?b=c HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, event().body());
    assert_eq!(
        header(head, "layover-event-id"),
        Some(event().told_id().as_str())
    );
    assert_eq!(header(head, "layover-timestamp"), Some("1800000000"));
    let signed = signature(SECRET.as_bytes(), NOW_S, body.as_bytes());
    assert_eq!(header(head, "layover-signature"), Some(signed.as_str()));
    assert_eq!(header(head, "content-type"), Some("application/json"));
    assert!(!request.contains(SECRET));
}

#[tokio::test]
async fn only_a_2xx_is_a_receipt() {
    for (answer, reach, retry_after_s) in [
        (
            "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
            Reach::Answered { status: 500 },
            None,
        ),
        (
            "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
            Reach::Answered { status: 404 },
            None,
        ),
        (
            "HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
            Reach::Answered { status: 429 },
            Some(7),
        ),
        (
            "HTTP/1.1 503 No\r\nretry-after: 999999\r\ncontent-length: 0\r\n\r\n",
            Reach::Answered { status: 503 },
            Some(3_600),
        ),
        ("SSH-2.0-x\r\n\r\n", Reach::Unanswered, None),
        ("", Reach::Unanswered, None),
    ] {
        let (outcome, _) = sent(Answer::Text(answer)).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.reach(), reach, "{answer:?}: {error}");
        let retry_after = retry_after_s.map(Duration::from_secs);
        assert_eq!(error.retry_after(), retry_after, "{answer:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_where_to_is_not_repeated() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\n\
                  content-length: 0\r\n\r\n";
    let (outcome, _) = sent(Answer::Text(answer)).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.reach(), Reach::Answered { status: 302 });
    assert!(!error.to_string().contains("169.254"), "{error}");
}

#[tokio::test]
async fn a_receiver_that_never_ends_costs_its_time_and_no_more() {
    let running = layover_depot::timer::Stopwatch::start();
    // It has answered: what comes behind is not waited for.
    let (outcome, _) = sent(Answer::Endless("HTTP/1.1 200 OK\r\n\r\n")).await;
    assert_eq!(outcome.unwrap(), 200);
    for answer in [
        Answer::Silence,
        Answer::Trickle,
        // A head without an end.
        Answer::Endless("HTTP/1.1 200 OK\r\nX: "),
    ] {
        let (outcome, _) = sent(answer).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.reach(), Reach::Unanswered, "{error}");
    }
    assert!(running.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused_before_anything_is_sent() {
    let (ours, theirs) = (identity(), identity());
    let (listener, address) = listener().await;
    let accepting = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        theirs.acceptor.accept(tcp).await.map(drop)
    });
    let url = format!("https://localhost:{}/", address.port());
    let hook = target(&url, Some(ours.authority));
    let webhook = prepared(&hook, &surroundings()).await.unwrap();
    let error = webhook.send(&event()).await.unwrap_err();
    assert!(matches!(error, WebhookError::Tls { .. }), "{error}");
    assert!(accepting.await.unwrap().is_err());
}

#[tokio::test]
async fn where_a_hook_may_not_go_it_does_not() {
    let metadata = target(
        "https://169.254.169.254/latest/",
        Some(identity().authority),
    );
    let webhook = prepared(&metadata, &surroundings()).await.unwrap();
    let error = webhook.send(&event()).await.unwrap_err();
    assert!(matches!(error, WebhookError::Address { .. }), "{error}");

    let plain = target("http://192.0.2.1/", None);
    let webhook = prepared(&plain, &surroundings()).await.unwrap();
    let error = webhook.send(&event()).await.unwrap_err();
    assert!(matches!(error, WebhookError::Plain { .. }), "{error}");

    let hardened = Surroundings {
        hardened: true,
        ..surroundings()
    };
    let here = target("http://127.0.0.1/", None);
    let error = prepared(&here, &hardened).await.unwrap_err();
    assert!(matches!(error, WebhookError::NotHardened), "{error}");
    assert!(prepared(&here, &surroundings()).await.is_ok());
}

#[tokio::test]
async fn what_is_secret_is_in_no_error_and_not_shown() {
    let hook = target(
        "https://localhost:1/T0KEN?k=S3CRET",
        Some(identity().authority),
    );
    let webhook = prepared(&hook, &surroundings()).await.unwrap();
    let error = webhook.send(&event()).await.unwrap_err();
    let shown = format!("{error} {error:?} {webhook:?}");
    for secret in ["T0KEN", "S3CRET", SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn authorities_are_certificates() {
    assert!(check_authorities(&identity().authority).is_ok());
    for other in [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(check_authorities(other).is_err(), "{other:?}");
    }
}
