//! `allocation_counter` replaces the global allocator of this binary, and counts for each thread: tests that run at
//! the same time on other threads are not counted, so the budgets can be in the same binary as everything else. What
//! is measured must stay on the thread of its test: no runtime, no sockets.

mod allocations;
mod memory;
