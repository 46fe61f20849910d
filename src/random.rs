//! Random ids. The only file that knows the generator: `rand`'s standard cipher, one per thread, keyed by the operating
//! system. Ids are visible to callers, so nobody must be able to predict the next one.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::num::{NonZeroU64, NonZeroU128};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

thread_local! {
    // Without a destructor, so that it stays available until its thread has ended. It owns no memory.
    static GENERATOR: RefCell<Option<ManuallyDrop<StdRng>>> = const { RefCell::new(None) };
}

/// Returns 16 random bytes, never all zero.
#[inline]
pub(crate) fn trace_id() -> NonZeroU128 {
    loop {
        let id = with_generator(|rng| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()));
        if let Some(id) = NonZeroU128::new(id) {
            return id;
        }
    }
}

/// Returns 8 random bytes, never all zero.
#[inline]
pub(crate) fn parent_id() -> NonZeroU64 {
    loop {
        if let Some(id) = NonZeroU64::new(with_generator(Rng::next_u64)) {
            return id;
        }
    }
}

#[inline]
fn with_generator<T>(next: impl FnOnce(&mut StdRng) -> T) -> T {
    GENERATOR.with_borrow_mut(|generator| next(generator.get_or_insert_with(seeded)))
}

/// Creates the generator of this thread.
///
/// # Panics
///
/// If the operating system provides no randomness: without it, no id is safe to use.
#[cold]
fn seeded() -> ManuallyDrop<StdRng> {
    let seeded = StdRng::try_from_rng(&mut SysRng);
    ManuallyDrop::new(
        seeded.unwrap_or_else(|error| panic!("failed to obtain randomness from the operating system: {error}")),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn ids_differ_in_every_bit() {
        let traces: HashSet<_> = (0..10_000).map(|_| super::trace_id()).collect();
        let parents: HashSet<_> = (0..10_000).map(|_| super::parent_id()).collect();
        assert_eq!((traces.len(), parents.len()), (10_000, 10_000));
        // Every bit is set in some ids and clear in others.
        assert_eq!(traces.iter().fold(0, |bits, id| bits | id.get()), u128::MAX);
        assert_eq!(traces.iter().fold(u128::MAX, |bits, id| bits & id.get()), 0);
    }

    #[test]
    fn threads_generate_different_ids() {
        let one = std::thread::spawn(super::trace_id).join().unwrap();
        let other = std::thread::spawn(super::trace_id).join().unwrap();
        assert!(one != other && one != super::trace_id());
    }
}
