//! Who may query, who may export, and what is signed.

pub(crate) mod authenticator;
pub(crate) mod bearer;
pub(crate) mod principal;
pub(crate) mod signing;
pub(crate) mod tokens;

pub use self::authenticator::{AccountAuthenticator, Authenticator};
pub use self::principal::{Account, Principal, Service, User};
pub use self::tokens::{InvalidTokens, Tokens};
