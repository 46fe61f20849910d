//! A query that can be interrupted: [`Running`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, InterruptHandle};

/// The state of a query. It is interrupted if the caller no longer waits for it.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Waiting,
    Running(InterruptHandle),
    /// It has ended, or must not start.
    Ended,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a query, unless it was interrupted before. Once it has ended, its connection is not interrupted.
    pub(super) fn run<T>(&self, connection: &mut Connection, query: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        {
            let mut state = self.state();
            let State::Waiting = *state else { return None };
            *state = State::Running(connection.get_interrupt_handle());
        }
        let result = query(connection);
        *self.state() = State::Ended;
        Some(result)
    }

    /// Returns a guard that interrupts the query when it is dropped.
    pub(super) fn interrupt_on_drop(&self) -> InterruptOnDrop {
        InterruptOnDrop(self.clone())
    }
}

pub(super) struct InterruptOnDrop(Running);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        if let State::Running(handle) = std::mem::replace(&mut *self.0.state(), State::Ended) {
            handle.interrupt();
        }
    }
}
