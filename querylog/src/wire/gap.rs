//! A gap as a line of a file: `{"gap":{"from":…,"to":…,"count":…,"why":…}}`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::gap::Gap;
use crate::model::text::Text;
use crate::model::time::Timestamp;
use crate::wire::json::{show, write_line};

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    gap: Members<'a>,
}

#[derive(Serialize, Deserialize)]
struct Members<'a> {
    from: Text<Timestamp>,
    to: Text<Timestamp>,
    count: Option<u64>,
    #[serde(borrow)]
    why: Cow<'a, str>,
}

/// Appends the line of a gap, with a line feed.
pub(crate) fn write_gap(gap: &Gap, line: &mut Vec<u8>) -> std::io::Result<()> {
    let Gap { from, to, count, why } = gap;
    let gap = Members { from: Text(*from), to: Text(*to), count: *count, why: Cow::Borrowed(why) };
    write_line(&Line { gap }, line)
}

/// Parses the line of a gap.
pub(crate) fn read_gap(line: &[u8]) -> Result<Gap, serde_json::Error> {
    let Line { gap } = serde_json::from_slice(line)?;
    let Members { from, to, count, why } = gap;
    Ok(Gap { from: from.0, to: to.0, count, why: Cow::Owned(why.into_owned()) })
}

/// Writes the line of a file, without a line feed.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, |line| write_gap(self, line))
    }
}
