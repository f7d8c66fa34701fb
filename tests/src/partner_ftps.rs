//! A partner's FTPS server: libunftp within the tests' process, for what Layover does as a client.
//! Explicit FTPS alone, which is all that libunftp knows.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use libunftp::ServerBuilder;
use libunftp::options::Binder;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use unftp_core::auth::{AuthenticationError, Authenticator, Credentials, Principal};
use unftp_sbe_fs::Filesystem;

/// The file of its certificate, in its folder.
const CERTIFICATE: &str = "certificate.pem";

/// A running server on loopback with one user; ends with the value, and its files with it.
pub struct PartnerFtps {
    address: SocketAddr,
    user: User,
    dir: TempDir,
    // Its tasks end when it is dropped.
    _runtime: Runtime,
}

/// Who may log in.
#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish()
    }
}

impl fmt::Debug for PartnerFtps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartnerFtps")
            .field("address", &self.address)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl PartnerFtps {
    /// Starts one on a free port, with a certificate for `127.0.0.1` that it makes for itself.
    pub fn start(user: &str, password: &str) -> Self {
        let dir = TempDir::with_prefix("layover-partner-").expect("make the partner's folder");
        let files = dir.path().join("files");
        std::fs::create_dir(&files).expect("make the partner's files");
        let identity = Identity::make(dir.path());
        let user = User {
            name: user.to_owned(),
            password: password.to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("start the partner's threads");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("listen");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(serve(listener, user.clone(), files, identity));
        Self {
            address,
            user,
            dir,
            _runtime: runtime,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Name and password of its user.
    pub fn user(&self) -> (&str, &str) {
        (&self.user.name, &self.user.password)
    }

    /// What it holds.
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// Its certificate in PEM, for whoever is to trust it.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join(CERTIFICATE)
    }
}

/// libunftp tells nobody on which port it listens, so the listener is ours.
async fn serve(listener: TcpListener, user: User, files: PathBuf, identity: Identity) {
    while let Ok((stream, _)) = listener.accept().await {
        let root = files.clone();
        let files = Box::new(move || Filesystem::new(root.clone()).expect("open the files"));
        let server = ServerBuilder::with_authenticator(files, Arc::new(user.clone()))
            .ftps(&identity.certificate, &identity.key)
            .ftps_required(true, true)
            .binder(AnyPort)
            .build()
            .expect("a server of these settings");
        tokio::spawn(server.service(stream));
    }
}

#[async_trait]
impl Authenticator for User {
    async fn authenticate(
        &self,
        username: &str,
        creds: &Credentials,
    ) -> Result<Principal, AuthenticationError> {
        if username != self.name {
            return Err(AuthenticationError::BadUser);
        }
        if creds.password.as_ref() != Some(&self.password) {
            return Err(AuthenticationError::BadPassword);
        }
        Ok(Principal {
            username: username.to_owned(),
        })
    }
}

/// Data ports that are free, instead of ones drawn from a range that tests would share.
#[derive(Debug)]
struct AnyPort;

#[async_trait]
impl Binder for AnyPort {
    async fn bind(&mut self, local: IpAddr, _: RangeInclusive<u16>) -> io::Result<TcpSocket> {
        let socket = match local {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(local, 0))?;
        Ok(socket)
    }
}

/// Where the server's certificate and its key lie, in PEM.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    /// A new one, in `dir`.
    fn make(dir: &Path) -> Self {
        let identity = Self {
            certificate: dir.join(CERTIFICATE),
            key: dir.join("key.pem"),
        };
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("make a certificate");
        std::fs::write(&identity.certificate, made.cert.pem()).expect("write the certificate");
        std::fs::write(&identity.key, made.signing_key.serialize_pem()).expect("write the key");
        identity
    }
}
