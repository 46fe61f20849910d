//! What the two tower services share.

/// Defines the accessors that tower-http's services have, for a field `inner: S`.
#[cfg(feature = "tower")]
macro_rules! inner_service_accessors {
    () => {
        /// Returns a reference to the inner service.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// Returns a mutable reference to the inner service.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Consumes `self`, and returns the inner service.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}

#[cfg(feature = "tower")]
pub(crate) use inner_service_accessors;
