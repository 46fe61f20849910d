//! Who asks for an audit log, or an export: the trait [`Callers`], and [`Tokens`] from a file.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::model::scope::ExportScope;

/// Says who a token is. There is no default: an audit log whose callers nobody knows lets nobody in.
///
/// ```
/// use async_trait::async_trait;
/// use tagtrail_querylog::{Callers, Principal};
///
/// struct OurSessions;
///
/// #[async_trait]
/// impl Callers for OurSessions {
///     async fn caller(&self, token: &str) -> Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>> {
///         // Ask the session store here. A token that nobody has is `Ok(None)`.
///         Ok(None)
///     }
/// }
/// ```
#[async_trait]
pub trait Callers: Send + Sync + 'static {
    /// Who has this token; `None` if nobody has. Tokens are to be compared in constant time, or looked up by a hash.
    ///
    /// # Errors
    ///
    /// If that cannot be found out now. The caller gets a 500, and the log of the server says why.
    async fn caller(&self, token: &str) -> Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>>;

    /// Whose account key this is: who may export the log. `None` if it is none, as by default: who may ask an audit log
    /// may not export one, unless this says so.
    ///
    /// # Errors
    ///
    /// As for a [`caller`](Self::caller).
    async fn account(&self, _key: &str) -> Result<Option<Account>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }
}

/// Whoever may export: all that is in these scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// Region groups, and databases with those beneath them.
    pub scopes: Vec<ExportScope>,
}

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// A user: asks for its own records, and for those of its environment.
    User(User),
    /// A service: asks for the records of its environment.
    Service {
        /// The id of the environment.
        exec_env_id: String,
        /// The name of the environment, where it has one.
        exec_env_name: Option<String>,
    },
}

/// A user who may ask: part of [`Principal`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// The id of the user.
    pub id: String,
    /// The e-mail address: the records that have it are the user's own.
    pub email: String,
    /// The name, where there is one.
    pub name: Option<String>,
    /// The handle, where there is one.
    pub handle: Option<String>,
    /// The id of the user's environment.
    pub exec_env_id: String,
    /// The name of the environment, where it has one.
    pub exec_env_name: Option<String>,
}

impl Principal {
    /// The id of the caller's environment.
    pub fn exec_env_id(&self) -> &str {
        match self {
            Self::User(user) => &user.exec_env_id,
            Self::Service { exec_env_id, .. } => exec_env_id,
        }
    }

    #[cfg(feature = "audit-api")]
    pub(crate) fn exec_env_name(&self) -> Option<&str> {
        match self {
            Self::User(user) => user.exec_env_name.as_deref(),
            Self::Service { exec_env_name, .. } => exec_env_name.as_deref(),
        }
    }
}

/// The token of a request that has one: one, of these schemes.
pub(crate) fn token<'a>(headers: &'a HeaderMap, schemes: &[&str]) -> Option<&'a str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    let known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    Some(token.trim()).filter(|token| known && !token.is_empty())
}

/// The tokens of a file, and who has them.
///
/// The tokens themselves are not kept, only their hashes, which are compared in constant time.
///
/// ```
/// use tagtrail_querylog::Tokens;
///
/// let tokens: Tokens = r#"{"tokens": [
///     {"token": "ZB0fq1", "kind": "user", "user_id": "u1", "user_email": "ada@example.com", "name": "Ada",
///      "exec_env_id": "env1"},
///     {"token": "9KxuL2", "kind": "service", "exec_env_id": "env1"},
///     {"token": "fR7cQe", "kind": "account", "region_groups": ["us-std"], "databases": ["eu-std/ECommerce"]}
/// ]}"#.parse()?;
/// # Ok::<_, tagtrail_querylog::InvalidTokens>(())
/// ```
///
/// A user may also have a `handle`, and users and services may have an `exec_env_name`. An account is who may export the
/// region groups, and the databases with those beneath them; it may ask for nothing else. Members of other names are ignored, and so are
/// tokens of another `kind`: they let nobody in.
#[derive(Clone)]
pub struct Tokens(Arc<[(Hash, Holder)]>);

/// Who has a token.
#[derive(Clone)]
enum Holder {
    Principal(Principal),
    Account(Account),
}

