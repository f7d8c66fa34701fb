//! FileZilla, driven as a person would: in a window on a display that nobody sees, by mouse and
//! keys. Its settings are written beforehand, so that it asks nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::ftps::{Entry, FtpsLogin, Tls};
use crate::process;
use crate::wait::{self, PATIENCE};

/// The name of the one site in its site manager.
const SITE: &str = "site";

/// Width and height of the display, which the window fills; the two lists of files are its lower
/// left and its lower right part.
const DISPLAY: (u32, u32) = (1200, 800);

/// One of the two lists of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This machine's files, on the left.
    Local,
    /// The server's files, on the right.
    Remote,
}

/// What its site manager holds.
#[derive(Debug, Clone, Copy)]
pub struct Sites<'a> {
    /// The site that is opened.
    pub name: &'a str,
    /// Its host, whose certificate is trusted.
    pub host: &'a str,
    /// The whole file.
    pub xml: &'a str,
}

/// FileZilla with a connection that shows the home's root; ended when dropped.
#[derive(Debug)]
pub struct FileZilla {
    // Before its display: fields are dropped in this order.
    program: Ended,
    display: Display,
    settings: PathBuf,
    window: String,
}

/// A process of ours, killed when dropped.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// An X server without a screen, on a number that it found free.
#[derive(Debug)]
struct Display {
    name: String,
    _server: Ended,
}

impl Display {
    fn open(scratch: &Path) -> Self {
        let told = scratch.join("display");
        let stdout = File::create(&told).expect("create the display's file");
        let (width, height) = DISPLAY;
        let server = Command::new("Xvfb")
            // By default it begins anew when its last client has gone: xdotool, that looked for
            // a window, while FileZilla was about to come.
            .arg("-noreset")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .expect("start Xvfb");
        let server = Ended(server);
        let name = wait::until("a display", PATIENCE, || {
            let text = fs::read_to_string(&told).ok()?;
            text.strip_suffix('\n').map(|number| format!(":{number}"))
        });
        Self {
            name,
            _server: server,
        }
    }
}

impl FileZilla {
    /// Starts it with `local` on the left, connects, and waits until the server's files are shown.
    ///
    /// # Panics
    /// With its message log, when it does not come so far.
    pub fn open(login: &FtpsLogin<'_>, local: &Path, tls: Tls) -> Self {
        let host = login.layover.ftps_address(login.entry).ip().to_string();
        let sites = Sites {
            name: SITE,
            host: &host,
            xml: &own_site(login),
        };
        let mut filezilla = Self::begin(login, local, tls, &sites);
        filezilla.wait_for_root(SITE);
        filezilla
    }

    /// The same with sites that somebody else wrote, of which one is opened; it asks for the
    /// password.
    ///
    /// # Panics
    /// With its message log, when it does not come so far.
    pub fn open_site(login: &FtpsLogin<'_>, local: &Path, sites: &Sites<'_>) -> Self {
        let mut filezilla = Self::begin(login, local, Tls::V13, sites);
        let question = filezilla.find_window("Enter password");
        // No window manager gives a new window the keyboard.
        filezilla.xdotool(&["windowfocus", "--sync", &question]);
        filezilla.xdotool(&["type", "--clearmodifiers", login.password()]);
        filezilla.keys(&["Return"]);
        filezilla.wait_for_root(sites.name);
        filezilla
    }

    fn begin(login: &FtpsLogin<'_>, local: &Path, tls: Tls, sites: &Sites<'_>) -> Self {
        let settings = tempfile::tempdir_in(&login.account.client_dir)
            .expect("make a folder for FileZilla's settings")
            .keep();
        write_settings(&settings, login, sites);
        let display = Display::open(&settings);
        let mut command = Command::new("filezilla");
        command
            .env("DISPLAY", &display.name)
            .env("HOME", &settings)
            .env("XDG_CONFIG_HOME", &settings)
            .env("LC_ALL", "C.UTF-8")
            // Neither desktop services nor accessibility: both would start processes that stay.
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/dev/null")
            .env("NO_AT_BRIDGE", "1")
            .args(["-c", &format!("0/{}", sites.name), "-a"])
            .arg(local)
            .stdin(Stdio::null());
        // It has no setting of its own for that; its library has.
        if tls == Tls::V12 {
            let priorities = settings.join("gnutls");
            fs::write(&priorities, "[overrides]\ndisabled-version = tls1.3\n")
                .expect("write GnuTLS's priorities");
            command.env("GNUTLS_SYSTEM_PRIORITY_FILE", priorities);
        }
        let output = File::create(settings.join("output")).expect("create FileZilla's output");
        command
            .stdout(output.try_clone().expect("share the output"))
            .stderr(output);
        let program = Ended(command.spawn().expect("start filezilla"));
        Self {
            program,
            display,
            settings,
            window: String::new(),
        }
    }

    fn wait_for_root(&mut self, site: &str) {
        self.expect_in_log("Directory listing of \"/\" successful", 1);
        // Its title has the site's name only when it is connected.
        self.window = self.find_window(site);
    }

    /// Gives one list the keyboard.
    pub fn click(&self, side: Side) {
        let (width, height) = DISPLAY;
        let across = match side {
            Side::Local => width / 4,
            Side::Remote => width / 4 * 3,
        };
        // Below the few files that tests have, where a click selects nothing.
        let (x, y) = (across.to_string(), (height / 4 * 3).to_string());
        let to = ["mousemove", "--window", &self.window, &x, &y];
        self.xdotool(&[&to[..], &["click", "1"]].concat());
    }

