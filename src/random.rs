//! Fresh identifiers. The one file that knows the generator: `rand`'s standard cipher, one for each thread, with a key
//! from the operating system, because identifiers are shown to callers and must not tell which comes next.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::num::{NonZeroU64, NonZeroU128};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

thread_local! {
    // Without a destructor, so that it is there as long as its thread runs. It owns nothing.
    static GENERATOR: RefCell<Option<ManuallyDrop<StdRng>>> = const { RefCell::new(None) };
}

/// 16 random bytes, never all zero.
#[inline]
pub(crate) fn trace_id() -> NonZeroU128 {
    loop {
        let id = with_generator(|rng| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()));
        if let Some(id) = NonZeroU128::new(id) {
            return id;
        }
    }
}

/// 8 random bytes, never all zero.
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

/// # Panics
///
/// If the operating system gives no randomness: then there is no identifier to go on with.
#[cold]
fn seeded() -> ManuallyDrop<StdRng> {
    let seeded = StdRng::try_from_rng(&mut SysRng);
    ManuallyDrop::new(seeded.unwrap_or_else(|error| panic!("the operating system gives no randomness: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn ids_differ() {
        let traces: HashSet<_> = (0..10_000).map(|_| super::trace_id()).collect();
        let parents: HashSet<_> = (0..10_000).map(|_| super::parent_id()).collect();
        assert_eq!((traces.len(), parents.len()), (10_000, 10_000));
    }

    #[test]
    fn threads_make_ids_of_their_own() {
        let one = std::thread::spawn(super::trace_id).join().unwrap();
        let other = std::thread::spawn(super::trace_id).join().unwrap();
        assert!(one != other && one != super::trace_id());
    }
}
