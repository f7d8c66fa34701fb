//! A data port as a client was told it, and what the doctor and the client hear of it.

use std::net::IpAddr;
use std::time::Duration;

use layover_depot::{Announced, Clue, Session, Sign};

use crate::passive::AcceptFault;
use crate::reply::Reply;

/// Waited so long for nothing, a client has given up; sooner, somebody has interrupted it.
const GAVE_UP_AFTER: Duration = Duration::from_secs(5);

/// What PASV or EPSV told a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToldPort {
    pub(super) port: u16,
    /// The range that it is of.
    pub(super) ports: (u16, u16),
    /// By PASV; none by EPSV, which tells no address.
    pub(super) announced: Option<Announced>,
    /// Who was told.
    pub(super) peer: IpAddr,
}

impl ToldPort {
    /// Tells the doctor that a connection came to it.
    pub(super) fn see_reached(&self, session: &Session) {
        session.see(Clue::new(Sign::DataArrived).at_port(self.port, self.ports));
        // The later of both: by that the doctor knows that the last one was of PASV.
        if let Some(announced) = self.announced {
            session.see(Clue::came_by_pasv(self.port, self.ports, announced));
        }
    }

    /// Tells the doctor of a port to which nothing came.
    pub(super) fn see_unreached(&self, session: &Session, fault: &AcceptFault) {
        let stranger = match *fault {
            AcceptFault::TimedOut { stranger, .. } => stranger,
            AcceptFault::Cancelled {
                stranger, waited, ..
            } if waited >= GAVE_UP_AFTER || stranger.is_some() => stranger,
            AcceptFault::Cancelled { .. } => return,
        };
        session.see(self.missed(stranger));
    }

    /// It was not reached, or by another address.
    pub(super) fn missed(&self, stranger: Option<IpAddr>) -> Clue {
        match stranger {
            Some(other) => Clue::new(Sign::DataFromElsewhere)
                .telling(&other.to_string())
                .at_port(self.port, self.ports),
            None => Clue::missed(self.port, self.ports, self.announced, self.peer),
        }
    }

    /// What the client hears of it; nothing of a transfer that was cancelled.
    pub(super) fn unreached(&self, fault: &AcceptFault) -> Option<Reply> {
        let (first, last) = self.ports;
        let (port, peer) = (self.port, self.peer);
        let text = match (fault, self.announced) {
            (AcceptFault::Cancelled { .. }, _) => return None,
            (
                AcceptFault::TimedOut {
                    stranger: Some(other),
                    ..
                },
                _,
            ) => format!(
                "port {port} was reached from {other}, and your control connection comes from \
                 {peer}: let your NAT use one address for both"
            ),
            (AcceptFault::TimedOut { stranger: None, .. }, Some(announced))
                if announced.is_another() =>
            {
                format!(
                    "no connection came to {}, port {port}: a firewall did not let it through, or \
                     the address is not ours; open outbound TCP {first}-{last}, or try EPSV",
                    announced.address
                )
            }
            (AcceptFault::TimedOut { stranger: None, .. }, _) => format!(
                "no connection came to port {port}: a firewall did not let it through; open \
                 outbound TCP {first}-{last}"
            ),
        };
        Some(Reply::new(425, text))
    }
}
