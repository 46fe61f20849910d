//! PostgreSQL, and databases that speak its protocol: a store that many services share.
//!
//! It uses tables; indexes, some of them over expressions; arrays as rows (`unnest`); `INSERT … ON CONFLICT DO UPDATE …
//! WHERE` and `DO NOTHING RETURNING`; `UPDATE … FROM`; comparison of rows; `LATERAL`; prepared statements; a transaction
//! with `SELECT … FOR UPDATE` to create the tables, and `SKIP LOCKED` to find writers that are lost; one with
//! `REPEATABLE READ` to find requests; `txid_current` to number commits; and `SET` of `statement_timeout`,
//! `lock_timeout` and `idle_in_transaction_session_timeout`. It uses no extensions, triggers, sequences, advisory locks
//! or `LISTEN`. If the tables are [partitioned](Partition), it also uses partitions with `DEFAULT`, `LOCK TABLE` and the
//! catalog.
//!
//! Texts are `BYTEA`, since `TEXT` cannot contain NUL; `convert_from(udf_name, 'UTF8')` shows one. Indexes contain the
//! first 200 bytes of a text, since longer values do not fit.

mod builder;
mod connector;
mod error;
mod home;
mod jobs;
mod limits;
#[cfg(not(feature = "postgres-tls"))]
mod no_tls;
mod partitions;
mod prune;
mod put;
mod reads;
mod rows;
mod server;
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
