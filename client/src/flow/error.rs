//! Why a run ends before its files.

use layover_depot::{
    CourierError, LocationDirection, RegistryError, RunLost, StoreError, VfsError,
};

use crate::fault::{Permanence, RemoteError};
use crate::partner::PartnerError;
use crate::path::RemotePathError;

/// Why a run ends before its files.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunFault {
    #[error(
        "its folder here, `{local}`, is in no account's home: layover flow set {flow} --home ACCOUNT:/folder"
    )]
    NoHome { flow: String, local: String },
    #[error("integration `{partner}` has no location `{location}`")]
    NoLocation { partner: String, location: String },
    #[error(
        "its location `{location}` is for {} alone: layover location set {partner} {location} --direction both",
        if *.is_for == LocationDirection::Upload { "uploads" } else { "downloads" }
    )]
    WrongDirection {
        partner: String,
        location: String,
        is_for: LocationDirection,
    },
    #[error(
        "its home is of entity `{entity}` and its integration of `{other}`; if that is meant: \
         layover flow set {flow} --other-entity yes"
    )]
    OtherEntity {
        flow: String,
        entity: String,
        other: String,
    },
    #[error(
        "its folder for files that were moved or given up, `{folder}`, is the one they come from: \
         layover flow set {flow} --help"
    )]
    AsideIsSource { flow: String, folder: String },
    #[error("the folder there cannot be a path: {0}")]
    Path(#[from] RemotePathError),
    #[error("a partner's suffix for unfinished files cannot be used")]
    Suffix,
    #[error("{0}")]
    Partner(#[from] PartnerError),
    #[error("{0}")]
    Remote(#[from] RemoteError),
    #[error("{0}")]
    Registry(#[from] RegistryError),
    #[error("{0}")]
    Courier(#[from] CourierError),
    #[error("the folder here: {0}")]
    Home(#[from] VfsError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Lost(#[from] RunLost),
}

impl RunFault {
    /// Whether the next try may go better by itself.
    pub(super) fn permanence(&self) -> Permanence {
        match self {
            Self::Partner(error) => error.permanence(),
            Self::Remote(error) => error.permanence(),
            Self::Home(
                VfsError::Busy { .. }
                | VfsError::Storage { .. }
                | VfsError::HomesAway
                | VfsError::Database { .. },
            )
            | Self::Registry(RegistryError::Store(_))
            | Self::Courier(CourierError::Files(_))
            | Self::Store(_)
            | Self::Lost(_) => Permanence::Transient,
            Self::NoHome { .. }
            | Self::NoLocation { .. }
            | Self::WrongDirection { .. }
            | Self::OtherEntity { .. }
            | Self::AsideIsSource { .. }
            | Self::Path(_)
            | Self::Suffix
            | Self::Registry(_)
            | Self::Courier(_)
            | Self::Home(_) => Permanence::Permanent,
        }
    }
}
