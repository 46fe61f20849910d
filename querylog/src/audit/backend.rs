//! Where an audit log has its records: a store, and an object store for long values.

use std::sync::Arc;

use crate::model::audit_record::AuditRecord;
use crate::model::coverage::Coverage;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::model::writer_status::WriterStatus;
use crate::store::{Payloads, Row, Store, StoreError};

#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) payloads: Option<Payloads>,
}

impl Backend {
    /// Returns what is missing from a window, before its records are read.
    pub(crate) async fn coverage(&self, window: Window) -> Result<Coverage, StoreError> {
        // A writer that is lost meanwhile is behind, or has a gap.
        let writers = self.writers().await?;
        self.coverage_with(writers, window).await
    }

    /// Returns what is missing from a window whose records were read after the writers.
    pub(crate) async fn coverage_with(
        &self,
        (at, writers): (Timestamp, Vec<WriterStatus>),
        window: Window,
    ) -> Result<Coverage, StoreError> {
        let gaps = self.store.gaps(window, Coverage::MOST + 1).await?;
        Ok(Coverage::of(gaps, writers, window, at))
    }

    /// Returns the writers, and when they were read.
    pub(crate) async fn writers(&self) -> Result<(Timestamp, Vec<WriterStatus>), StoreError> {
        let now = Timestamp::now();
        Ok((now, self.store.writers().await?))
    }

    /// Returns the records of rows, with their long values.
    pub(crate) async fn whole(&self, rows: Vec<Row>) -> Result<Vec<AuditRecord>, StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.put_back(rows).await,
            None if rows.iter().any(|row| row.object.is_some()) => {
                Err(StoreError::failed("records have long values in an object store, and none is set up"))
            }
            None => Ok(rows.into_iter().map(|row| row.record).collect()),
        }
    }

    /// Whether [`take_out`](Self::take_out) moves values of a row.
    pub(crate) fn moves(&self, row: &Row) -> bool {
        self.payloads.as_ref().is_some_and(|payloads| payloads.moves(row))
    }

    /// Moves the long values of rows to the object store. What is there already stays, so that it may be called again.
    pub(crate) async fn take_out(&self, rows: &mut [Row]) -> Result<(), StoreError> {
        match &self.payloads {
            Some(payloads) => payloads.take_out(rows).await,
            None => Ok(()),
        }
    }
}
