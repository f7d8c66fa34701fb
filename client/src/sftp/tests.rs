//! The engine against real and scripted servers.

mod cuts;
mod exchanges;
mod logins;
mod openssh;
mod openssh_server;
mod scripted;
mod scripted_server;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Algorithms, Credential, HostTrust, KeyKind, KeyPair, KeyPairs, SftpOptions, SftpRemote,
    Timeouts,
};
use crate::path::RemotePath;
use crate::remote::{Listed, Progress, Remote};

/// Time-outs that a test does not reach unless it is about them.
fn patient() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(30),
        login: Duration::from_secs(60),
        request: Duration::from_secs(60),
        stall: Duration::from_secs(60),
    }
}

fn path(text: impl AsRef<[u8]>) -> RemotePath {
    RemotePath::new(text.as_ref()).unwrap()
}

fn password(text: &str) -> Credential {
    Credential::Password(Zeroizing::new(text.to_owned()))
}

fn new_key() -> KeyPair {
    KeyPair::generate(KeyKind::Ed25519, "layover test").unwrap()
}

fn key(current: &KeyPair) -> Credential {
    Credential::Key(KeyPairs {
        current: current.clone(),
        previous: None,
    })
}

fn options(port: u16, username: &str, credential: Credential, trust: HostTrust) -> SftpOptions {
    SftpOptions {
        host: "127.0.0.1".to_owned(),
        port,
        username: username.to_owned(),
        credential,
        trust,
        algorithms: Algorithms::Modern,
        source_address: None,
        timeouts: patient(),
    }
}

/// Content whose every place is different.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(bytes)
        .collect()
}

#[derive(Default)]
struct Counted(AtomicU64);

impl Progress for Counted {
    fn moved(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Counted {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn listing(remote: &mut dyn Remote, folder: &[u8]) -> Vec<Listed> {
    let all = Mutex::new(Vec::new());
    remote
        .list(&path(folder), &mut |listed| {
            all.lock().unwrap().push(listed);
            std::ops::ControlFlow::Continue(())
        })
        .await
        .unwrap();
    all.into_inner().unwrap()
}
