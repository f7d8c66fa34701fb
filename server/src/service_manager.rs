//! What systemd is told where it wants to know (`Type=notify`, sd_notify(3)): that
//! clients can connect, and that the server stops.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket of the service manager that started us.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// What a service manager may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Clients can connect.
    Ready,
    /// Running transfers may finish, nothing begins.
    Stopping,
}

impl ServiceState {
    fn message(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Stopping => b"STOPPING=1",
        }
    }
}

/// Tells the service manager that started this process, if one did. That it cannot be
/// told is a line in the log: it decides itself what to do then.
pub fn tell_service_manager(state: ServiceState) {
    let Some(socket) = std::env::var_os(VARIABLE).filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(error) = tell(&socket, state) {
        tracing::warn!(
            socket = %socket.to_string_lossy(),
            %error,
            "the service manager cannot be told: {state:?}"
        );
    }
}

fn tell(socket: &OsStr, state: ServiceState) -> io::Result<()> {
    // A leading @ stands for the zero byte of a name that is in no file system.
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.message(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    #[test]
    fn a_socket_in_the_file_system_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(path.as_os_str(), ServiceState::Ready).unwrap();
        assert_eq!(received(&socket), "READY=1");
        tell(path.as_os_str(), ServiceState::Stopping).unwrap();
        assert_eq!(received(&socket), "STOPPING=1");
    }

    #[test]
    fn a_socket_with_an_abstract_name_is_told() {
        let name = format!("layover-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        tell(OsStr::new(&format!("@{name}")), ServiceState::Ready).unwrap();
        assert_eq!(received(&socket), "READY=1");
    }

    #[test]
    fn nobody_at_the_socket_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nobody");
        assert!(tell(path.as_os_str(), ServiceState::Ready).is_err());
    }
}
