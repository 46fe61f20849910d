//! Fresh identifiers. The one file that knows the generator: `rand`'s thread-local cipher, seeded by the operating
//! system, because identifiers are shown to callers and must not tell which comes next.

use std::num::{NonZeroU64, NonZeroU128};

use rand::Rng;

/// 16 random bytes, never all zero.
#[inline]
pub(crate) fn trace_id() -> NonZeroU128 {
    let mut rng = rand::rng();
    loop {
        let id = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        if let Some(id) = NonZeroU128::new(id) {
            return id;
        }
    }
}

/// 8 random bytes, never all zero.
#[inline]
pub(crate) fn parent_id() -> NonZeroU64 {
    let mut rng = rand::rng();
    loop {
        if let Some(id) = NonZeroU64::new(rng.next_u64()) {
            return id;
        }
    }
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
}
