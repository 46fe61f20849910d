//! What the latest records are asked for by: [`Distinct`].

/// Of what the latest record is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distinct {
    /// Of each operation's name, which the REST API calls `udf_name`.
    Names,
    /// Of each operation's id, which the REST API calls `udf_id`.
    Ids,
}
