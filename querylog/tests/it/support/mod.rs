//! What tests share.
#![allow(dead_code, unreachable_pub, reason = "not each binary needs all of it")]

pub(crate) mod audit;
pub(crate) mod common;
pub(crate) mod export;
pub(crate) mod faulty;
pub(crate) mod gaps;
#[cfg(unix)]
pub(crate) mod killed;
pub(crate) mod spooled;
