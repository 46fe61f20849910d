//! What a rotation appends to a file's name: [`Rotation`].

use std::cmp::Reverse;

/// When a file was set aside, by what was appended to its name. Sorts from the oldest to the file that is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rotation {
    /// `-20260101`, `.20260101-120000`, `-2026-01-01`: the later, the newer.
    Dated(String),
    /// `.1`, `.2`: the higher, the older.
    Numbered(Reverse<u32>),
    /// Nothing: it has not been set aside.
    Current,
}

impl Rotation {
    /// Splits a name into the one that the file had, and what a rotation made of it. `None` if it did not end in one of
    /// these. The name may have `.gz` at its end.
    pub(super) fn split<'a>(name: &'a str, ends: &[&str]) -> Option<(&'a str, Self)> {
        let name = name.strip_suffix(".gz").unwrap_or(name);
        ends.iter().find_map(|end| {
            let base = name.rfind(end)? + end.len();
            let (base, appended) = name.split_at_checked(base)?;
            Some((base, Self::of(appended)?))
        })
    }

    fn of(appended: &str) -> Option<Self> {
        let Some(separator) = appended.chars().next() else { return Some(Self::Current) };
        let text = appended.strip_prefix(['.', '-'])?;
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        if separator == '.' && digits == text.len() && digits <= 6 {
            return text.parse().ok().map(|number| Self::Numbered(Reverse(number)));
        }
        let is_date = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'_' | b':' | b'.' | b'T' | b'Z'));
        (is_date && digits >= 8).then(|| Self::Dated(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_is_what_was_appended_to_the_name() {
        let dated = |text: &str| Rotation::Dated(text.to_owned());
        for (name, rotation) in [
            ("x.jsonl", Rotation::Current),
            ("x.jsonl.gz", Rotation::Current),
            ("x.jsonl.1", Rotation::Numbered(Reverse(1))),
            ("x.jsonl.12.gz", Rotation::Numbered(Reverse(12))),
            ("x.jsonl-20260101", dated("20260101")),
            ("x.jsonl-20260101.gz", dated("20260101")),
            ("x.jsonl-2026-01-01", dated("2026-01-01")),
            ("x.jsonl.20260101-120000", dated("20260101-120000")),
            ("x.jsonl-1767225600", dated("1767225600")),
        ] {
            assert_eq!(Rotation::split(name, &[".jsonl", ".log"]), Some(("x.jsonl", rotation)), "{name}");
        }
        assert_eq!(Rotation::split("a.log.1", &[".jsonl", ".log"]), Some(("a.log", Rotation::Numbered(Reverse(1)))));
        for name in [
            "",
            "x",
            "x.json",
            "x.jsonl.torn",
            "x.jsonl.zst",
            "x.jsonl.gz.gz",
            "x.jsonl.",
            "x.jsonl-",
            "x.jsonl-1",
            "x.jsonl.1234567",
            "x.jsonl.rejected",
            "x.jsonl1",
            "x.jsonl.é",
        ] {
            assert_eq!(Rotation::split(name, &[".jsonl", ".log"]), None, "{name}");
        }
    }

    #[test]
    fn rotations_sort_from_the_oldest_to_the_newest() {
        let names = ["x.log-20260101", "x.log-20260102.gz", "x.log.10.gz", "x.log.2", "x.log.1", "x.log"];
        let rotations = names.map(|name| Rotation::split(name, &[".log"]).unwrap().1);
        assert!(rotations.is_sorted(), "{rotations:?}");
    }
}