    /// Types these keys, as xdotool names them.
    pub fn keys(&self, keys: &[&str]) {
        self.xdotool(&[&["key", "--clearmodifiers"], keys].concat());
    }

    /// Says yes to the question that it asks now.
    ///
    /// # Panics
    /// When it asks nothing.
    #[track_caller]
    pub fn confirm(&mut self) {
        let question = self.find_window("Confirmation needed");
        // No window manager gives a new window the keyboard.
        self.xdotool(&["windowfocus", "--sync", &question, "key", "Return"]);
    }

    /// Selects all files of one side, and sends them to the other.
    pub fn transfer_all(&self, side: Side) {
        // Return acts upon the file that has the frame, and thereby on the selection.
        self.click(side);
        self.keys(&["End", "ctrl+a", "Return"]);
    }

    /// Waits until the message log holds `text` so often.
    ///
    /// # Panics
    /// With the log, when it does not.
    #[track_caller]
    pub fn expect_in_log(&mut self, text: &str, times: usize) {
        self.wait_for(text, |filezilla| {
            (filezilla.log().matches(text).count() >= times).then_some(())
        });
    }

    /// Its message log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.settings.join("log")).unwrap_or_default()
    }

    /// What it remembers of the server: whether it resumes TLS sessions on data connections.
    /// `None` as long as it has not found out.
    pub fn saw_resumption(&self) -> Option<bool> {
        let text = fs::read_to_string(self.settings.join("filezilla/trustedcerts.xml")).ok()?;
        let (_, entries) = text.split_once("<FtpSessionResumption>")?;
        let (_, entry) = entries.split_once("\">")?;
        entry.split_once("</Entry>")?.0.parse().ok()
    }

    #[track_caller]
    fn find_window(&mut self, title: &str) -> String {
        self.wait_for(title, |filezilla| {
            let found = filezilla.xdotool(&["search", "--onlyvisible", "--name", title]);
            found.lines().next().map(str::to_owned)
        })
    }

    #[track_caller]
    fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let found = wait::within(PATIENCE, || {
            if let Ok(Some(status)) = self.program.0.try_wait() {
                panic!("FileZilla ended with {status}\n{}", self.said());
            }
            look(self)
        });
        found.unwrap_or_else(|| panic!("waited in vain for {what}\n{}", self.said()))
    }

    fn said(&self) -> String {
        let output = fs::read_to_string(self.settings.join("output")).unwrap_or_default();
        format!("--- messages\n{}\n--- output\n{output}", self.log())
    }

    fn xdotool(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("xdotool");
        command.env("DISPLAY", &self.display.name).args(arguments);
        process::run(&mut command, b"", PATIENCE).stdout
    }
}

/// What a person would have clicked before: the site, its certificate, and no questions.
fn write_settings(settings: &Path, login: &FtpsLogin<'_>, sites: &Sites<'_>) {
    let (host, port) = (sites.host, login.layover.ftps_address(login.entry).port());
    let place = settings.join("filezilla");
    fs::create_dir(&place).expect("make FileZilla's folder");
    let write = |name: &str, body: &str| {
        let text = format!("<?xml version=\"1.0\"?><FileZilla3>{body}</FileZilla3>");
        fs::write(place.join(name), text).expect("write FileZilla's settings");
    };

    let log = settings.join("log").display().to_string();
    let values = [
        // Newer than any, so that there is no welcome.
        ("Greeting version", "99.0.0"),
        ("Update Check", "0"),
        ("Promp password save", "0"),
        // Never overwritten: a name that exists is a fault of the test.
        ("File exists action download", "5"),
        ("File exists action upload", "5"),
        ("Logging file", log.as_str()),
        // All but the two lists of files.
        ("Show message log", "0"),
        ("Show queue", "0"),
        ("Show quickconnect bar", "0"),
        ("Toolbar hidden", "1"),
    ];
    let values = values.map(|(name, value)| format!("<Setting name=\"{name}\">{value}</Setting>"));
    write(
        "filezilla.xml",
        &format!("<Settings>{}</Settings>", values.concat()),
    );

    fs::write(place.join("sitemanager.xml"), sites.xml).expect("write FileZilla's sites");

    let pem = login.layover.data_dir().join("keys/ftps.pem");
    let certificate = CertificateDer::from_pem_file(pem).expect("read the server's certificate");
    write(
        "trustedcerts.xml",
        &format!(
            "<TrustedCerts><Certificate><Data>{}</Data><ActivationTime>1</ActivationTime>\
             <ExpirationTime>4102444800</ExpirationTime><Host>{host}</Host><Port>{port}</Port>\
             <TrustSANs>0</TrustSANs></Certificate></TrustedCerts>",
            hex::encode(&certificate),
        ),
    );
}

/// A site that asks nothing.
fn own_site(login: &FtpsLogin<'_>) -> String {
    let server = login.layover.ftps_address(login.entry);
    let protocol = match login.entry {
        Entry::Implicit => 3,
        Entry::Explicit => 4,
    };
    format!(
        "<?xml version=\"1.0\"?><FileZilla3><Servers><Server><Host>{}</Host><Port>{}</Port>\
         <Protocol>{protocol}</Protocol><User>{}</User><Pass>{}</Pass>\
         <Logontype>1</Logontype><Name>{SITE}</Name></Server></Servers></FileZilla3>",
        server.ip(),
        server.port(),
        login.account.name,
        login.password(),
    )
}
