//! PostgreSQL, and what speaks its protocol: the store that many services share.
//!
//! Of PostgreSQL it uses: tables and indexes, some of them over an expression; arrays that become rows (`unnest`);
//! `INSERT … ON CONFLICT DO UPDATE … WHERE`, and `DO NOTHING RETURNING`; comparison of rows; `LATERAL`; prepared statements; and, while it makes the
//! tables, a transaction with `SELECT … FOR UPDATE`; where it
//! finds requests, one with `REPEATABLE READ`. No extensions, triggers, sequences, advisory locks or `LISTEN`. Only
//! where [partitions](Partition) are asked for does it use those, with `DEFAULT`, `LOCK TABLE` and the catalogue.
//!
//! Texts are `BYTEA`, since its `TEXT` has no NUL; `convert_from(udf_name, 'UTF8')` shows one. An index has at most the
//! first 200 bytes of a text, since longer ones do not fit.

mod begun;
mod error;
mod jobs;
#[cfg(not(feature = "postgres-tls"))]
mod no_tls;
mod partitions;
mod put;
mod rows;
mod settings;
mod statements;
mod store;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "postgres-tls")]
mod tls;

#[cfg(not(feature = "postgres-tls"))]
use self::no_tls as encryption;
pub use self::partitions::Partition;
pub use self::settings::PostgresSettings;
pub use self::store::Postgres;
#[cfg(feature = "postgres-tls")]
use self::tls as encryption;
