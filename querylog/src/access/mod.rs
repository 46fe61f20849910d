//! Who may ask, and what is signed.

pub(crate) mod callers;
pub(crate) mod signing;
