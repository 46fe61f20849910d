//! The current [`Trail`], kept in a thread-local. A scoped future puts its trail there for the time of each poll, so the
//! current trail follows a task from thread to thread, without help from a runtime.

use std::any::Any;
use std::cell::Cell;

use super::Trail;

thread_local! {
    static CURRENT: Cell<Option<Trail>> = const { Cell::new(None) };
}

/// Returns the current trail of this thread. `None`, too, while the thread is being torn down.
#[inline]
pub(super) fn get() -> Option<Trail> {
    // The value of a `Cell` cannot be borrowed. So it is taken out, cloned and put back; a clone cannot panic, since it
    // only counts references.
    CURRENT
        .try_with(|current| {
            let trail = current.take();
            let found = trail.clone();
            current.set(trail);
            found
        })
        .ok()
        .flatten()
}

/// Makes `trail` current, and attaches its context, until the guards are dropped, also by a panic. Then the previous
/// trail is current again.
///
/// The two trails are swapped, not cloned: meanwhile `trail` holds the previous one. There are two guards, and not one
/// that holds both, so that the compiler emits no call for a trail without a context.
#[inline]
pub(crate) fn enter(trail: &mut Option<Trail>) -> (Entered<'_>, Option<Box<dyn Any>>) {
    let attached = trail.as_ref().and_then(Trail::attach);
    swap(trail);
    (Entered(trail), attached)
}

pub(crate) struct Entered<'a>(&'a mut Option<Trail>);

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        swap(self.0);
    }
}

#[inline]
fn swap(trail: &mut Option<Trail>) {
    // While the thread is being torn down there is no slot, and nothing is current.
    let _ = CURRENT.try_with(|current| *trail = current.replace(trail.take()));
}
