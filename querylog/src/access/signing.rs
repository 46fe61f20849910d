//! The keys by which page tokens and the URLs of downloads are signed.

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// What signs, by a key of the secret of a store, and of what it is for.
pub(crate) fn signing(secret: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    let mut key = [0; 64];
    for (place, byte) in key.iter_mut().zip(secret.iter().chain(purpose)) {
        *place = *byte;
    }
    Hmac::new(&key.into())
}
