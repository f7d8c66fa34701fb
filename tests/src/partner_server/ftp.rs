//! vsftpd, ProFTPD and pure-ftpd, each with one user and one certificate.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use super::{
    Newest, PartnerServer, Plan, Proof, Running, Security, Software, folder, spawn, ssh, text,
};
use crate::keys;

/// Debian has had this user for ever.
const USER_ID: u32 = 1;
const USER: &str = "daemon";
pub(super) const PASSWORD: &str = "password-of-a-partner";

pub(super) fn start(plan: Plan) -> Result<PartnerServer, String> {
    let dir = folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open the folder");
    let host = own_address();
    let pki = Pki::make(dir.path(), host);
    let root = dir.path().join("root");
    let files = root.join("files");
    fs::create_dir_all(&files).expect("make the partner's files");
    chown(&files, Some(USER_ID), Some(USER_ID)).map_err(|_| "root is needed".to_owned())?;
    let free = TcpListener::bind((host, 0)).expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let site = Site {
        plan,
        dir: dir.path(),
        root: &root,
        address,
        pki: &pki,
    };
    let mut host_key = None;
    let mut authorized_keys = None;
    let mut command = match plan.software {
        Software::Vsftpd => site.vsftpd()?,
        Software::PureFtpd => site.pure_ftpd()?,
        Software::ProFtpdSftp => {
            let pair = keys::KeyPair::generate(dir.path(), "host", keys::KeyKind::Ed25519);
            host_key = Some(ssh::known(address, &pair.line()));
            let file = dir.path().join("authorized_keys");
            fs::write(&file, "").expect("write authorized_keys");
            authorized_keys = Some(file);
            site.proftpd(&site.mod_sftp(&pair))?
        }
        _ => site.proftpd(&site.mod_tls())?,
    };
    // The newest TLS of OpenSSL, which all three of them use.
    let openssl = dir.path().join("openssl.cnf");
    let newest = match plan.newest {
        Newest::V12 => "TLSv1.2",
        Newest::V13 => "TLSv1.3",
    };
    let text_of_it = format!(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = every\n\
         [every]\nMaxProtocol = {newest}\n"
    );
    fs::write(&openssl, text_of_it).expect("write openssl.cnf");
    command.env("OPENSSL_CONF", &openssl);
    let reaper = spawn(command, address, &dir.path().join("log"))?;
    let is_sftp = plan.software == Software::ProFtpdSftp;
    Ok(PartnerServer {
        address,
        username: match plan.software {
            Software::Vsftpd => "anonymous".to_owned(),
            _ => "partner".to_owned(),
        },
        password: PASSWORD.to_owned(),
        files,
        path: "/files".to_owned(),
        authority: (!is_sftp).then(|| pki.authority.clone()),
        pin: None,
        identity: (plan.proof == Proof::Certificate).then(|| pki.ours.clone()),
        host_key,
        plan,
        authorized_keys,
        running: Running::Process(reaper),
        dir,
    })
}

/// An address of loopback that no other test uses: none takes the port between the moment when it
/// is found free and the server's start.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [.., process] = std::process::id().to_be_bytes();
    let [.., number] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 78, process, number)
}

/// An authority, the server's certificate and ours.
struct Pki {
    authority: PathBuf,
    /// Key and certificate in one file.
    server: PathBuf,
    ours: (PathBuf, PathBuf),
}

impl Pki {
    fn make(dir: &Path, host: Ipv4Addr) -> Self {
        let key = KeyPair::generate().expect("make a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = "the partner's authority";
        params.distinguished_name.push(DnType::CommonName, name);
        let made = params.self_signed(&key).expect("make an authority");
        let issuer = Issuer::new(params, key);
        let authority = dir.join("ca.pem");
        fs::write(&authority, made.pem()).expect("write the authority");
        let sign = |name: &str, usage| {
            let key = KeyPair::generate().expect("make a key");
            let names = vec![name.to_owned()];
            let mut params = CertificateParams::new(names).expect("a name");
            params.extended_key_usages = vec![usage];
            let made = params.signed_by(&key, &issuer).expect("make a certificate");
            (made.pem(), key.serialize_pem())
        };
        let (pem, key) = sign(&host.to_string(), ExtendedKeyUsagePurpose::ServerAuth);
        let server = dir.join("server.pem");
        fs::write(&server, key + &pem).expect("write the identity");
        fs::set_permissions(&server, fs::Permissions::from_mode(0o600)).expect("close it");
        let (pem, key) = sign("layover.example", ExtendedKeyUsagePurpose::ClientAuth);
        let ours = (dir.join("ours.pem"), dir.join("ours.key"));
        fs::write(&ours.0, pem).expect("write our certificate");
        fs::write(&ours.1, key).expect("write our key");
        fs::set_permissions(&ours.1, fs::Permissions::from_mode(0o600)).expect("close it");
        Self {
            authority,
            server,
            ours,
        }
    }
}

fn installed(path: &str) -> Result<PathBuf, String> {
    let unpacked = std::env::var_os("LAYOVER_TEST_FTP_SERVERS").map(PathBuf::from);
    let cached = || {
        let home = PathBuf::from(std::env::var_os("HOME")?);
        Some(home.join(".cache/layover-tests/ftp-servers"))
    };
    let roots = unpacked.or_else(cached).into_iter();
    roots
        .chain([PathBuf::from("/")])
        .map(|root| root.join(path))
        .find(|program| program.exists())
        .ok_or_else(|| format!("{path} is not installed; tests/run unpacks it"))
}

fn yes(is: bool) -> &'static str {
    if is { "YES" } else { "NO" }
}

