//! A piece of work that can be done again and again, and the two ways in which a program counts it.

use std::hint::black_box;

/// How often a case is done before it is counted: buffers have grown then, and lazy things exist.
const WARM_UP: u32 = 100;
/// How often a case is done while it is counted.
pub const TIMES: u32 = 1000;

/// A piece of work.
pub struct Case {
    /// What is done: the name of a row in `budgets.toml`.
    pub work: String,
    /// Which crate does it.
    pub who: &'static str,
    /// The case that does everything but the work, whose cost is subtracted; the empty loop if there is none.
    pub over: Option<String>,
    run: Box<dyn FnMut()>,
}

impl Case {
    /// Names a piece of work, and says how to do it once.
    pub fn new<T>(work: impl Into<String>, who: &'static str, mut run: impl FnMut() -> T + 'static) -> Self {
        Self { work: work.into(), who, over: None, run: Box::new(move || drop(black_box(run()))) }
    }

    /// The cost of the case with this name is not the work's.
    #[must_use]
    pub fn over(self, other: &str) -> Self {
        Self { over: Some(other.to_owned()), ..self }
    }

    /// Does the work once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// The case that does nothing: what the loop costs.
pub fn empty() -> Case {
    Case::new("empty", "loop", || ())
}

/// Callgrind collects within this function, by its name, and writes a part of its output whenever it returns.
#[inline(never)]
pub fn counted(case: &mut Case, times: u32) {
    for _ in 0..times {
        case.run();
    }
}

/// What a program does under callgrind: every case whose work begins in one of these ways. Prints a line for each, in
/// the order of callgrind's parts.
pub fn count_instructions(cases: Vec<Case>, works: &[String]) {
    each(cases, works, |case| {
        for _ in 0..WARM_UP {
            case.run();
        }
        counted(case, TIMES);
        0
    });
}

/// What a program does that counts allocations by `count`, which tells how many a closure makes.
pub fn count_allocations(cases: Vec<Case>, works: &[String], count: impl Fn(&mut dyn FnMut()) -> u64) {
    each(cases, works, |case| {
        for _ in 0..WARM_UP {
            case.run();
        }
        count(&mut || counted(case, TIMES))
    });
}

fn each(cases: Vec<Case>, works: &[String], mut count: impl FnMut(&mut Case) -> u64) {
    let wanted = |case: &Case| case.work == "empty" || works.iter().any(|work| case.work.starts_with(work.as_str()));
    for mut case in cases.into_iter().filter(wanted) {
        let number = count(&mut case);
        println!("{}\t{}\t{}\t{number}", case.work, case.who, case.over.as_deref().unwrap_or("empty"));
    }
}
