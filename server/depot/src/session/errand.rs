//! The courier in an account's home: a session that nobody logged in to.

use std::sync::Arc;

use super::permit::Receiving;
use super::terms::Terms;
use super::{Caller, Download, Opening, Session, Upload};
use crate::courier::Telling;
use crate::flow::{FileDone, RunToken};
use crate::holdings::{Holdings, HomeRef};
use crate::store::LoginRow;
use crate::vfs::{ContentOrigin, Replace, VfsError};
use crate::{SessionId, StoreError, VirtualPath};

impl Session {
    /// A session of the appliance itself. Of the account it has home, quota and
    /// retention rules; permissions are about what its partner may do.
    pub(crate) async fn of_courier(
        holdings: Arc<Holdings>,
        id: SessionId,
        row: LoginRow,
    ) -> Result<Session, VfsError> {
        let opening = Opening {
            id,
            terms: Terms {
                read_only: false,
                permissions: Vec::new(),
                publish_on_rename: false,
                ..Terms::of(&row.account)
            },
            home: HomeRef {
                id: row.home,
                name: row.account.home.clone(),
            },
            account: row.account,
            caller: Caller::Courier,
        };
        Session::with(holdings, opening).await
    }

    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.inner.holdings
    }

    pub(crate) async fn receive(
        &self,
        path: &VirtualPath,
        replace: Replace,
        origin: ContentOrigin,
        telling: Arc<Telling>,
    ) -> Result<Upload, VfsError> {
        let exclusive = replace == Replace::Refuse;
        let errand = Receiving { telling, origin };
        let permit = self.plan_receiving(path, exclusive, errand).await?;
        permit.check_expected().await?;
        permit.begin().await
    }

    pub(crate) async fn check_receive(
        &self,
        path: &VirtualPath,
        replace: Replace,
        origin: ContentOrigin,
        telling: Arc<Telling>,
    ) -> Result<(), VfsError> {
        let exclusive = replace == Replace::Refuse;
        let errand = Receiving { telling, origin };
        let permit = self.plan_receiving(path, exclusive, errand).await?;
        permit.check_expected().await
    }

    pub(crate) async fn collect(
        &self,
        path: &VirtualPath,
        telling: Arc<Telling>,
    ) -> Result<Collecting, VfsError> {
        let download = self.download(path).await?;
        Ok(Collecting(download.carried_by(telling)))
    }
}

/// A download by the courier.
#[derive(Debug)]
pub(crate) struct Collecting(Download);

impl Collecting {
    pub(crate) fn file(&self) -> &Download {
        &self.0
    }

    pub(crate) async fn delivered(&self) -> Result<(), StoreError> {
        self.0.delivered(None).await.map(drop)
    }

    /// False: another node has the flow's run.
    pub(crate) async fn delivered_for(
        &self,
        held: RunToken,
        done: &FileDone,
    ) -> Result<bool, StoreError> {
        self.0.delivered(Some((held, done))).await
    }
}
