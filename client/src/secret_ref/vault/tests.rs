use std::net::SocketAddr;

use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::secret_ref::{SecretError, SecretSources};

/// A server on loopback that gives one answer and returns the request it got.
struct Server {
    address: SocketAddr,
    authority_pem: String,
    asked: JoinHandle<String>,
}

/// How the server behaves.
#[derive(Clone)]
enum Manner {
    Answers(String),
    SaysNothing,
}

async fn server(manner: Manner) -> Server {
    let issued =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("an address");
    let asked = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("accept");
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else {
            return String::new();
        };
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("a request");
            asked.extend(byte);
        }
        match manner {
            Manner::Answers(answer) => {
                // The client may have had enough before the end.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            Manner::SaysNothing => {
                // Until the client goes away.
                let _ = stream.read(&mut [0]).await;
            }
        }
        String::from_utf8(asked).expect("text")
    });
    Server {
        address,
        authority_pem: issued.cert.pem(),
        asked,
    }
}

fn answer(status: &str, body: &str) -> Manner {
    Manner::Answers(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn options(server: &Server) -> VaultOptions {
    VaultOptions {
        address: format!("https://localhost:{}", server.address.port()),
        token: "env:TOKEN".parse().expect("a reference"),
        authorities_pem: server.authority_pem.clone().into_bytes(),
        namespace: None,
        timeout: Duration::from_secs(30),
    }
}

async fn resolve(reference: &str, vault: VaultOptions) -> Result<Secret, VaultError> {
    let reference: SecretRef = reference.parse().expect("a reference");
    let sources = SecretSources {
        vault: Some(vault),
        ..SecretSources::default()
    };
    let variables = |name: &str| (name == "TOKEN").then(|| "s.token".into());
    match reference.resolve_in(&sources, variables).await {
        Ok(secret) => Ok(secret),
        Err(SecretError::Vault { source, .. }) => Err(source),
        Err(other) => panic!("{other}"),
    }
}

const ENTRY: &str = r#"{"data":{"data":{"password":"hunter2 \"é\"","port":22},"metadata":{}}}"#;

#[tokio::test]
async fn a_field_is_read_with_the_token() {
    let server = server(answer("200 OK", ENTRY)).await;
    let vault = VaultOptions {
        namespace: Some("team".to_owned()),
        ..options(&server)
    };
    let secret = resolve("vault:secret/partners/north sea#password", vault)
        .await
        .expect("a secret");
    assert_eq!(secret.expose(), "hunter2 \"é\"".as_bytes());
    let asked = server.asked.await.expect("a request");
    let mut lines = asked.lines();
    assert_eq!(
        lines.next(),
        Some("GET /v1/secret/data/partners/north%20sea HTTP/1.1")
    );
    let headers: Vec<&str> = lines.collect();
    let host = format!("host: localhost:{}", server.address.port());
    for header in [&*host, "x-vault-token: s.token", "x-vault-namespace: team"] {
        assert!(headers.contains(&header), "{header} in {headers:?}");
    }
}

#[tokio::test]
async fn an_answer_in_chunks_is_read_whole() {
    let (first, second) = ENTRY.split_at(20);
    let server = server(Manner::Answers(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    )))
    .await;
    let secret = resolve("vault:kv/x#password", options(&server))
        .await
        .expect("a secret");
    assert_eq!(secret.expose(), "hunter2 \"é\"".as_bytes());
}

#[tokio::test]
async fn every_refusal_is_named_and_only_passing_ones_are_transient() {
    let denied = r#"{"errors":["permission denied"]}"#;
    for (status, body, field, said, permanence) in [
        (
            "403 Forbidden",
            denied,
            "password",
            "permission denied: the token is not valid or its policy does not allow to read this entry",
            Permanence::Permanent,
        ),
        (
            "503 Service Unavailable",
            r#"{"errors":["Vault is sealed"]}"#,
            "password",
            "Vault is sealed or in maintenance",
            Permanence::Transient,
        ),
        (
            "404 Not Found",
            r#"{"errors":[]}"#,
            "password",
            "there is no such entry, or its newest version is deleted",
            Permanence::Permanent,
        ),
        (
            "500 Internal Server Error",
            "",
            "password",
            "Vault answered with status 500",
            Permanence::Transient,
        ),
        (
            "400 Bad Request",
            "",
            "password",
            "Vault answered with status 400",
            Permanence::Permanent,
        ),
        (
            "200 OK",
            ENTRY,
            "user",
            "the entry has no field of that name",
            Permanence::Permanent,
        ),
        (
            "200 OK",
            ENTRY,
            "port",
            "the field is not a text",
            Permanence::Permanent,
        ),
        (
            "200 OK",
            r#"{"data":{"password":"of version 1"}}"#,
            "password",
            "the answer is not one of a key-value store of version 2",
            Permanence::Permanent,
        ),
        (
            "307 Temporary Redirect\r\nLocation: https://active:8200/v1/x",
            "",
            "password",
            "Vault sends us to `https://active:8200/v1/x`: set that as its address",
            Permanence::Permanent,
        ),
    ] {
        let server = server(answer(status, body)).await;
        let error = resolve(&format!("vault:secret/x#{field}"), options(&server))
            .await
            .expect_err(said);
        assert_eq!(error.to_string(), said);
        assert_eq!(error.permanence(), permanence, "{said}");
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let padded = |length: usize| {
        let padding = length - ENTRY.len();
        format!("{ENTRY}{}", " ".repeat(padding))
    };
    for (length, allowed) in [
        (MAX_VAULT_ANSWER_BYTES, true),
        (MAX_VAULT_ANSWER_BYTES + 1, false),
    ] {
        let server = server(answer("200 OK", &padded(length))).await;
        match resolve("vault:secret/x#password", options(&server)).await {
            Ok(_) => assert!(allowed),
            Err(error) => {
                assert!(!allowed, "{error}");
                assert!(matches!(error, VaultError::TooLong));
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_silent_stops_at_the_time_out() {
    let server = server(Manner::SaysNothing).await;
    let vault = VaultOptions {
        timeout: Duration::from_millis(200),
        ..options(&server)
    };
    let error = resolve("vault:secret/x#password", vault)
        .await
        .expect_err("silent");
    assert!(matches!(error, VaultError::TimedOut { .. }), "{error}");
    assert_eq!(error.permanence(), Permanence::Transient);
}

#[tokio::test]
async fn an_unknown_authority_or_another_name_gets_no_token() {
    let other = server(Manner::SaysNothing).await;
    let first = server(Manner::SaysNothing).await;
    let strange = VaultOptions {
        authorities_pem: other.authority_pem.clone().into_bytes(),
        ..options(&first)
    };
    let error = resolve("vault:secret/x#f", strange)
        .await
        .expect_err("strange");
    assert!(matches!(error, VaultError::Tls(_)), "{error}");
    assert_eq!(first.asked.await.expect("nothing asked"), "");

    let renamed = VaultOptions {
        address: format!("https://127.0.0.1:{}", other.address.port()),
        ..options(&other)
    };
    let error = resolve("vault:secret/x#f", renamed)
        .await
        .expect_err("renamed");
    assert!(matches!(error, VaultError::Tls(_)), "{error}");
    assert_eq!(other.asked.await.expect("nothing asked"), "");
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let server = server(Manner::SaysNothing).await;
    for address in [
        "http://localhost:8200",
        "localhost:8200",
        "https://",
        "https://user:pw@localhost",
        "https://localhost/v1",
        "https://localhost/?x",
        "",
    ] {
        let vault = VaultOptions {
            address: address.to_owned(),
            ..options(&server)
        };
        let error = resolve("vault:secret/x#f", vault).await.expect_err(address);
        assert!(matches!(error, VaultError::Address), "{address}: {error}");
    }
    for authorities in ["", "no certificate"] {
        let vault = VaultOptions {
            authorities_pem: authorities.into(),
            ..options(&server)
        };
        let error = resolve("vault:secret/x#f", vault)
            .await
            .expect_err("no authority");
        assert!(matches!(error, VaultError::NoAuthority), "{error}");
    }
    for token in ["env:MISSING", "vault:secret/token#token"] {
        let vault = VaultOptions {
            token: token.parse().expect("a reference"),
            ..options(&server)
        };
        let error = resolve("vault:secret/x#f", vault).await.expect_err(token);
        assert!(matches!(error, VaultError::Token { .. }), "{error}");
    }
}

#[test]
fn the_path_is_the_one_of_vaults_interface() {
    for (path, expected) in [
        ("secret/north", "/v1/secret/data/north"),
        ("secret/partners/north", "/v1/secret/data/partners/north"),
        ("secret/data/north", "/v1/secret/data/north"),
        ("team/kv/data/north", "/v1/team/kv/data/north"),
        ("secret/a b/ü?x", "/v1/secret/data/a%20b/%C3%BC%3Fx"),
        ("data/north", "/v1/data/data/north"),
    ] {
        assert_eq!(api_path(path), expected);
    }
}
