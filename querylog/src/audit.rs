//! A record as an audit log has it.

use serde::Serialize;

use crate::record::Record;

/// A record as an audit log has it: fifteen members, null where there is nothing.
///
/// The name of the operation is the one that the service gave, else the route.
///
/// ```
/// use tagtrail::Trail;
/// use tagtrail_querylog::Record;
///
/// let record = Record::new(&Trail::start(true), "nightly/rollup");
/// let audit = serde_json::to_value(record.audit())?;
/// assert_eq!(audit["id"], record.id.to_string());
/// assert!(audit["execution_time"].is_null(), "it has not ended");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the audit log's documentation")]
pub struct AuditRecord<'a> {
    pub id: String,
    pub timestamp: String,
    pub exec_env_id: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub user_email: Option<&'a str>,
    pub udf_id: Option<&'a str>,
    pub udf_name: Option<&'a str>,
    pub execution_engine: Option<&'a str>,
    /// Seconds; `None` where the request never ended.
    pub execution_time: Option<f64>,
    pub cache: Option<bool>,
    pub stdout: Option<&'a str>,
    pub stderr: Option<&'a str>,
    pub udf_data: Option<&'a str>,
    pub shared_token: Option<&'a str>,
    pub client_ip: Option<String>,
}

impl Record {
    /// The record as an audit log has it.
    pub fn audit(&self) -> AuditRecord<'_> {
        let notes = &self.notes;
        AuditRecord {
            id: self.id.to_string(),
            timestamp: self.begin.audited(),
            exec_env_id: notes.caller.exec_env_id.as_deref(),
            user_id: notes.caller.user_id.as_deref(),
            user_email: notes.caller.user_email.as_deref(),
            udf_id: notes.operation.id.as_deref(),
            udf_name: notes.operation.name.as_deref().or(self.request.route.as_deref()),
            execution_engine: notes.operation.engine.as_deref(),
            execution_time: self.duration.map(|duration| duration.as_secs_f64()),
            cache: notes.operation.cache,
            stdout: notes.stdout.as_deref(),
            stderr: notes.stderr.as_deref(),
            udf_data: notes.payload.as_deref(),
            shared_token: notes.shared_token.as_deref(),
            client_ip: self.client_ip.map(|ip| ip.to_string()),
        }
    }
}
