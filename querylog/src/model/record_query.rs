//! Which records are asked for: [`RecordQuery`], [`Whose`].

/// Which records are asked for. Who asks is known already: a [`ScopedAuditLog`](crate::audit::ScopedAuditLog) is made for an
/// environment and a user, and a server knows both by the token of an [`AuditClient`](crate::client::AuditClient).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordQuery {
    /// The records of the user who asks, by e-mail address, in every environment.
    Own,
    /// All records of the environment.
    Environment,
    /// The records of this operation's id in the environment, which the REST API calls `udf_id`.
    OperationId(String),
    /// The records of this operation's name in the environment, which the REST API calls `udf_name`.
    OperationName(String),
    /// The records of this shared token in the environment.
    SharedToken(String),
}

/// Whose records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Those of the user who asks, by e-mail address, in every environment.
    Own,
    /// All of the environment.
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
