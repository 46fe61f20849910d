//! The traits by which a service says who its callers are: [`Authenticator`] and [`AccountAuthenticator`].

use async_trait::async_trait;

use crate::access::principal::{Account, Principal};

/// Identifies the callers of the audit log's API by their tokens.
///
/// There is no default: an audit log that cannot identify its callers must not respond to them.
/// [`Tokens`](crate::access::Tokens) reads tokens from a file. To use your own sessions, implement this trait:
///
/// ```
/// use std::error::Error;
///
/// use async_trait::async_trait;
/// use tagtrail_querylog::access::{Authenticator, Principal, Service};
///
/// struct Sessions;
///
/// #[async_trait]
/// impl Authenticator for Sessions {
///     async fn principal(&self, token: &str) -> Result<Option<Principal>, Box<dyn Error + Send + Sync>> {
///         // Look the token up in the session store here.
///         Ok((token == "9KxuL2").then(|| Service::new("env1").into()))
///     }
/// }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the principal that has this token, or `None` if the token is unknown.
    ///
    /// Compare tokens in constant time, or look them up by their digests.
    ///
    /// # Errors
    ///
    /// If the token cannot be checked at the moment. The caller gets a 500, and the server logs the error.
    async fn principal(&self, token: &str) -> Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Identifies the accounts that may export the log, by their keys.
///
/// This is separate from [`Authenticator`]: anyone who may query an audit log may not export it because of that.
///
/// ```
/// use std::error::Error;
///
/// use async_trait::async_trait;
/// use tagtrail_querylog::access::{Account, AccountAuthenticator};
///
/// struct Keys;
///
/// #[async_trait]
/// impl AccountAuthenticator for Keys {
///     async fn account(&self, key: &str) -> Result<Option<Account>, Box<dyn Error + Send + Sync>> {
///         // Look the key up in the database here.
///         Ok(if key == "fR7cQe" { Some(Account::new(["us-std".parse()?])) } else { None })
///     }
/// }
/// ```
#[async_trait]
pub trait AccountAuthenticator: Send + Sync + 'static {
    /// Returns the account that has this key, or `None` if the key is unknown.
    ///
    /// Compare keys in constant time, or look them up by their digests.
    ///
    /// # Errors
    ///
    /// If the key cannot be checked at the moment. The caller gets a 500, and the server logs the error.
    async fn account(&self, key: &str) -> Result<Option<Account>, Box<dyn std::error::Error + Send + Sync>>;
}
