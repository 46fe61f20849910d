//! What users decide: which traces are continued, which are sampled, and what each receiver is sent.

mod admit;
mod choice;
mod disclose;
mod sample;
mod targets;

pub use self::admit::Admit;
pub(crate) use self::choice::Choice;
pub use self::disclose::Disclose;
pub use self::sample::{Ratio, Sample};
pub use self::targets::{InvalidTarget, Targets};
