//! PORT and EPRT: the client asks the server to connect to it.

use std::net::SocketAddr;

use layover_depot::{Clue, Sign};

use super::{ControlConnection, DataPlace, Fault, only_epsv, refuse};
use crate::passive::ActiveFault;
use crate::reply::Reply;
use crate::server::ActiveMode;

impl ControlConnection {
    pub(super) fn active(&mut self, target: SocketAddr) -> Result<Reply, Fault> {
        self.data = DataPlace::None;
        if self.epsv_all {
            return Err(only_epsv());
        }
        if self.shared.options.active_mode == ActiveMode::Refused {
            self.active_refused = Some(Clue::new(Sign::ActiveRefused));
            return Err(refuse(
                502,
                "active mode is off here: use passive mode (PASV, EPSV)",
            ));
        }
        // F19: never a third party's address.
        ActiveFault::check(self.arrival.peer.ip(), target).map_err(|fault| {
            let told = fault.to_string();
            self.active_refused = Some(Clue::new(Sign::ActiveFailed).telling(&told));
            refuse(501, told)
        })?;
        self.active_refused = None;
        self.data = DataPlace::Active(target);
        Ok(Reply::new(200, "the server will connect to you"))
    }

    /// Tells the doctor of a client that was refused active mode and did nothing else: most
    /// try passive mode next, and with those all is well.
    pub(super) fn leave_active_mode(&mut self) {
        if let (Some(refused), Some(session)) = (self.active_refused.take(), &self.session) {
            session.see(refused);
        }
    }
}
