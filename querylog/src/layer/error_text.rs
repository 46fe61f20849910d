//! The text of an error of a service or body: [`error_text`].

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display, Write};

use crate::layer::framework;
use crate::model::text::boundary;

type Boxed = Box<dyn Error + Send + Sync>;

/// How many sources of an error are written.
const MAX_SOURCES: usize = 16;

/// Returns the text of an error and its sources, separated by `: `. A text that is longer than `most` bytes is cut a
/// little after them.
///
/// The bodies and services of tower may have any type of error. Sources are known only of errors that are boxed, or that
/// are axum's.
pub(crate) fn error_text<E: Display + 'static>(error: &E, most: usize) -> String {
    let mut text = Bounded { text: String::new(), most };
    // An error that cannot be written has the text until there.
    let _ = write!(text, "{error}");
    let mut source = sources_of(error);
    for _ in 0..MAX_SOURCES {
        let Some(error) = source.filter(|_| text.text.len() <= most) else { break };
        source = error.source();
        let start = text.text.len();
        let _ = write!(text, ": {error}");
        // Some errors write their source themselves.
        let written = text.text.split_off(start);
        if !text.text.ends_with(written.trim_start_matches(": ")) {
            text.text.push_str(&written);
        }
    }
    text.text
}

fn sources_of<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let error: &dyn Any = error;
    match error.downcast_ref::<Boxed>() {
        Some(boxed) => boxed.source(),
        None => framework::source(error),
    }
}

/// Text that takes no more once it is too long.
struct Bounded {
    text: String,
    most: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        // Beyond the most, so that it is seen to be cut; and as much of a character as there is.
        let room = (self.most + 4).saturating_sub(self.text.len());
        let fitting = &more[..boundary(more, room)];
        self.text.push_str(fitting);
        if fitting.len() < more.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("step {0}")]
    struct Step(u32, #[source] Option<Box<Step>>);

    /// Writes more than there is memory for.
    struct Endless;

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("é")?;
            }
        }
    }

    fn steps(count: u32) -> Boxed {
        let first = Step(count, None);
        Boxed::from((1..count).rev().fold(first, |source, step| Step(step, Some(source.into()))))
    }

    #[test]
    fn sources_follow_the_error_up_to_a_limit() {
        assert_eq!(error_text(&steps(3), 100), "step 1: step 2: step 3");
        assert_eq!(error_text(&steps(100), 1_000).matches("step").count(), 1 + MAX_SOURCES);
        assert_eq!(error_text(&Step(1, None), 100), "step 1");
        assert_eq!(error_text(&"down", 100), "down");
        assert_eq!(error_text(&Boxed::from("down"), 100), "down");
    }

    #[test]
    fn text_ends_shortly_after_the_limit() {
        for most in [64, 65, 1_000] {
            for text in
                [error_text(&Endless, most), error_text(&"x".repeat(2_000), most), error_text(&steps(300), most)]
            {
                assert!(text.len() <= most + 4, "{most}");
            }
            assert!(error_text(&Endless, most).len() > most, "it is seen to be cut");
        }
    }

    #[cfg(feature = "axum")]
    #[test]
    fn error_that_writes_its_source_is_written_once() {
        assert_eq!(error_text(&axum::Error::new(steps(2)), 100), "step 1: step 2");
    }
}
