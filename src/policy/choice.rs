//! A decision that is always the same, or made for each request.

use std::fmt;
use std::sync::Arc;

/// Either a fixed value, or a function of the input that makes it.
pub(crate) enum Choice<I, O> {
    Fixed(O),
    Function(Arc<dyn Fn(&I) -> O + Send + Sync>),
}

impl<I, O: Clone> Choice<I, O> {
    pub(crate) fn function(function: impl Fn(&I) -> O + Send + Sync + 'static) -> Self {
        Self::Function(Arc::new(function))
    }

    #[inline]
    pub(crate) fn choose(&self, input: &I) -> O {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Function(function) => function(input),
        }
    }
}

impl<I, O: Clone> Clone for Choice<I, O> {
    fn clone(&self) -> Self {
        match self {
            Self::Fixed(value) => Self::Fixed(value.clone()),
            Self::Function(function) => Self::Function(Arc::clone(function)),
        }
    }
}

impl<I, O: fmt::Debug> fmt::Debug for Choice<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => value.fmt(f),
            Self::Function(_) => f.write_str("function"),
        }
    }
}
