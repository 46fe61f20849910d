//! PostgreSQL, and databases that speak its protocol: a store that many services share.
//!
//! It uses tables; indexes, some of them over expressions; arrays as rows (`unnest`); `INSERT … ON CONFLICT DO UPDATE …
//! WHERE` and `DO NOTHING RETURNING`; `UPDATE … FROM`; comparison of rows; `LATERAL`; prepared statements; a transaction
//! with `SELECT … FOR UPDATE` to create the tables; one with `REPEATABLE READ` to find requests; and `txid_current` to
//! number commits. It uses no extensions, triggers, sequences, advisory locks or `LISTEN`. If the tables are
//! [partitioned](Partition), it also uses partitions with `DEFAULT`, `LOCK TABLE` and the catalog.
//!
//! Texts are `BYTEA`, since `TEXT` cannot contain NUL; `convert_from(udf_name, 'UTF8')` shows one. Indexes contain the
//! first 200 bytes of a text, since longer values do not fit.

mod builder;
mod error;
mod jobs;
#[cfg(not(feature = "postgres-tls"))]
mod no_tls;
mod partitions;
mod put;
mod rows;
mod server_url;
mod started;
mod statements;
mod store;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "postgres-tls")]
mod tls;
mod writers;

pub use self::builder::PostgresBuilder;
#[cfg(not(feature = "postgres-tls"))]
use self::no_tls as encryption;
pub use self::partitions::Partition;
pub use self::store::Postgres;
#[cfg(feature = "postgres-tls")]
use self::tls as encryption;
