//! The lines that are written to a file at once: [`Lines`].

use memchr::memchr_iter;

use crate::queue::batch::{Batch, Items, Progress};

/// Lines, each with its line feed.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: Vec<u8>,
    count: u64,
    /// How many bytes are written.
    written: usize,
}

/// A buffer that grew larger than this is given back if little of it was used.
const KEPT_CAPACITY: usize = 1 << 20;

impl Lines {
    /// What is not written yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.text[self.written..]
    }

    /// The first lines of the rest are written: this many bytes.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
    }
}

impl Batch for Lines {
    type Item<'a> = &'a [u8];

    fn weigh(line: &&[u8]) -> usize {
        line.len()
    }

    /// Doubles the buffer, and never beyond the limit.
    fn push(&mut self, line: &[u8], limit: usize) {
        let needed = self.text.len() + line.len();
        if needed > self.text.capacity() {
            let capacity = (self.text.capacity() * 2).clamp(needed, limit.max(needed)).max(4096.min(limit));
            self.text.reserve_exact(capacity.max(needed) - self.text.len());
        }
        self.text.extend_from_slice(line);
        self.count += 1;
    }

    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn len(&self) -> u64 {
        self.count
    }

    fn progress(&self) -> Progress {
        let requests = memchr_iter(b'\n', self.rest()).count() as u64;
        let numbers = (self.count - requests..self.count).collect();
        Progress { unwritten: Items { numbers, requests }, ..Progress::default() }
    }

    fn recycled(mut self) -> Self {
        if self.text.capacity() > KEPT_CAPACITY && self.text.len() < self.text.capacity() / 4 {
            return Self::default();
        }
        self.text.clear();
        Self { text: self.text, ..Self::default() }
    }
}