/// One server and its surroundings.
struct Site<'a> {
    plan: Plan,
    dir: &'a Path,
    root: &'a Path,
    address: SocketAddr,
    pki: &'a Pki,
}

impl Site<'_> {
    fn wants_identity(&self) -> bool {
        self.plan.proof == Proof::Certificate
    }

    fn is_implicit(&self) -> bool {
        self.plan.security == Security::Implicit
    }

    fn vsftpd(&self) -> Result<Command, String> {
        let program = installed("usr/sbin/vsftpd")?;
        let text = format!(
            "listen=YES\nbackground=NO\nlisten_address={}\nlisten_port={}\n\
             anonymous_enable=YES\nanon_root={root}\nanon_umask=022\nftp_username={USER}\n\
             nopriv_user=nobody\nsecure_chroot_dir={root}\nwrite_enable=YES\n\
             anon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n\
             anon_world_readable_only=NO\nport_enable=YES\nconnect_from_port_20=NO\n\
             seccomp_sandbox=NO\nssl_enable=YES\nallow_anon_ssl=YES\n\
             force_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\nrsa_cert_file={}\n\
             ssl_ciphers=HIGH\nrequire_ssl_reuse=YES\nstrict_ssl_read_eof=YES\n\
             strict_ssl_write_shutdown=YES\nimplicit_ssl={}\nrequire_cert={wants}\n\
             validate_cert={wants}\nca_certs_file={}\n",
            self.address.ip(),
            self.address.port(),
            self.pki.server.display(),
            yes(self.is_implicit()),
            self.pki.authority.display(),
            wants = yes(self.wants_identity()),
            root = self.root.display(),
        );
        let config = self.dir.join("vsftpd.conf");
        fs::write(&config, text).expect("write vsftpd.conf");
        let mut command = Command::new(program);
        command.arg(config);
        Ok(command)
    }

    fn mod_tls(&self) -> String {
        format!(
            "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\n\
             TLSLog {dir}/tls.log\nTLSECCertificateFile {identity}\n\
             TLSECCertificateKeyFile {identity}\nTLSCACertificateFile {}\n\
             TLSVerifyClient {}\n{}",
            self.pki.authority.display(),
            if self.wants_identity() { "on" } else { "off" },
            if self.is_implicit() {
                "TLSOptions UseImplicitSSL\n"
            } else {
                ""
            },
            dir = self.dir.display(),
            identity = self.pki.server.display(),
        )
    }

    fn mod_sftp(&self, host_key: &keys::KeyPair) -> String {
        format!(
            "LoadModule mod_sftp.c\nSFTPEngine on\nSFTPHostKey {}\nSFTPLog {}/sftp.log\n\
             SFTPAuthMethods password\n",
            host_key.private().display(),
            self.dir.display(),
        )
    }

    fn proftpd(&self, modules: &str) -> Result<Command, String> {
        let program = installed("usr/sbin/proftpd")?;
        let place = installed("usr/lib/proftpd")?;
        let mut hashing = Command::new("openssl");
        let made = hashing.args(["passwd", "-6", PASSWORD]).output();
        let hash = String::from_utf8(made.expect("openssl").stdout).expect("a hash");
        let users = self.dir.join("users");
        let line = format!(
            "partner:{}:{USER_ID}:{USER_ID}::{}:/bin/sh\n",
            hash.trim(),
            self.root.display()
        );
        fs::write(&users, line).expect("write the users");
        fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).expect("close them");
        let text = format!(
            "ServerName partner\nServerType standalone\nDefaultAddress {}\nPort {}\n\
             SocketBindTight on\nUseIPv6 off\nModulePath {}\nLoadModule mod_digest.c\n\
             User {USER}\nGroup {USER}\nPidFile {dir}/pid\nScoreboardFile {dir}/scoreboard\n\
             SystemLog none\nWtmpLog off\nTransferLog none\nUseReverseDNS off\n\
             DelayEngine off\nRequireValidShell off\nAuthOrder mod_auth_file.c\n\
             AuthUserFile {}\nDefaultRoot {}\nAllowOverwrite on\nAllowStoreRestart on\n\
             AllowRetrieveRestart on\n{modules}",
            self.address.ip(),
            self.address.port(),
            place.display(),
            users.display(),
            self.root.display(),
            dir = self.dir.display(),
        );
        let config = self.dir.join("proftpd.conf");
        fs::write(&config, text).expect("write proftpd.conf");
        let mut command = Command::new(program);
        command.args(["-n", "-q", "-c"]).arg(config);
        Ok(command)
    }

    fn pure_ftpd(&self) -> Result<Command, String> {
        let program = installed("usr/sbin/pure-ftpd")?;
        let (users, database) = (self.dir.join("users"), self.dir.join("users.pdb"));
        let id = USER_ID.to_string();
        let mut adding = Command::new(installed("usr/bin/pure-pw")?)
            .args(["useradd", "partner", "-u", &id, "-g", &id, "-m"])
            .args(["-D", &text(self.root), "-f", &text(&users)])
            .args(["-F", &text(&database)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start pure-pw");
        let twice = format!("{PASSWORD}\n{PASSWORD}\n");
        let mut stdin = adding.stdin.take().expect("stdin is piped");
        stdin.write_all(twice.as_bytes()).expect("say the password");
        drop(stdin);
        assert!(adding.wait().expect("wait for pure-pw").success());
        let mut command = Command::new(program);
        command
            .arg("-S")
            .arg(format!("{},{}", self.address.ip(), self.address.port()))
            .args(["-l", &format!("puredb:{}", database.display())])
            .args(["-u", "1", "-E", "-A", "-H", "-g"])
            .arg(self.dir.join("pid"))
            .args(["-Y", "3", "-2"])
            .arg(&self.pki.server);
        Ok(command)
    }
}
