//! Lines that a container runtime has wrapped: the output of a service, with its stream and time, in parts if it is
//! long. Docker's form (`json-file`) is a JSON object a line:
//!
//! ```text
//! {"log":"…\n","stream":"stdout","time":"2024-05-10T18:05:42.871000000Z"}
//! ```
//!
//! That of Kubernetes and Podman (CRI) puts the stream and time before the text; all parts but the last are marked `P`:
//!
//! ```text
//! 2024-05-10T18:05:42.871000000Z stdout F …
//! ```

use std::borrow::Cow;

use serde::Deserialize;

use crate::model::time::Timestamp;

/// What a runtime wrote of a line: all of it, or a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) stream: Stream,
    /// Without a line feed.
    pub(super) text: Cow<'a, [u8]>,
    /// Whether the line ends with this part.
    pub(super) is_last: bool,
}

/// Where a service wrote the line. The parts of two lines alternate only if their streams differ.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl<'a> Part<'a> {
    /// `None` if the line is not certainly one that a runtime has wrapped.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        match line.first()? {
            b'{' => Self::docker(line),
            b'0'..=b'9' => Self::cri(line),
            _ => None,
        }
    }

    fn docker(line: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            log: Cow<'a, str>,
            stream: Stream,
            #[serde(borrow)]
            time: Cow<'a, str>,
        }
        // Docker writes this member first.
        if !line.starts_with(b"{\"log\":") {
            return None;
        }
        let Line { log, stream, time } = serde_json::from_slice(line).ok()?;
        time.parse::<Timestamp>().ok()?;
        let is_last = log.ends_with('\n');
        let text = match log {
            Cow::Borrowed(text) => text.strip_suffix('\n').unwrap_or(text).as_bytes().into(),
            Cow::Owned(mut text) => {
                text.truncate(text.len() - usize::from(is_last));
                text.into_bytes().into()
            }
        };
        Some(Self { stream, text, is_last })
    }

    fn cri(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let (time, stream, tags) = (fields.next()?, fields.next()?, fields.next()?);
        str::from_utf8(time).ok()?.parse::<Timestamp>().ok()?;
        let stream = match stream {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let is_last = match tags.split(|&byte| byte == b':').next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { stream, text: fields.next().unwrap_or_default().into(), is_last })
    }
}

/// The parts of lines that have not ended.
#[derive(Debug, Default)]
pub(super) struct Parts {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Parts {
    fn of(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Adds a part. Returns the line if it has ended.
    ///
    /// # Errors
    ///
    /// If the line is longer than `longest`.
    pub(super) fn join<'a>(&mut self, part: Part<'a>, longest: usize) -> Result<Option<Cow<'a, [u8]>>, TooLong> {
        let parts = self.of(part.stream);
        if parts.len() + part.text.len() > longest {
            return Err(TooLong);
        }
        if parts.is_empty() && part.is_last {
            return Ok(Some(part.text));
        }
        parts.extend_from_slice(&part.text);
        Ok(part.is_last.then(|| std::mem::take(parts).into()))
    }

    /// Whether a line has not ended.
    pub(super) fn is_within_line(&self) -> bool {
        !self.stdout.is_empty() || !self.stderr.is_empty()
    }
}

/// A line of which the parts are longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2024-05-10T18:05:42.871000000Z";

    fn part(line: &str) -> Option<(Stream, String, bool)> {
        let Part { stream, text, is_last } = Part::of(line.as_bytes())?;
        Some((stream, String::from_utf8(text.into_owned()).unwrap(), is_last))
    }

    #[test]
    fn part_is_read_from_each_form() {
        let docker = |log: &str, stream: &str| format!(r#"{{"log":{log},"stream":"{stream}","time":"{TIME}"}}"#);
        for (line, expected) in [
            (docker(r#""{\"a\":1}\n""#, "stdout"), (Stream::Stdout, r#"{"a":1}"#, true)),
            (docker(r#""plain""#, "stdout"), (Stream::Stdout, "plain", false)),
            (docker(r#""a\r\n""#, "stderr"), (Stream::Stderr, "a\r", true)),
            (docker(r#""\n""#, "stdout"), (Stream::Stdout, "", true)),
            (docker(r#""""#, "stdout"), (Stream::Stdout, "", false)),
            (
                format!(r#"{{"log":"a\n","stream":"stdout","attrs":{{"tag":"x"}},"time":"{TIME}"}}"#),
                (Stream::Stdout, "a", true),
            ),
            (format!("{TIME} stdout F a b"), (Stream::Stdout, "a b", true)),
            (format!("{TIME} stderr P a \n"), (Stream::Stderr, "a ", false)),
            (format!("{TIME} stdout F:x a"), (Stream::Stdout, "a", true)),
            (format!("{TIME} stdout F "), (Stream::Stdout, "", true)),
            (format!("{TIME} stdout F"), (Stream::Stdout, "", true)),
            ("2024-05-10T20:05:42.871+02:00 stdout F a".into(), (Stream::Stdout, "a", true)),
        ] {
            assert_eq!(part(&line), Some((expected.0, expected.1.to_owned(), expected.2)), "{line}");
        }
    }

    #[test]
    fn line_that_may_be_something_else_is_not_a_part() {
        for line in [
            "",
            "{}",
            r#"{"log":"a\n"}"#,
            r#"{"log":"a\n","stream":"stdout"}"#,
            r#"{"log":"a\n","stream":"stdin","time":"2024-05-10T18:05:42Z"}"#,
            r#"{"log":"a\n","stream":"stdout","time":"now"}"#,
            r#"{"log":1,"stream":"stdout","time":"2024-05-10T18:05:42Z"}"#,
            r#"{"log":"a\n","stream":"stdout","time":"2024-05-10T18:05:42Z"} x"#,
            r#"{"log":"a"#,
            "2024-05-10T18:05:42Z",
            "2024-05-10T18:05:42Z stdout",
            "2024-05-10T18:05:42Z stdout X a",
            "2024-05-10T18:05:42Z stdin F a",
            "18:05 stdout F a",
            "é stdout F a",
        ] {
            assert_eq!(part(line), None, "{line}");
        }
    }

    #[test]
    fn parts_are_joined_by_stream_up_to_the_limit() {
        let mut parts = Parts::default();
        let mut join = |line: &str| {
            let line = format!("{TIME} {line}");
            let joined = parts.join(Part::of(line.as_bytes()).unwrap(), 4);
            joined.map(|line| line.map(|line| String::from_utf8(line.into_owned()).unwrap()))
        };
        assert_eq!(join("stdout F abcd"), Ok(Some("abcd".into())));
        assert_eq!(join("stdout P a"), Ok(None));
        assert_eq!(join("stderr P x"), Ok(None));
        assert_eq!(join("stdout P "), Ok(None));
        assert_eq!(join("stdout P bc"), Ok(None));
        assert_eq!(join("stderr F y"), Ok(Some("xy".into())));
        assert_eq!(join("stdout F d"), Ok(Some("abcd".into())));
        assert_eq!(join("stdout F abcde"), Err(TooLong));
        assert_eq!(join("stdout P abc"), Ok(None));
        assert_eq!(join("stdout P de"), Err(TooLong));
        assert!(parts.is_within_line());
    }
}