type Hash = [u8; 32];

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has another form.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, InvalidTokens> {
        std::fs::read_to_string(path).map_err(|error| InvalidTokens(format!("cannot be read: {error}")))?.parse()
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

impl Tokens {
    fn holder(&self, token: &str) -> Option<&Holder> {
        let asked = hash(token);
        // All of them, whichever it is.
        self.0.iter().fold(
            None,
            |found, (hash, holder)| {
                if bool::from(hash.ct_eq(&asked)) { Some(holder) } else { found }
            },
        )
    }
}

#[async_trait]
impl Callers for Tokens {
    async fn caller(&self, token: &str) -> Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self.holder(token) {
            Some(Holder::Principal(principal)) => Some(principal.clone()),
            _ => None,
        })
    }

    async fn account(&self, key: &str) -> Result<Option<Account>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self.holder(key) {
            Some(Holder::Account(account)) => Some(account.clone()),
            _ => None,
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct File {
    tokens: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    token: String,
    kind: String,
    user_id: Option<String>,
    user_email: Option<String>,
    name: Option<String>,
    handle: Option<String>,
    exec_env_id: Option<String>,
    exec_env_name: Option<String>,
    #[serde(default)]
    region_groups: Vec<String>,
    #[serde(default)]
    databases: Vec<String>,
}

impl std::str::FromStr for Tokens {
    type Err = InvalidTokens;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            InvalidTokens(format!("not a JSON object with a list of tokens: line {line}, column {column}"))
        })?;
        let mut tokens = Vec::new();
        let mut seen = HashSet::new();
        for (place, line) in file.tokens.into_iter().enumerate() {
            let wrong = |what: &str| InvalidTokens(format!("tokens[{place}]: {what}"));
            if line.token.is_empty() || line.token.contains(|char: char| !char.is_ascii_graphic()) {
                return Err(wrong("the token is empty, or has other characters than the visible ones of ASCII"));
            }
            let hash = hash(&line.token);
            if !seen.insert(hash) {
                return Err(wrong("the same token as one before it"));
            }
            let needed = |value: Option<String>, name: &str| {
                value.filter(|value| !value.is_empty()).ok_or_else(|| wrong(&format!("{name} is missing")))
            };
            let holder = match line.kind.as_str() {
                "user" => Holder::Principal(Principal::User(User {
                    id: needed(line.user_id, "user_id")?,
                    email: needed(line.user_email, "user_email")?,
                    name: line.name,
                    handle: line.handle,
                    exec_env_id: needed(line.exec_env_id, "exec_env_id")?,
                    exec_env_name: line.exec_env_name,
                })),
                "service" => Holder::Principal(Principal::Service {
                    exec_env_id: needed(line.exec_env_id, "exec_env_id")?,
                    exec_env_name: line.exec_env_name,
                }),
                "account" => Holder::Account(account(&line.region_groups, &line.databases).map_err(wrong)?),
                _ => {
                    tracing::warn!("tokens[{place}]: of a kind that the audit log does not know, and ignored");
                    continue;
                }
            };
            tokens.push((hash, holder));
        }
        if tokens.is_empty() {
            tracing::warn!("the file of tokens has none: nobody is let in");
        }
        Ok(Self(tokens.into()))
    }
}

fn account(region_groups: &[String], databases: &[String]) -> Result<Account, &'static str> {
    let scopes = |texts: &[String], is_database: bool| {
        let scope =
            |text: &String| text.parse().ok().filter(|scope: &ExportScope| scope.database().is_empty() != is_database);
        texts.iter().map(scope).collect::<Option<Vec<_>>>()
    };
    let mut all = scopes(region_groups, false).ok_or("region_groups are names such as us-std")?;
    all.extend(scopes(databases, true).ok_or("databases are paths such as us-std/ECommerce")?);
    if all.is_empty() { Err("region_groups and databases are missing") } else { Ok(Account { scopes: all }) }
}

/// What is wrong with a file of tokens. It never has a token in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file of tokens: {0}")]
pub struct InvalidTokens(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_who_the_file_says() {
        let tokens: Tokens = r#"{"later": 1, "tokens": [
            {"token": "a", "kind": "user", "user_id": "u", "user_email": "u@x", "exec_env_id": "e", "more": []},
            {"token": "b", "kind": "service", "exec_env_id": "e"},
            {"token": "c", "kind": "account", "region_groups": ["us"], "databases": ["eu/shop"]},
            {"token": "d", "kind": "later", "exec_env_id": "e"}
        ]}"#
        .parse()
        .unwrap();
        let user = User { id: "u".into(), email: "u@x".into(), exec_env_id: "e".into(), ..User::default() };
        assert_eq!(tokens.caller("a").await.unwrap(), Some(Principal::User(user)));
        let service = Principal::Service { exec_env_id: "e".into(), exec_env_name: None };
        assert_eq!(tokens.caller("b").await.unwrap(), Some(service));
        for nobody in ["c", "d", "", "ab", "A", "a "] {
            assert_eq!(tokens.caller(nobody).await.unwrap(), None, "{nobody}");
        }
        let account = Account { scopes: vec!["us".parse().unwrap(), "eu/shop".parse().unwrap()] };
        assert_eq!(tokens.account("c").await.unwrap(), Some(account));
        for nobody in ["a", "b", "d", "", "C"] {
            assert_eq!(tokens.account(nobody).await.unwrap(), None, "{nobody}");
        }
        assert_eq!(format!("{tokens:?}"), "Tokens { count: 3, .. }");
    }

    #[tokio::test]
    async fn who_may_ask_may_not_export_unless_it_is_said() {
        struct Everybody;
        #[async_trait]
        impl Callers for Everybody {
            async fn caller(&self, _: &str) -> Result<Option<Principal>, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Some(Principal::Service { exec_env_id: "e".into(), exec_env_name: None }))
            }
        }
        assert_eq!(Everybody.caller("a").await.unwrap().unwrap().exec_env_id(), "e");
        assert_eq!(Everybody.account("a").await.unwrap(), None);
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_without_naming_a_token() {
        for (text, expected) in [
            ("{", "not a JSON object with a list of tokens: line 1, column 1"),
            (r#"{"tokens":[{"token":"","kind":"service","exec_env_id":"e"}]}"#, "tokens[0]: the token is empty"),
            (r#"{"tokens":[{"token":"secret","kind":"service"}]}"#, "tokens[0]: exec_env_id is missing"),
            (
                r#"{"tokens":[{"token":"secret","kind":"user","user_id":"u","exec_env_id":"e"}]}"#,
                "tokens[0]: user_email is missing",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"service","exec_env_id":"e"},
                    {"token":"secret","kind":"service","exec_env_id":"f"}]}"#,
                "tokens[1]: the same token as one before it",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"account"}]}"#,
                "tokens[0]: region_groups and databases are missing",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"account","region_groups":["us/shop"]}]}"#,
                "tokens[0]: region_groups are names such as us-std",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"account","databases":["us"]}]}"#,
                "tokens[0]: databases are paths such as us-std/ECommerce",
            ),
        ] {
            let error = text.parse::<Tokens>().unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }
}
