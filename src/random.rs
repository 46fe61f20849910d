//! Fresh identifiers, and a secret. The one file that knows the generator: `rand`'s standard cipher, one for each
//! thread, with a key from the operating system, because identifiers are shown to callers and must not tell which comes
//! next.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::LazyLock;

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};

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

/// What this process alone knows, the same for as long as it runs: for hashes that nobody outside can foresee. It is no
/// secret where the operating system gives no randomness.
#[inline]
pub(crate) fn secret() -> &'static [u64; 2] {
    static SECRET: LazyLock<[u64; 2]> =
        LazyLock::new(|| NO_SECRET.map(|number| SysRng.try_next_u64().unwrap_or(number) | 1));
    &SECRET
}

const NO_SECRET: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

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
        // Every bit is set in some, and not in others.
        assert_eq!(traces.iter().fold(0, |bits, id| bits | id.get()), u128::MAX);
        assert_eq!(traces.iter().fold(u128::MAX, |bits, id| bits & id.get()), 0);
    }

    #[test]
    fn the_secret_is_one_and_stays() {
        let [one, other] = super::NO_SECRET;
        let secret = super::secret();
        assert!(secret[0] != one && secret[1] != other && secret[0] != secret[1]);
        assert!(secret.iter().all(|number| number % 2 == 1), "an even factor would lose bits");
        assert_eq!(std::thread::spawn(super::secret).join().unwrap(), secret);
    }

    #[test]
    fn threads_make_ids_of_their_own() {
        let one = std::thread::spawn(super::trace_id).join().unwrap();
        let other = std::thread::spawn(super::trace_id).join().unwrap();
        assert!(one != other && one != super::trace_id());
    }
}
