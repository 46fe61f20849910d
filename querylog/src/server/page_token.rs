//! Page tokens: a place in the order of records, signed together with what was asked and who asked it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::access::signing::signing;
use crate::model::cursor::Cursor;

/// Signs page tokens, and checks them.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

const SIGNATURE: usize = 32;

impl Signer {
    /// With the secret of a store.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(signing(secret, b"page tokens"))
    }

    /// What was asked is given in parts, whose borders count.
    fn sign(&self, asked: &[impl AsRef<str>], place: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in asked.iter().map(|part| part.as_ref().as_bytes()).chain([place]) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    /// The token of the place behind a record.
    pub(crate) fn write(&self, asked: &[impl AsRef<str>], place: &Cursor) -> String {
        let mut bytes = place.micros.to_be_bytes().to_vec();
        bytes.extend_from_slice(place.id.as_bytes());
        let signature = self.sign(asked, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` where the token is damaged, or was given for another question.
    pub(crate) fn read(&self, asked: &[impl AsRef<str>], text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE)?)?;
        self.sign(asked, place).verify_slice(signature).ok()?;
        let (micros, id) = place.split_first_chunk()?;
        let id = str::from_utf8(id).ok()?.to_owned();
        Some(Cursor { micros: i64::from_be_bytes(*micros), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_question_alone_and_only_whole() {
        let signer = Signer::new(&[7; 32]);
        let place = Cursor { micros: -5, id: "0190163d".into() };
        let text = signer.write(&["ada", "by-name"], &place);
        assert_eq!(signer.read(&["ada", "by-name"], &text), Some(place.clone()));
        for other in [&["ada", "by-id"][..], &["adab", "y-name"], &["ada"], &["ada", "by-name", ""]] {
            assert_eq!(signer.read(other, &text), None, "{other:?}");
        }
        assert_eq!(Signer::new(&[8; 32]).read(&["ada", "by-name"], &text), None);
        for place in 0..text.len() {
            assert_eq!(signer.read(&["ada", "by-name"], &text[..place]), None, "cut at {place}");
            for byte in b"Az0_-=+/ ".iter().filter(|byte| text.as_bytes()[place] != **byte) {
                let mut changed = text.clone().into_bytes();
                changed[place] = *byte;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(signer.read(&["ada", "by-name"], &changed), None, "{changed}");
            }
        }
        assert_eq!(signer.read(&["ada", "by-name"], &format!("{text}A")), None);
        assert_eq!(signer.read(&["ada", "by-name"], &format!("{text}=")), None);
    }
}
