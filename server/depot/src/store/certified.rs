//! What a deletion certificate says, as text: from the row and from what was read
//! beside it.

use layover_retention::{DeletionCause, DeletionCertificate, Timestamp};

use super::StoreError;
use crate::ledger::{CertificateGrounds, EndedBy, FileRow};
use crate::{NodeId, PathTexts};

/// The certificate of a file whose row ends; none when that is not our doing, because
/// nobody can say then when it went.
pub(crate) fn certificate(
    row: &FileRow,
    grounds: &CertificateGrounds,
    ended_by: EndedBy,
    node: &NodeId,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let cause = match ended_by {
        EndedBy::Expired => DeletionCause::Expired,
        EndedBy::Removed => DeletionCause::Removed,
        EndedBy::Replaced => DeletionCause::Replaced,
        EndedBy::Missing => return Ok(None),
    };
    let PathTexts { path, path_hex } = PathTexts::from(&row.path);
    let certificate = DeletionCertificate {
        file_id: row.id.0,
        entity: grounds.entity.clone(),
        account: grounds.account.clone(),
        home: grounds.home.clone(),
        path,
        path_hex,
        size_bytes: row.size_bytes,
        sha256: grounds.sha256.as_ref().map(hex::encode),
        arrived_at: row.arrived_at,
        rule: grounds.rule.clone(),
        keep_s: grounds.keep_s.and_then(|keep_s| u64::try_from(keep_s).ok()),
        expires_at: row.expires_at,
        deleted_at: now,
        cause,
        node: node.as_str().to_owned(),
    };
    let record = serde_json::to_string(&certificate).map_err(|_| StoreError::Corrupt {
        table: "files",
        id: row.id.0,
        what: "certificate",
    })?;
    Ok(Some(record))
}
