//! Errors, and the exit codes they lead to.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use tagtrail_querylog::store::StoreError;

use crate::out::report;

/// Invalid arguments. The program exits with 2.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

/// Prefixes an error with the option that led to it.
pub(crate) fn of_option(option: &str, error: &(dyn Error + 'static)) -> Box<dyn Error> {
    format!("{option}: {}", with_sources(error)).into()
}

/// Prefixes the error of a store with the option that names it. What failed is the reason alone: that it was the store is
/// in the option.
pub(crate) fn of_store(option: &str, error: &StoreError) -> Box<dyn Error> {
    match error {
        StoreError::Failed(why) => of_option(option, why.as_ref()),
        error => of_option(option, error),
    }
}

/// Returns an error's message, followed by those of its sources that it does not contain already.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(source) = next {
        let message = source.to_string();
        if !text.contains(&message) && !message.ends_with(&last) {
            text = format!("{text}: {message}");
        }
        last = message;
        next = source.source();
    }
    text
}

/// Reports an error, and returns the exit code.
pub(crate) fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    report(&with_sources(error));
    if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The reader has stopped reading, as `| head` does.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with a source.
    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn sources_are_shown_once() {
        let refused = || io::Error::new(ErrorKind::ConnectionRefused, "refused");
        assert_eq!(with_sources(&io::Error::other(io::Error::other(refused()))), "refused");
        assert_eq!(with_sources(&Outer("not found", io::Error::other("error code 26: not found"))), "not found");
        assert_eq!(with_sources(&Outer("not reached", refused())), "not reached: refused");
        assert_eq!(of_option("--store", &UsageError::new("no")).to_string(), "--store: no");
        assert_eq!(of_store("--store", &StoreError::failed("away")).to_string(), "--store: away");
        assert_eq!(of_store("--store", &StoreError::Closed).to_string(), "--store: the store is closed");
    }
}
