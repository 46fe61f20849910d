//! A query for records: [`RecordQuery`], [`Whose`].

/// A query for records. The environment and the user are those of the [`ScopedAuditLog`](crate::audit::ScopedAuditLog),
/// or of the token of the [`AuditClient`](crate::client::AuditClient).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordQuery {
    /// The records of the user, by e-mail address, in every environment.
    Own,
    /// All records of the environment.
    Environment,
    /// The records of the operation with this id, which the REST API calls `udf_id`, in the environment.
    OperationId(String),
    /// The records of the operation with this name, which the REST API calls `udf_name`, in the environment.
    OperationName(String),
    /// The records with this shared token in the environment.
    SharedToken(String),
}

/// Whose records a query is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Whose {
    /// Those of the user, by e-mail address, in every environment.
    Own,
    /// All records of the environment.
    Environment,
}

impl From<Whose> for RecordQuery {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Own => Self::Own,
            Whose::Environment => Self::Environment,
        }
    }
}
