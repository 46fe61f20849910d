//! The format of a tokens file.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::{Holder, InvalidTokens, TokenDigest, digest};
use crate::access::principal::{Account, Service, User};
use crate::model::scope::ExportScope;

#[derive(Deserialize)]
struct TokensFile {
    tokens: Vec<TokenEntry>,
}

#[derive(Deserialize)]
struct TokenEntry {
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

/// Reads who has which token.
pub(super) fn holders(text: &str) -> Result<HashMap<TokenDigest, Holder>, InvalidTokens> {
    let file: TokensFile = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        InvalidTokens(format!("expected a JSON object with a list `tokens` (line {line}, column {column})"))
    })?;
    let mut holders = HashMap::new();
    let mut seen = HashSet::new();
    for (index, entry) in file.tokens.into_iter().enumerate() {
        let invalid = |what: String| InvalidTokens(format!("tokens[{index}]: {what}"));
        if entry.token.is_empty() || entry.token.contains(|char: char| !char.is_ascii_graphic()) {
            return Err(invalid("the token must consist of visible ASCII characters".into()));
        }
        let digest = digest(&entry.token);
        if !seen.insert(digest) {
            return Err(invalid("duplicate token".into()));
        }
        if let Some(holder) = entry.holder().map_err(invalid)? {
            holders.insert(digest, holder);
        } else {
            tracing::warn!("tokens[{index}]: unknown kind; the token is ignored");
        }
    }
    Ok(holders)
}

impl TokenEntry {
    /// Returns who has the token, or `None` if its kind is unknown.
    fn holder(self) -> Result<Option<Holder>, String> {
        Ok(Some(match self.kind.as_str() {
            "user" => Holder::Principal(self.user()?.into()),
            "service" => Holder::Principal(self.service()?.into()),
            "account" => Holder::Account(self.account()?),
            _ => return Ok(None),
        }))
    }

    fn user(self) -> Result<User, String> {
        let mut user = User::new(
            required(self.user_id, "user_id")?,
            required(self.user_email, "user_email")?,
            required(self.exec_env_id, "exec_env_id")?,
        );
        (user.name, user.handle, user.exec_env_name) = (self.name, self.handle, self.exec_env_name);
        Ok(user)
    }

    fn service(self) -> Result<Service, String> {
        let mut service = Service::new(required(self.exec_env_id, "exec_env_id")?);
        service.exec_env_name = self.exec_env_name;
        Ok(service)
    }

    fn account(&self) -> Result<Account, String> {
        let region_groups = scopes(&self.region_groups, |scope| scope.database().is_empty())
            .ok_or("region_groups must be names (example: us-std)")?;
        let databases = scopes(&self.databases, |scope| !scope.database().is_empty())
            .ok_or("databases must be paths (example: us-std/ECommerce)")?;
        if region_groups.is_empty() && databases.is_empty() {
            return Err("region_groups and databases are missing".into());
        }
        Ok(Account::new(region_groups.into_iter().chain(databases)))
    }
}

fn required(value: Option<String>, name: &str) -> Result<String, String> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} is missing"))
}

fn scopes(texts: &[String], is_valid: impl Fn(&ExportScope) -> bool) -> Option<Vec<ExportScope>> {
    texts.iter().map(|text| text.parse().ok().filter(&is_valid)).collect()
}

#[cfg(test)]
mod tests {
    use crate::access::tokens::Tokens;

    #[test]
    fn invalid_files_are_rejected_without_naming_a_token() {
        for (text, expected) in [
            ("{", "expected a JSON object with a list `tokens` (line 1, column 1)"),
            (
                r#"{"tokens":[{"token":"","kind":"service","exec_env_id":"e"}]}"#,
                "tokens[0]: the token must consist of visible ASCII characters",
            ),
            (r#"{"tokens":[{"token":"secret","kind":"service"}]}"#, "tokens[0]: exec_env_id is missing"),
            (
                r#"{"tokens":[{"token":"secret","kind":"user","user_id":"u","exec_env_id":"e"}]}"#,
                "tokens[0]: user_email is missing",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"service","exec_env_id":"e"},
                    {"token":"secret","kind":"service","exec_env_id":"f"}]}"#,
                "tokens[1]: duplicate token",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"later"},
                    {"token":"secret","kind":"service","exec_env_id":"f"}]}"#,
                "tokens[1]: duplicate token",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"account"}]}"#,
                "tokens[0]: region_groups and databases are missing",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"account","region_groups":["us/shop"]}]}"#,
                "tokens[0]: region_groups must be names (example: us-std)",
            ),
            (
                r#"{"tokens":[{"token":"secret","kind":"account","databases":["us"]}]}"#,
                "tokens[0]: databases must be paths (example: us-std/ECommerce)",
            ),
        ] {
            let error = text.parse::<Tokens>().unwrap_err().to_string();
            assert_eq!(error, format!("invalid tokens file: {expected}"));
        }
    }
}
