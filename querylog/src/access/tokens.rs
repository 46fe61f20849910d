//! [`Tokens`]: the tokens and account keys in a file.

mod file;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::access::authenticator::{AccountAuthenticator, Authenticator};
use crate::access::principal::{Account, Principal};

/// The tokens and account keys in a file, and who has them.
///
/// Only the digests of the tokens are kept in memory.
///
/// ```
/// use tagtrail_querylog::access::Tokens;
///
/// let tokens: Tokens = r#"{"tokens": [
///     {"token": "ZB0fq1", "kind": "user", "user_id": "u1", "user_email": "ada@example.com", "name": "Ada",
///      "exec_env_id": "env1"},
///     {"token": "9KxuL2", "kind": "service", "exec_env_id": "env1"},
///     {"token": "fR7cQe", "kind": "account", "region_groups": ["us-std"], "databases": ["eu-std/ECommerce"]}
/// ]}"#.parse()?;
/// # Ok::<_, tagtrail_querylog::access::InvalidTokens>(())
/// ```
///
/// A user may also have a `handle`, and users and services may have an `exec_env_name`. An account may export its region
/// groups, and its databases with those below them, but may not query the audit log. Unknown members are ignored, and so
/// are tokens of an unknown `kind`, which grant no access.
#[derive(Clone)]
pub struct Tokens(Arc<HashMap<TokenDigest, Holder>>);

/// The SHA-256 digest of a token.
///
/// A lookup by digest needs no constant-time comparison. What its timing could reveal is how much of a digest matches,
/// and that does not help to guess a token: each further guess has an unrelated digest.
type TokenDigest = [u8; 32];

/// Who has a token.
#[derive(Clone)]
enum Holder {
    Principal(Principal),
    Account(Account),
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is invalid.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, InvalidTokens> {
        std::fs::read_to_string(path).map_err(|error| InvalidTokens(format!("cannot read the file: {error}")))?.parse()
    }

    fn holder(&self, token: &str) -> Option<&Holder> {
        self.0.get(&digest(token))
    }
}

fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

impl FromStr for Tokens {
    type Err = InvalidTokens;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let holders = file::holders(text)?;
        if holders.is_empty() {
            tracing::warn!("the tokens file has no tokens: every request will be rejected");
        }
        Ok(Self(Arc::new(holders)))
    }
}

#[async_trait]
impl Authenticator for Tokens {
    async fn principal(&self, token: &str) -> Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self.holder(token) {
            Some(Holder::Principal(principal)) => Some(principal.clone()),
            Some(Holder::Account(_)) | None => None,
        })
    }
}

#[async_trait]
impl AccountAuthenticator for Tokens {
    async fn account(&self, key: &str) -> Result<Option<Account>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self.holder(key) {
            Some(Holder::Account(account)) => Some(account.clone()),
            Some(Holder::Principal(_)) | None => None,
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

/// The error of a tokens file that is invalid or cannot be read. It never contains a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid tokens file: {0}")]
pub struct InvalidTokens(String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::principal::{Service, User};

    #[tokio::test]
    async fn tokens_identify_who_the_file_names() {
        let tokens: Tokens = r#"{"later": 1, "tokens": [
            {"token": "a", "kind": "user", "user_id": "u", "user_email": "u@x", "exec_env_id": "e", "more": []},
            {"token": "b", "kind": "service", "exec_env_id": "e"},
            {"token": "c", "kind": "account", "region_groups": ["us"], "databases": ["eu/shop"]},
            {"token": "d", "kind": "later", "exec_env_id": "e"}
        ]}"#
        .parse()
        .unwrap();
        assert_eq!(tokens.principal("a").await.unwrap(), Some(User::new("u", "u@x", "e").into()));
        assert_eq!(tokens.principal("b").await.unwrap(), Some(Service::new("e").into()));
        for unknown in ["c", "d", "", "ab", "A", "a "] {
            assert_eq!(tokens.principal(unknown).await.unwrap(), None, "{unknown}");
        }
        let account = Account::new(["us", "eu/shop"].map(|scope| scope.parse().unwrap()));
        assert_eq!(tokens.account("c").await.unwrap(), Some(account));
        for unknown in ["a", "b", "d", "", "C"] {
            assert_eq!(tokens.account(unknown).await.unwrap(), None, "{unknown}");
        }
        assert_eq!(format!("{tokens:?}"), "Tokens { count: 3, .. }");
    }
}
