//! Making a record small: [`Record::shrink`].

use crate::model::record::{Notes, Record};

/// What is kept of each text that a service added, in bytes.
const KEPT: usize = 64;

impl Record {
    /// Cuts what the service added, so that it takes less than four kilobytes; the request itself stays.
    pub(crate) fn shrink(&mut self) {
        let Notes { caller, operation, database, region_group, counters, shape, shared_token, stdout, stderr, payload } =
            &mut self.notes;
        (*stdout, *stderr, *payload) = (None, None, None);
        database.clear();
        counters.clear();
        let texts = [
            &mut caller.user_id,
            &mut caller.user_email,
            &mut caller.exec_env_id,
            &mut operation.id,
            &mut operation.name,
            &mut operation.engine,
            region_group,
            shape,
            shared_token,
        ];
        for text in texts.into_iter().flatten() {
            text.truncate(text.floor_char_boundary(KEPT));
        }
    }
}
