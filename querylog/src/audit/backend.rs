//! Where an audit log has its records: a store, and an object store for long values.

use std::sync::Arc;

use crate::model::audit_record::AuditRecord;
use crate::store::{Payloads, Row, Store, StoreError};

#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) payloads: Option<Payloads>,
}

impl Backend {
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
