//! The token in a request's `Authorization` header.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Returns the token of a request that has exactly one, of one of these schemes.
pub(crate) fn bearer_token<'a>(headers: &'a HeaderMap, schemes: &[&str]) -> Option<&'a str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    let is_known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    Some(token.trim()).filter(|token| is_known && !token.is_empty())
}
