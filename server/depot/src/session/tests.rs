//! What a session promises, each promise once.

mod copies;
mod downloads;
mod engines;
mod listings;
mod local;
mod names;
mod permissions;
mod publishing;
mod quota;
mod uploads;

use bytes::Bytes;

use super::{Session, Upload, UploadMode};
use crate::holdings::fixture::path;
use crate::vfs::VfsError;

const NEW: UploadMode = UploadMode::New { exclusive: false };

async fn begin(session: &Session, name: &str, mode: UploadMode) -> Result<Upload, VfsError> {
    session.plan_upload(&path(name), mode).await?.begin().await
}

/// An upload that has received `content` from its beginning on.
async fn receiving(session: &Session, name: &str, content: &'static [u8]) -> Upload {
    let upload = begin(session, name, NEW).await.unwrap();
    upload
        .write_at(0, Bytes::from_static(content))
        .await
        .unwrap();
    upload
}
